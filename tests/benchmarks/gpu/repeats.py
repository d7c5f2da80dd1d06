"""The same trial again: twice on the device, in another packing, and from a checkpoint on the other device."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from tests.benchmarks.gpu.members import IN_FLOAT64, STEPS, in_float64, worst
from tests.benchmarks.gpu.report import Section
from tests.support.components import same
from trainables.engine.encodings import Tokens
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

SMALL_TRANSFORMER = {"width": 8, "heads": 2, "feed_forward": 16}


def trials(p: int, *, small: bool) -> dict[str, GrokkingTrial]:
    """What is repeated."""
    task = ModularAddition(p=p, train_fraction=0.4)
    mlp = GrokkingTrial(
        task=task,
        model=MLP(hidden=(16,)) if small else MLP(),
        optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
        horizon_steps=10**4,
    )
    tokens, transformer = task.replace(inputs=Tokens()), Transformer(**SMALL_TRANSFORMER if small else {})
    return {
        "MLP": mlp,
        "MLP, StableMax, ⊥Grad": mlp.replace(loss=StableMaxCrossEntropy(), gradient=OrthogonalGradient()),
        "Transformer": mlp.replace(task=tokens, model=transformer),
        "Transformer with dropout": mlp.replace(task=tokens, model=transformer.replace(dropout=0.1)),
    }


def run(section: Section, device: torch.device, *, dry: bool) -> None:
    """Repeat each of :func:`trials`: on the device at the default size, beside the CPU at p = 31."""
    for name, trial in trials(7 if dry else 113, small=dry).items():
        section.attempt(f"{name}: twice", partial(twice, section, name, trial, device))
    for name, trial in trials(7 if dry else 31, small=dry).items():
        wide = in_float64(trial)
        assert isinstance(wide, GrokkingTrial)
        section.attempt(f"{name}: packing", partial(_packing, section, name, wide, device))
        section.attempt(f"{name}: packing, bits", partial(_packing_bits, section, name, trial, device))
        section.attempt(f"{name}: checkpoint", partial(_checkpoint, section, name, wide, device))


def twice(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """Two runs give the same bits: weights, optimizer's buffers and measurements."""
    runs = []
    for _ in range(2):
        cohort = trial.build(_seeds(trial, 5), str(device))
        cohort.advance(2 * STEPS)
        runs.append(({"columns": cohort.measure()}, *(cohort.state_dict(member) for member in range(5))))
    section.check(f"{name}: two runs, the same bits", same(*runs), members=5, steps=2 * STEPS)


def _packing(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """A member follows the path that it has alone on the same device."""
    section.check(
        f"{name}: any packing, float64",
        (largest := _apart(trial, device)) <= IN_FLOAT64,
        weights=largest,
        steps=STEPS,
    )


def _packing_bits(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """How far apart the two are in the trial's own dtype: products of another batch size may add in another order."""
    section.row(what=f"{name}: any packing, as configured", weights=_apart(trial, device), steps=STEPS)


def _apart(trial: GrokkingTrial, device: torch.device) -> float:
    seeds = _seeds(trial, 7)
    cohort = trial.build(seeds, str(device))
    cohort.advance(STEPS)
    solo = trial.build([seeds[4]], str(device))
    solo.advance(STEPS)
    return _distance(cohort.snapshot(4), solo.snapshot(0))


def _checkpoint(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """From the CPU to the device and back, beside the CPU alone."""
    straight = trial.build([trial], "cpu")
    straight.advance(3 * STEPS)
    state = None
    for place in ("cpu", str(device), "cpu"):
        cohort = trial.build([trial], place)
        if state is not None:
            cohort.load_state_dict([state])
        cohort.advance(STEPS)
        state = cohort.state_dict(0)
    largest = _distance(cohort.snapshot(0), straight.snapshot(0))
    section.check(
        f"{name}: checkpoint from CPU to device and back, float64",
        largest <= IN_FLOAT64 and cohort.step == 3 * STEPS,
        weights=largest,
        steps=3 * STEPS,
    )


def _seeds(trial: GrokkingTrial, members: int) -> list[GrokkingTrial]:
    return [trial.replace(seeds=Seeds.all(seed)) for seed in range(members)]


def _distance(values: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    return worst((name, values[name], reference[name]) for name in reference)[0]
