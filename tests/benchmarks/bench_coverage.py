"""How often the 95 % intervals hold the truth, and how wide they are, beside other methods that one could take.

Known truths are measured as the standard schedule would; nothing here depends on the machine.  ``coverage`` of an
interval that does not exist counts as a miss: a Student's interval of seeds that agree has no width.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from analysis.stats.contrasts import paired_contrast
from analysis.stats.intervals import Estimate, mean_with_t_interval
from analysis.stats.survival import CensoredTimes, summarise
from tests.benchmarks.form import Result, main
from tests.support.known_truths import PAIRS, TAU, TRUTHS, measured, restricted_mean

SEEDS = (3, 5, 10, 20, 50)
NOMINAL = 0.93
"""The goal: nominal but for the error of 700 draws."""
DRAWS = 2000


def expanded_percentile(values: np.ndarray, rng: np.random.Generator) -> Estimate:
    """The bootstrap whose levels are widened for small n (Hesterberg 2015, section 4.3)."""
    from scipy.special import ndtr, stdtrit

    n = len(values)
    means = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) @ values / n
    tail = float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.025)))
    return Estimate(values.mean(), *np.quantile(means, [tail, 1 - tail]))


def learned_miller_thomas(values: np.ndarray, rng: np.random.Generator) -> Estimate:
    """The interval of the mean of a bounded variable by Learned-Miller & Thomas (2019), both tails by simulation."""
    uniform = np.sort(rng.random((DRAWS, len(values))), axis=1)

    def upper(sample: np.ndarray) -> float:
        gaps = np.diff(np.append(np.sort(sample), TAU))
        return float(np.quantile(TAU - uniform @ gaps, 0.975))

    return Estimate(values.mean(), TAU - upper(TAU - values), upper(values))


def ours(times: CensoredTimes, rng: np.random.Generator) -> Estimate:
    """The interval of RMST in the tables."""
    return summarise(times, TAU, rng, draws=DRAWS).restricted_mean_steps


def of_values(method: Callable[..., Estimate], *more: object) -> Callable[..., Estimate]:
    """A method that takes the seeds' values min(t, tau)."""
    return lambda times, rng: method(np.minimum(times.time, TAU), *(more or (rng,)))


METHODS: dict[str, Callable[[CensoredTimes, np.random.Generator], Estimate]] = {
    "ours": ours,
    "Student": of_values(mean_with_t_interval, 0.95),
    "bootstrap": of_values(expanded_percentile),
    "LMT": of_values(learned_miller_thomas),
}


def measure(quick: bool, samples: int = 700) -> Iterator[Result]:
    """RMST in every truth and size; the geometric mean given the event; the paired difference and its test."""
    samples = 60 if quick else samples
    rng = np.random.default_rng(2026)
    for truth, draw in TRUTHS.items():
        expected = restricted_mean(draw(rng, (1_000_000,)))
        for n in SEEDS:
            tally = Tally(expected)
            for times in draw(rng, (samples, n)):
                for name, method in METHODS.items():
                    tally.add(name, method(measured(times), rng))
            yield tally.result(f"RMST, {truth}, n = {n}", "coverage of RMST's interval", NOMINAL)
    for truth, draw in TRUTHS.items():
        sample = draw(rng, (1_000_000,))
        expected = float(np.exp(np.log(sample[sample <= TAU]).mean()))
        for n in SEEDS:
            tally = Tally(expected)
            for times in draw(rng, (samples, n)):
                if (times <= TAU).sum() > 1:
                    tally.add("ours", summarise(measured(times), TAU, rng, draws=2).given_steps)
            yield tally.result(f"time given the event, {truth}, n = {n}", "coverage of the time's interval", 0.9)
    for truth, draw in PAIRS.items():
        sample = draw(rng, (1_000_000,))
        expected = restricted_mean(sample[:, 1]) - restricted_mean(sample[:, 0])
        for n in SEEDS[:-1]:
            tally, rejected = Tally(expected), 0
            for pair in draw(rng, (samples, n)):
                first, second = measured(pair[:, 0]), measured(pair[:, 1])
                contrast = paired_contrast([first], [second], TAU, rng)
                assert contrast is not None
                rejected += contrast.p < 0.05
                tally.add("ours", contrast.difference_steps)
                differences = np.minimum(second.time, TAU) - np.minimum(first.time, TAU)
                tally.add("Student", mean_with_t_interval(differences))
            yield tally.result(f"difference, {truth}, n = {n}", "coverage of the paired difference", NOMINAL)
            yield Result(
                name=f"p < .05, {truth}, n = {n}",
                value=rejected / samples,
                what="size or power of the sign-flip test",
                goal=0.05 if abs(expected) < 2 else None,
            )


class Tally:
    """Coverage and mean width of each method in one setting."""

    def __init__(self, expected: float) -> None:
        self.expected = expected
        self.intervals: dict[str, list[Estimate]] = defaultdict(list)

    def add(self, method: str, interval: Estimate) -> None:
        self.intervals[method].append(interval)

    def result(self, name: str, what: str, goal: float) -> Result:
        """Ours as the figure, the others and the widths in steps behind it."""
        raw: dict[str, float] = {}
        coverage: dict[str, float] = {}
        for method, intervals in self.intervals.items():
            covered = [each.low < each.high and each.low <= self.expected <= each.high for each in intervals]
            coverage[method] = float(np.mean(covered))
            raw[f"{method}_width"] = float(np.mean([each.high - each.low for each in intervals]))
        raw |= {f"{method}_coverage": share for method, share in coverage.items() if method != "ours"}
        return Result(name=name, value=coverage["ours"], what=what, goal=goal, higher_is_better=True, raw=raw)


if __name__ == "__main__":
    main(measure, samples=700)
