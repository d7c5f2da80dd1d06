"""The same trial again: twice on the device, launched kernel by kernel, in another packing, from the other device."""

import contextlib
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from tests.benchmarks.gpu.members import IN_FLOAT64, STEPS, in_float64, worst
from tests.benchmarks.gpu.report import Section
from tests.support.components import same
from tests.support.small_batches import SmallTrial
from trainables.engine.encodings import Tokens
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.gradients_filtered import GrokfastEMA
from trainables.engine.interventions import SwitchOptimizer
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.probes import STANDARD
from trainables.engine.replay import unrecorded
from trainables.engine.spikes import LossSpikes
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
        section.attempt(f"{name}: replayed", partial(replayed, section, name, wide, device))
    for rule in (OrthogonalGradient(), GrokfastEMA()):
        batches = SmallTrial(horizon_steps=40, optimizer=SGD(learning_rate=0.1, momentum=0.9), gradient=rule)
        name = f"mini-batches, {type(rule).__name__}"
        section.attempt(f"{name}: replayed", partial(_replayed_rule, section, name, batches, device))


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


def replayed(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """A cohort that is replayed lives as one whose kernels are launched one by one, through all that ends a graph."""
    switch = SwitchOptimizer(at_step=STEPS // 2, to=SGD(learning_rate=0.01, momentum=0.5))
    trial = trial.replace(intervention=switch, probes=(*STANDARD, LossSpikes()))
    straight = _life(trial, device)
    with unrecorded():
        launched = _life(trial, device)
    largest = _distance(straight, launched)
    section.check(f"{name}: replayed, float64", largest <= IN_FLOAT64, weights=largest, same=same(straight, launched))


def _life(trial: GrokkingTrial, device: torch.device) -> dict[str, np.ndarray]:
    """Measure, advance past an intervention, retire, compact and resume; return the weights and the last columns."""
    cohort = trial.build(_seeds(trial, 5), str(device))
    for steps in (1, 2, STEPS):
        cohort.measure()
        assert cohort.finite().all()
        assert not cohort.frozen().any()
        cohort.advance(steps)
    cohort.retire([0, 3])
    cohort.advance(2)
    cohort.compact()
    cohort.advance(2)
    states = [cohort.state_dict(member) for member in range(len(cohort.trials))]
    resumed = trial.build(cohort.trials, str(device))
    resumed.advance(2)
    resumed.load_state_dict(states)
    resumed.advance(STEPS)
    return {**resumed.measure(), **resumed.snapshot(1)}


def _replayed_rule(section: Section, name: str, trial: SmallTrial, device: torch.device) -> None:
    """A gradient rule that is replayed gives what its kernels give one by one."""
    straight = _batch_life(trial, device)
    with unrecorded():
        launched = _batch_life(trial, device)
    largest = _distance(straight, launched)
    section.check(f"{name}: replayed", largest <= 1e-6, weights=largest, same=same(straight, launched))


def _batch_life(trial: SmallTrial, device: torch.device) -> dict[str, np.ndarray]:
    """Advance, looked at in between; return the weights and the rule's buffers."""
    with contextlib.closing(trial.build([trial], str(device))) as cohort:
        for steps in (2, 3):
            cohort.advance(steps)
            cohort.measure()
        state = cohort.state_dict(0)
    buffers = {f"{part}.{key}": value for part, held in state["gradient"].items() for key, value in held.items()}
    return {key: value.numpy() for key, value in (state["parameters"] | buffers).items()}


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
