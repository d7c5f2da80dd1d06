"""The engine's step beside a plain loop: CPU seconds a trial-step.

The plain loop is what one would write first: the one-hot product, ``nn.Linear``, ``torch.optim.AdamW``.  All are
timed in turn, so that the ratios hold on a machine whose speed drifts.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import nn

from tests.benchmarks.form import Result, main, ratios
from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.process import prepare_process

STEPS = 3
GOALS = {(113, 1): 0.8, (31, 16): 0.8, (11, 16): 0.6}
"""By p and the size of the cohort; on a CPU a cohort gains only where the network is small."""


def trial(p: int, seed: int = 0) -> GrokkingTrial:
    return GrokkingTrial(
        task=ModularAddition(p=p),
        model=MLP(),
        optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
        seeds=Seeds.all(seed),
        horizon_steps=1000,
    )


def plain_loop(p: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """One step of the loop that one would write first."""
    config = trial(p)
    split = config.task.split(config.seeds)
    one_hot = torch.zeros(len(split.train_labels), config.task.features)
    one_hot.scatter_(1, torch.from_numpy(split.train_inputs), 1.0)
    one_hot, labels = one_hot.to(device, dtype), torch.from_numpy(split.train_labels).to(device)
    widths = config.model.widths(config.task)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    network = nn.Sequential(*layers[:-1]).to(device, dtype)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=1.0)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(one_hot), labels).backward()
        optimizer.step()

    return step


def cohort(p: int, members: int) -> Callable[[], None]:
    """One step of a cohort, all members together."""
    built = GrokkingTrial.build([trial(p, seed) for seed in range(members)], "cpu")
    return lambda: built.advance(1)


def measured(p: int) -> Callable[[], None]:
    """One step of a cohort of one with a measurement before it."""
    built = GrokkingTrial.build([trial(p)], "cpu")

    def step() -> None:
        built.measure()
        built.advance(1)

    return step


def cpu_ms(step: Callable[[], None]) -> float:
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS * 1e3


def measure(quick: bool) -> Iterator[Result]:
    prepare_process()
    for p in (113, 31, 11):
        contestants = {"plain": (plain_loop(p), 1), "measured": (measured(p), 1)}
        contestants |= {f"cohort of {members}": (cohort(p, members), members) for members in (1, 4, 16)}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for round_number in range((5 if quick else 15) + 1):
            for name, (step, members) in contestants.items():
                elapsed = cpu_ms(step) / members
                if round_number:  # the first round warms up
                    times[name].append(elapsed)
        medians = {name: statistics.median(values) for name, values in times.items()}
        where = f"p = {p}, MLP 200-200"
        for members in (1, 4, 16):
            name = f"cohort of {members}"
            yield Result.of(
                f"{where}: {name}",
                ratios(times[name], times["plain"]),
                what="a trial-step, of the plain loop's",
                goal=GOALS.get((p, members)),
                raw={"ours_ms": medians[name], "plain_ms": medians["plain"]},
            )
        yield Result.of(
            f"{where}: a measurement",
            [ratio - 1 for ratio in ratios(times["measured"], times["cohort of 1"])],
            what="a measurement of the 15 probes on both splits, of a step of a cohort of 1",
            goal=0.5 if p == 113 else None,
            raw={"both_ms": medians["measured"], "step_ms": medians["cohort of 1"]},
        )


if __name__ == "__main__":
    main(measure)
