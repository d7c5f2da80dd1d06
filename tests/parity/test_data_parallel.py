"""One trial on two processes against the same trial on one, at the same batch: float64, up to the order of sums."""

import io
import itertools
import multiprocessing
from contextlib import closing

import numpy as np
import pytest
import torch

from tests.support.parallel_batches import ParallelTrial
from trainables.baselines.cohort import BatchCohort
from trainables.baselines.devices.batch_norm import with_global_batch_norm
from trainables.baselines.devices.group import Group
from trainables.engine.config import ConfigError
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.schedules import Cosine
from trainables.engine.trial import EverySteps
from trainables.runtime.cohort_run import CohortRun
from trainables.runtime.job import CohortJob
from trainables.runtime.rows import TrialState
from trainables.runtime.status import Origin

MOMENTUM = SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-2)
DECOUPLED = AdamW(learning_rate=0.01, weight_decay=0.1, eps=1e-4)
"""A bias before a batch norm has no gradient but rounding, which a smaller ε would make an update of."""
CASES = {
    "momentum": {"optimizer": MOMENTUM, "norm": True, "schedule": Cosine(total_steps=10, warmup_steps=3)},
    "perpendicular": {"optimizer": DECOUPLED, "norm": True, "gradient": OrthogonalGradient()},
    "accumulated": {"optimizer": DECOUPLED, "micro_batch_size": 5, "loss": StableMaxCrossEntropy()},
    "a row at a time": {"optimizer": MOMENTUM, "micro_batch_size": 1, "batch_size": 7, "convolved": True},
}
"""With 50 rows, the last batch of each epoch is smaller than the others: 2 rows, or 1."""


def trial(**changes) -> ParallelTrial:
    return ParallelTrial(**({"horizon_steps": 10} | changes))


def saved(cohort):
    buffer = io.BytesIO()
    torch.save(cohort.state_dict(0), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


def assert_close(one, other, atol=1e-11):
    for part in ("parameters", "buffers"):
        assert one[part].keys() == other[part].keys()
        for name, value in one[part].items():
            torch.testing.assert_close(other[part][name], value, rtol=0, atol=atol)
    for buffer, tensors in one["optimizer"]["buffers"].items():
        for name, value in tensors.items():
            torch.testing.assert_close(other["optimizer"]["buffers"][buffer][name], value, rtol=0, atol=atol)
    for name in ("step", "micro_batch_size"):
        assert one[name] == other[name]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_against_one(case):
    config = trial(**CASES[case])
    alone = BatchCohort([config])
    with closing(BatchCohort([config], processes=2)) as together:
        for steps in (0, 3, 7):
            alone.advance(steps)
            together.advance(steps)
            here, there = alone.measure(), together.measure()
            for name, value in here.items():
                np.testing.assert_allclose(there[name], value, rtol=1e-6, atol=1e-6, err_msg=name)
        assert together.finite() == [True]
        assert_close(alone.state_dict(0), together.state_dict(0))
    assert multiprocessing.active_children() == []


def test_checkpoint_from_two_processes_to_one_and_back():
    config = trial(**CASES["perpendicular"])
    through = BatchCohort([config])
    through.advance(9)
    with closing(BatchCohort([config], processes=2)) as first:
        first.advance(3)
        second = BatchCohort([config])
        second.load_state_dict([saved(first)])
        second.advance(3)
        first.load_state_dict([saved(second)])  # its own processes go on from there
        first.advance(3)
        assert_close(through.state_dict(0), first.state_dict(0))


def test_overflow_in_one_process_is_an_overflow_in_all():
    """The scale of each process is halved together: were it not, their weights would go apart."""
    config = trial(precision="float16", exact=False, optimizer=AdamW(learning_rate=0.01))
    alone = BatchCohort([config])
    with closing(BatchCohort([config], processes=2)) as together:
        for cohort in (alone, together):
            cohort._scaler._init_scale = 2.0**40
            cohort.advance(30)
        one, two = alone.state_dict(0), together.state_dict(0)
    assert two["scaler"]["scale"] == one["scaler"]["scale"] < 2.0**40
    assert 0 < two["optimizer"]["made"] == one["optimizer"]["made"] < 30
    for name, value in one["parameters"].items():
        torch.testing.assert_close(two["parameters"][name], value, rtol=0.02, atol=0.02)


class Memory:
    """A writer that keeps the last rows."""

    def __init__(self):
        self.rows, self.accuracy = [], []

    def commit(self, trials, trajectory, checkpoints=(), snapshots=()):
        self.rows = list(trials)
        self.accuracy += trajectory["test_accuracy"]

    def checkpoint(self, trial_id):
        return None


def test_whole_run():
    found = []
    config = trial(optimizer=MOMENTUM, norm=True, measuring=EverySteps(every_steps=4))

    class Alone(ParallelTrial):
        @classmethod
        def build(cls, trials, device="cpu"):
            return BatchCohort(trials, device)

    values = {name: getattr(config, name) for name in ("optimizer", "norm", "measuring", "horizon_steps")}
    for each in (config, Alone(**values)):
        writer = Memory()
        job, provenance = CohortJob(trials=(each,), device="cpu"), lambda *_: Origin("cpu", "hash", "{}")
        with closing(CohortRun(job, store=writer, provenance=provenance)) as run:
            while not run.done:
                run.run(60.0)
        found.append(writer)
    together, alone = found
    assert [row.state for row in together.rows] == [TrialState.FINISHED]
    assert len(together.accuracy) == 4
    assert together.accuracy == alone.accuracy
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
def test_batch_norm_against_torch_in_one_process(shape, momentum):
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}[len(shape)]
    torch.manual_seed(0)
    judge = kind(3, momentum=momentum).double()
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.normal_()
    group, ours = Group(), kind(3, momentum=momentum).double()
    ours.load_state_dict(judge.state_dict())
    ours = with_global_batch_norm(ours, group, compiled=False)
    for _ in range(2):
        inputs = 5.0 + torch.randn(shape, dtype=torch.float64)
        mine, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
        group.share(0, len(inputs))
        outputs = ours(mine), judge(theirs)
        torch.testing.assert_close(*outputs)
        for output in outputs:
            output.square().mul(torch.arange(output.numel()).view(shape)).sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad)
    for name, parameter in judge.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad)
    for name, value in judge.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(inputs), judge.eval()(inputs))
    group.share(0, 1)
    with pytest.raises(ValueError, match="1 value per channel"):
        ours.train()(torch.ones(1, 3, dtype=torch.float64))


def test_shares_of_rows():
    """All rows once, also where there are fewer of them than processes."""
    for rows in range(1, 9):
        groups = [Group(rank, 4) for rank in range(4)]
        shares = [group.share(10, 10 + rows) for group in groups]
        own = [list(range(*share)) for share, group in zip(shares, groups, strict=True) if group.has_rows]
        assert list(itertools.chain(*own)) == list(range(10, 10 + rows))
        assert all(share == (10, 11) for share, group in zip(shares, groups, strict=True) if not group.has_rows)
        assert {group.rows for group in groups} == {groups[0].rows}


def test_more_devices_than_rows_fail():
    with pytest.raises(ConfigError, match=r"batch_size = 1: must be at least 2, the devices"):
        BatchCohort([trial(batch_size=1)], processes=2)
