"""How often the 95 % intervals of what axes do hold the truth: ratios of times, and sizes of effects on a map.

Known truths are measured as the standard schedule would; nothing here depends on the machine.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.stats.effects import decompose
from analysis.stats.regression import TooFewError, fit_times
from tests.benchmarks.form import Result, main
from tests.support.known_truths import TAU, measured

SEEDS = (3, 5, 10)
NOMINAL = 0.93
DOUBLINGS, SLOPE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), -0.45


@dataclass(frozen=True)
class Doublings:
    """Log times fall by .45 with each of four doublings of an axis."""

    median: float
    sigma: float
    shares: tuple[float, ...]
    """Of the trials that ever get there, by setting."""

    def draw(self, rng: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """The axis and the times of all trials."""
        axis = np.repeat(DOUBLINGS, seeds)
        times = self.median * np.exp(SLOPE * axis + self.sigma * rng.standard_normal(len(axis)))
        return axis, np.where(rng.random(len(axis)) < np.repeat(self.shares, seeds), times, math.inf)


RATIOS = {
    "all get there, some too late": Doublings(500, 0.25, (1, 1, 1, 1, 1)),
    "wide spread": Doublings(400, 0.6, (1, 1, 1, 1, 1)),
    "shares vary": Doublings(400, 0.3, (0.4, 0.7, 1, 1, 0.5)),
    "a third gets there": Doublings(400, 0.3, (0.35,) * 5),
    "never at the ends": Doublings(400, 0.3, (0, 0.7, 1, 1, 0)),
}
A, B = (axis.ravel() for axis in np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij"))
MAPS = {
    "two axes": (6.8 - 0.35 * A - 0.3 * B, 0.3),
    "an interaction": (6.2 - 0.1 * A * B, 0.3),
    "hardly anything": (6.4 - 0.03 * A, 0.4),
    "a sharp edge": (np.where(A + B < 3, 9.0, 5.5 - 0.1 * B), 0.15),
    "half by tau": (7.3 - 0.15 * A, 0.5),
}
"""Mean log times of 20 cells, and their spread."""


def measure(quick: bool, samples: int = 400) -> Iterator[Result]:
    """Ratios of a doubling, then effects on RMST and on P."""
    samples = 20 if quick else samples
    rng = np.random.default_rng(2026)
    levels = {"a": A.tolist(), "b": B.tolist()}
    for name, truth in RATIOS.items():
        for seeds in SEEDS:
            covered, widths = [], []
            for _ in range(samples):
                axis, times = truth.draw(rng, seeds)
                own = (axis[:, None] == DOUBLINGS).astype(float)
                try:
                    low, high = fit_times(measured(times), axis[:, None], own).intervals[0]
                except TooFewError:
                    continue
                covered.append(low <= SLOPE <= high)
                widths.append(high - low)
            raw = {"log_width": float(np.median(widths)), "fitted": len(widths) / samples}
            what = "coverage of the ratio's interval, where there is one"
            yield _coverage(f"{name}, n = {seeds}", covered, what, raw)
    for name, (logs, sigma) in MAPS.items():
        for quantity, ends in (("RMST", None), ("P", (0.0, 1.0))):
            large = np.exp(logs[:, None] + sigma * rng.standard_normal((len(logs), 40_000)))
            exact = decompose(_cells(large, quantity, mean=True), levels)
            assert exact is not None
            for seeds in SEEDS[:2]:
                covered, widths = [], []
                for _ in range(samples):
                    times = np.exp(logs[:, None] + sigma * rng.standard_normal((len(logs), seeds)))
                    found = decompose(_cells(times, quantity), levels, ends)
                    assert found is not None
                    for effect, known in zip(found.effects, exact.effects, strict=True):
                        slack = 1e-3 * TAU if quantity == "RMST" else 1e-3  # The truth is simulated, too.
                        size = effect.size
                        covered.append(size.low - slack <= known.size.value <= size.high + slack)
                        widths.append(size.high - size.low)
                raw = {"width": float(np.mean(widths))}
                yield _coverage(f"{quantity}, {name}, n = {seeds}", covered, "coverage of an effect's interval", raw)


def _cells(times: np.ndarray, quantity: str, *, mean: bool = False) -> list[np.ndarray]:
    values = np.minimum(times, TAU) if quantity == "RMST" else (times <= TAU).astype(float)
    return [np.full(2, cell.mean()) if mean else cell for cell in values]


def _coverage(name: str, covered: list[bool], what: str, raw: dict[str, float]) -> Result:
    value = float(np.mean(covered))
    return Result(name=name, value=value, what=what, goal=NOMINAL, higher_is_better=True, raw=raw)


if __name__ == "__main__":
    main(measure, samples=400)
