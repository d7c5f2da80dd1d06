"""The engine's step beside a plain loop, in one run: CPU seconds a trial-step, as ratios.

    python tests/benchmarks/bench_engine_step.py

The plain loop is what one would write first: the one-hot product, ``nn.Linear``, ``torch.optim.AdamW``.  The two
are timed in turn, so that the ratio holds on a machine whose speed drifts.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

ROUNDS, STEPS = 7, 3


def trial(p: int, seed: int = 0) -> GrokkingTrial:
    return GrokkingTrial(
        task=ModularAddition(p=p),
        model=MLP(),
        optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
        seeds=Seeds.all(seed),
        horizon_steps=1000,
    )


def plain_loop(p: int) -> Callable[[], None]:
    """One step of the loop that one would write first."""
    config = trial(p)
    split = config.task.split(config.seeds)
    one_hot = torch.zeros(len(split.train_labels), config.task.features)
    one_hot.scatter_(1, torch.from_numpy(split.train_inputs), 1.0)
    labels = torch.from_numpy(split.train_labels)
    widths = config.model.widths(config.task)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
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


def measurement(p: int) -> Callable[[], None]:
    """One step with a measurement before it."""
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


def main() -> None:
    torch.set_num_threads(1)
    print("CPU milliseconds a trial-step (median of rounds), and the ratio to the plain loop round by round")
    for p in (113, 31, 11):
        contestants = {"plain loop": (plain_loop(p), 1), "measured step": (measurement(p), 1)}
        contestants |= {f"cohort of {members}": (cohort(p, members), members) for members in (1, 4, 16)}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for round_number in range(ROUNDS + 1):
            for name, (step, members) in contestants.items():
                elapsed = cpu_ms(step) / members
                if round_number:  # the first round warms up
                    times[name].append(elapsed)
        print(f"\np = {p}, MLP 200-200, {trial(p).task.train_rows} rows")
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times["plain loop"], strict=True))
            print(f"  {name:<14} {statistics.median(values):8.3f} ms   {ratio:5.2f} x plain")


if __name__ == "__main__":
    main()
