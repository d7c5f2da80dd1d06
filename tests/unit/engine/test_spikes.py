"""Loss spikes on planted series, and through cohorts that are packed, compacted and continued."""

import io

import numpy as np
import pytest
import torch

from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.probes import LossAndAccuracy
from trainables.engine.spikes import COUNT, WINDOW_STEPS, LossSpikes
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

CPU = torch.device("cpu")


def counted(*series: list[float]) -> list[list[float]]:
    """Both columns after each whole series, watched as one cohort: [loss_spikes, loss_spikes_resolved] a member."""
    probe, losses_TK = LossSpikes(), torch.tensor(series, dtype=torch.float64).T
    state = probe.start(len(series), CPU)
    for updates, losses_K in enumerate(losses_TK):
        state = probe.watch(state, losses_K, torch.tensor(float(updates), dtype=torch.float64))
    return state[COUNT].tolist()


def by_hand(losses: list[float], floor: float) -> int:
    """The definition, read one step at a time."""
    count, high = 0, False
    for step, loss in enumerate(losses):
        before = losses[max(0, step - 50) : step]
        lowest = max(min(before), floor) if before else float("inf")
        now = loss >= 10 * lowest and loss > lowest
        count, high = count + (now and not high), now
    return count


@pytest.mark.parametrize(
    ("losses", "spikes"),
    [
        ([1.0] * 60 + [9.99] + [1.0] * 60, 0),
        ([1.0] * 60 + [10.0] + [1.0] * 60, 1),
        ([1.0] * 60 + [20.0] * 5 + [1.0] * 60, 1),
        ([1.0] * 60 + [20.0] * 300, 1),
        ([1.0] * 60 + [20.0, 9.0, 20.0, 11.0, 12.0, 9.0], 2),
        ([2.0**-step for step in range(40)], 0),
        ([1.0, 20.0], 1),
        ([20.0], 0),
        # A rise over more than 50 steps is none, one within them is, however gradual.
        ([1.03**step for step in range(300)], 0),
        ([1.06**step for step in range(300)], 1),
        ([1.0] + [5.0] * 49 + [10.0], 1),
        ([1.0] + [5.0] * 50 + [10.0], 0),
        ([1.0] * 60 + [float("nan")] + [100.0] * 20, 0),
        ([1.0] * 60 + [float("inf")] * 3, 1),
    ],
)
def test_spike_definition(losses, spikes):
    assert counted(losses) == [[spikes, spikes]]


@pytest.mark.parametrize(
    ("losses", "spikes", "resolved"),
    [
        ([0.0] * 200, 0, 0),
        ([0.0, 2e-11] * 30, 30, 0),
        ([0.0] * 60 + [1.0] + [0.0] * 60, 1, 1),
        ([1e-9] * 60 + [1e-7] * 3 + [2e-6] * 3, 1, 1),
        ([1e-12] * 60 + [1e-8] * 3 + [1e-12], 1, 0),
    ],
)
def test_exact_zeros_and_float32_flicker(losses, spikes, resolved):
    assert counted(losses) == [[spikes, resolved]]


def test_random_walks_against_a_plain_loop():
    rng = np.random.default_rng(0)
    walks = [list(10.0 ** np.cumsum(rng.normal(scale=scale, size=600) - 0.01)) for scale in (0.1, 0.3, 0.6, 1.0)]
    expected = [[by_hand(walk, 0.0), by_hand(walk, 2.0**-23)] for walk in walks]
    assert counted(*walks) == expected
    assert expected[-1][0] > expected[-1][1] > 5


def trial(seed: int = 0, **changes) -> GrokkingTrial:
    """Adam with so short a memory that its loss spikes every few steps."""
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(16,), dtype="float64"),
        "optimizer": AdamW(learning_rate=0.3, betas=(0.0, 0.5), eps=1e-20),
        "seeds": Seeds.all(seed),
        "horizon_steps": 1000,
        "probes": (LossAndAccuracy(), LossSpikes()),
    }
    return GrokkingTrial(**(parts | changes))


def follow(cohort, steps: int, paths: list[list[float]]) -> None:
    """Train, keep every loss that is trained on, and compare the counts with those of the losses so far.

    The counts are compared on the cohort's own path: where losses spike, rounding soon makes another path of it.
    """
    for _ in range(steps):
        found = cohort.measure()
        assert found["loss_spikes"].tolist() == [by_hand(path, 0.0) for path in paths], f"at step {cohort.step}"
        for path, loss in zip(paths, found["train_loss"], strict=True):
            path.append(float(loss))
        cohort.advance(1)


def test_cohort_counts_its_training_losses():
    config, path = trial(), []
    cohort = config.build([config], "cpu")
    follow(cohort, 150, [path])
    assert by_hand(path, 0.0) >= 3


def test_resume_in_any_cohort():
    configs, paths = [trial(seed) for seed in range(3)], [[], [], []]
    cohort = configs[0].build(configs, "cpu")
    follow(cohort, 90, paths)
    cohort.retire([1])
    cohort.compact()
    follow(cohort, 13, [paths[0], paths[2]])
    buffer = io.BytesIO()
    torch.save([cohort.state_dict(1), cohort.state_dict(0)], buffer)
    restored = configs[0].build([configs[2], configs[0]], "cpu")
    restored.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert restored.step == 103
    assert restored.step % WINDOW_STEPS
    follow(restored, 97, [paths[2], paths[0]])
    counts = [by_hand(path, 0.0) for path in paths]
    assert counts[0] != counts[2]
    assert min(counts[0], counts[2]) > by_hand(paths[1], 0.0) >= 1


def test_unwatched_steps_are_nan():
    config = trial(probes=())
    cohort = config.build([config], "cpu")
    cohort.advance(20)
    watched = trial()
    assert watched.trial_id == config.trial_id
    later = watched.build([watched], "cpu")
    later.load_state_dict([cohort.state_dict(0)])
    later.advance(100)
    assert np.isnan(later.measure()["loss_spikes"]).all()
    back = config.build([config], "cpu")
    back.load_state_dict([later.state_dict(0)])
    assert back.measure() == {}


def test_watching_reads_nothing_back():
    """On the meta device there are no values: anything that asks for one fails."""
    probe, meta = LossSpikes(), torch.device("meta")
    state = probe.start(3, meta)
    after = probe.watch(state, torch.empty(3, dtype=torch.float64, device=meta), torch.empty((), device=meta))
    assert {name: (value.shape, value.dtype) for name, value in after.items()} == {
        name: (value.shape, value.dtype) for name, value in state.items()
    }
