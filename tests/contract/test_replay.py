"""What a GPU replays is what Python would launch, with every component: from a tape as from a graph."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest

from tests.contract.test_components import data  # noqa: F401  # the tasks whose rows come from disk
from tests.support.components import FIELD_OF, configs_of, same, small_trial, varied
from tests.support.tape import TapeReplay
from trainables.engine import cohort
from trainables.engine.gradients import GradientRule
from trainables.engine.optimizers import AdamW
from trainables.engine.probes import Rows

COMPONENTS = [cls for cls in configs_of("trainables") if issubclass(cls, tuple(FIELD_OF))]


@dataclass(frozen=True, kw_only=True)
class Earlier(GradientRule):
    """Descends along the gradient of two steps before; it hands on the very tensors that it was given."""

    def init_state(self, parameters):
        return {"last": parameters, "before": parameters, "weights": parameters}

    def __call__(self, parameters, gradients, state, hyper, step):
        return state["before"], {"last": gradients, "before": state["last"], "weights": parameters}


def lives_alike(trials, monkeypatch):
    """Live as a sweep's cohort does, with the tape and without; return both lives' states and measurements."""
    lives = []
    for replay in (TapeReplay, None):
        with monkeypatch.context() as patch:
            patch.setattr(Rows, "correct_KB", property(correct_as_on_a_gpu))
            if replay:
                patch.setattr(cohort, "Replay", replay)
            # Copied, because on a CPU what comes to the host stays where the tape writes.
            lives.append([copy.deepcopy(found) for found in life(trials)])
    return lives


def assert_alike(taped, launched):
    """States bit for bit; of what is measured, a decomposition depends on where its matrix lies in memory."""
    for one, other in zip(taped, launched, strict=True):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name, values in one.items():
                np.testing.assert_allclose(values, other[name], rtol=1e-12, err_msg=name)
        else:
            assert same(one, other)


def correct_as_on_a_gpu(rows):
    """Without the shortcut of a CPU, which reads a value back."""
    return rows._logits_KBV.argmax(-1) == rows._labels_KB


def life(trials):
    """Measure and advance, past an example's intervention; retire and compact; resume."""
    lived = trials[0].build(trials, "cpu")
    for steps in (2, 1, 1, 5, 1, 1, 3):
        yield lived.measure()
        lived.advance(steps)
        yield lived.finite()
        yield lived.frozen()
        yield [lived.state_dict(member) for member in range(len(trials))]
    lived.retire([1])
    lived.advance(3)
    lived.compact()
    lived.advance(3)
    yield lived.measure()
    states = [lived.state_dict(member) for member in range(len(lived.trials))]
    yield states
    resumed = trials[0].build(lived.trials, "cpu")
    resumed.advance(2)
    resumed.load_state_dict(states)
    resumed.advance(4)
    yield [resumed.state_dict(member) for member in range(len(states))]
    yield resumed.measure()


@pytest.mark.parametrize("part_class", [*COMPONENTS, Earlier], ids=lambda cls: cls.__name__)
def test_a_replayed_step_is_the_step(part_class, monkeypatch):
    before = TapeReplay.replays
    taped, launched = lives_alike(varied(small_trial(part_class.example(), horizon_steps=100), 3), monkeypatch)
    assert_alike(taped, launched)
    assert TapeReplay.replays - before > 20


def test_a_rule_may_hand_on_the_tensors_that_it_was_given():
    """The gradient of the step before is that one, not the weights or the gradient that have overwritten it."""
    trial = small_trial(Earlier(), horizon_steps=100, optimizer=AdamW(learning_rate=0.1))
    lived = trial.build([trial], "cpu")
    lived.advance(5)
    before, weights = lived.state_dict(0), lived.snapshot(0)
    lived.advance(1)
    after = lived.state_dict(0)
    assert same(after["gradient"]["before"], before["gradient"]["last"])
    assert same({name: value.numpy() for name, value in after["gradient"]["weights"].items()}, weights)
