"""The mini-batch cohort: resuming anywhere, accumulating, measuring without a trace, and lack of memory."""

import io

import numpy as np
import pytest
import torch

from tests.support.small_batches import ROWS, SmallTrial
from trainables.baselines.batches import BatchOrder
from trainables.engine.config import ConfigError, from_json
from trainables.engine.gradients_filtered import GrokfastEMA
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.optimizers import SGD, Adam, AdamW, NormalizedSGD
from trainables.engine.probes import STANDARD
from trainables.engine.probes_scale import LogitScale, Perplexity, TopAccuracy
from trainables.engine.probes_tensors import TensorAlignment, TensorNorms
from trainables.engine.schedules import Cosine, StepDecay
from trainables.engine.spikes import LossSpikes
from trainables.engine.trial import EverySteps, Measuring, Seeds

OPTIMIZERS = {
    "SGD": SGD(learning_rate=0.1),
    "momentum": SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    "Adam": Adam(learning_rate=0.01, weight_decay=0.1),
    "AdamW": AdamW(learning_rate=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
}


def small(**changes) -> SmallTrial:
    return SmallTrial(**({"horizon_steps": 40} | changes))


def built(trial):
    return type(trial).build([trial], "cpu")


def assert_equal(one, other):
    """Two states, bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def saved(cohort):
    """A state, as a checkpoint keeps it."""
    buffer = io.BytesIO()
    torch.save(cohort.state_dict(0), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


def test_epoch_order():
    order = BatchOrder(rows=10, batch_size=4, seed=3)
    assert [order.size(step) for step in range(6)] == [4, 4, 2, 4, 4, 2]
    epochs = [np.concatenate([order.numbers(3 * epoch + place) for place in range(3)]) for epoch in range(3)]
    for numbers in epochs:
        assert sorted(numbers) == list(range(10))
    assert len({tuple(numbers) for numbers in epochs}) == 3
    assert tuple(BatchOrder(rows=10, batch_size=4, seed=4).numbers(0)) != tuple(order.numbers(0))
    with pytest.raises(ConfigError, match=r"batch_size = 11: must be at most 10"):
        BatchOrder(rows=10, batch_size=11, seed=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 5, 17])
def test_resume_within_an_epoch_bit_for_bit(name, stop):
    """Dropout, batch norm, noise in the rows, momentum, past gradients; a measurement before the checkpoint, and one
    after."""
    trial = small(
        optimizer=OPTIMIZERS[name],
        dropout=0.3,
        norm=True,
        gradient=GrokfastEMA(),
        schedule=Cosine(total_steps=30, warmup_steps=4),
    )
    through, first = built(trial), built(trial)
    through.advance(23)
    first.advance(stop)
    first.measure()
    first.finite()
    second = built(trial)
    second.advance(2)  # its own past is forgotten
    second.load_state_dict([saved(first)])
    assert second.step == stop
    second.measure()
    second.advance(23 - stop)
    assert_equal(second.state_dict(0), through.state_dict(0))


def test_measurement_changes_nothing_and_has_its_columns():
    trial = small(norm=True, dropout=0.3)
    looked, blind = built(trial), built(trial)
    shapes = {name: tuple(value.shape) for name, value in looked.snapshot(0).items()}
    for _ in range(10):
        measured = looked.measure()
        again = looked.measure()
        assert set(measured) == set(trial.columns(shapes))
        assert all(values.shape == (1,) and values.dtype == np.float64 for values in measured.values())
        assert all(np.array_equal(values, again[name], equal_nan=True) for name, values in measured.items())
        looked.advance(1)
        blind.advance(1)
    assert_equal(looked.state_dict(0), blind.state_dict(0))
    assert measured["epoch"] == [9 / 4]
    assert 0 <= measured["train_accuracy"][0] <= 1


@pytest.mark.parametrize(
    "probe", [TopAccuracy(), Perplexity(), LogitScale(), *STANDARD, TensorNorms(), TensorAlignment()]
)
def test_probe_gets_only_its_declared_facts(probe):
    trial = small(probes=(probe,))
    cohort = built(trial)
    shapes = {name: tuple(value.shape) for name, value in cohort.snapshot(0).items()}
    assert set(cohort.measure()) == set(trial.columns(shapes))


def test_facts_against_all_rows_at_once():
    """Gathered in parts of 4 rows, against the logits of all of them."""
    trial = small(micro_batch_size=4, probes=(*STANDARD, TopAccuracy(k=2), LogitScale()), test_rows=19)
    cohort = built(trial)
    cohort.advance(5)
    measured = cohort.measure()
    (batch,) = cohort._batches.measured("test", 19, 100)
    logits = cohort._network.eval()(batch.inputs).detach()
    loss = torch.nn.functional.cross_entropy(logits, batch.labels)
    assert measured["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert measured["test_accuracy"] == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())
    top = (logits.topk(2).indices == batch.labels[:, None]).any(1).double().mean()
    assert measured["test_top2_accuracy"] == pytest.approx(top.item())
    assert measured["test_logit_scale"] == pytest.approx(logits.double().std(1, correction=0).mean().item(), rel=1e-5)


def test_seeds_decide_the_bits():
    states = {}
    for seeds in (Seeds(), Seeds(init=1), Seeds(order=1)):
        states[seeds] = []
        for _ in range(2):
            cohort = built(small(seeds=seeds, dropout=0.2))
            cohort.advance(7)
            states[seeds].append(cohort.state_dict(0))
        assert_equal(*states[seeds])
    weights = [found[0]["parameters"]["0.weight"] for found in states.values()]
    assert not any(torch.equal(weights[a], weights[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(label_smoothing=0.1), StableMaxCrossEntropy()], ids=repr)
@pytest.mark.parametrize("micro", [1, 3, 7, 16, 100])
def test_micro_batches_accumulate_the_batch_gradient(loss, micro):
    """Also of the last batch of an epoch, which has 2 rows of 16: every row counts alike."""
    whole, parts = (built(small(loss=loss, micro_batch_size=size)) for size in (None, micro))
    for _ in range(6):
        whole.advance(1)
        parts.advance(1)
    for name, value in whole.state_dict(0)["parameters"].items():
        torch.testing.assert_close(parts.state_dict(0)["parameters"][name], value, rtol=1e-4, atol=1e-6)
    assert parts.measure()["micro_batch_size"] == [min(micro, 16)]


def test_execution_fields_are_not_in_the_identity():
    assert small(micro_batch_size=4, compile=True).trial_id == small().trial_id
    assert small(micro_batch_size=4).cohort_key != small().cohort_key
    assert from_json(small(micro_batch_size=4).to_json()) == small(micro_batch_size=4)


class OutOfRoom:
    """Refuses more than a given number of rows at a time, as an allocator does."""

    def __init__(self, network, rows):
        self.network, self.rows, self.seen = network, rows, []

    def __call__(self, inputs):
        self.seen.append(len(inputs))
        found = self.network(inputs)  # batch norm has seen the rows by then
        if len(inputs) > self.rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(inputs)} MiB")
        return found

    def __getattr__(self, name):
        return getattr(self.network, name)


def test_out_of_memory_halves_the_micro_batch_with_a_note():
    trial = small(norm=True)
    cohort, asked = built(trial), built(trial.replace(micro_batch_size=4))
    cohort._forward = OutOfRoom(cohort._network, rows=5)
    cohort.advance(3)
    asked.advance(3)
    assert_equal(cohort.state_dict(0), asked.state_dict(0))
    assert cohort._forward.seen[:3] == [16, 8, 4]
    assert cohort.notes() == [
        f"out of memory with {size} rows at a time: continuing with {size // 2}, accumulated to the same batch of 16"
        for size in (16, 8)
    ]
    assert cohort.notes() == []
    cohort._forward.rows = 2  # less room when it is measured
    assert cohort.measure()["micro_batch_size"] == [2]


def test_out_of_memory_with_one_row_fails():
    cohort = built(small())
    cohort._forward = OutOfRoom(cohort._network, rows=0)
    with pytest.raises(MemoryError, match=r"out of memory with 1 row at a time \(batch_size = 16\): CUDA out of"):
        cohort.advance(1)


def test_other_errors_are_raised():
    cohort = built(small())
    cohort._forward = lambda inputs: (_ for _ in ()).throw(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        cohort.advance(1)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near_float32(precision):
    cohorts = [built(small(precision=each, optimizer=SGD(learning_rate=0.1))) for each in ("float32", precision)]
    for cohort in cohorts:
        cohort.advance(10)
    whole, low = (cohort.state_dict(0)["parameters"]["0.weight"] for cohort in cohorts)
    assert low.dtype == torch.float32
    assert not torch.equal(whole, low)
    torch.testing.assert_close(low, whole, atol=0.05, rtol=0.05)


def test_overflow_skips_an_update_and_resumes_bit_for_bit():
    """The first scale, 65536, is halved until the gradient fits; the checkpoint has it."""
    trial = small(precision="float16", optimizer=AdamW(learning_rate=0.01))
    cohort = built(trial)
    cohort._scaler._init_scale = 2.0**40
    start = cohort.snapshot(0)
    cohort.advance(1)
    assert all(np.array_equal(start[name], value) for name, value in cohort.snapshot(0).items())
    assert cohort.finite() == [True]
    cohort.advance(30)
    state = saved(cohort)
    assert state["scaler"]["scale"] < 2.0**40
    assert 0 < state["optimizer"]["made"] < 31
    other = built(trial)
    other.load_state_dict([state])
    for each in (cohort, other):
        each.advance(5)
    assert_equal(cohort.state_dict(0), other.state_dict(0))


def test_divergence_is_not_finite():
    cohort = built(small(optimizer=SGD(learning_rate=1e30)))
    assert cohort.finite() == [True]
    cohort.advance(4)
    assert cohort.finite() == [False]
    assert cohort.frozen() == [False]


def test_schedule_follows_the_step():
    trial = small(optimizer=SGD(learning_rate=1.0), schedule=StepDecay(every_steps=3))
    cohort, found = built(trial), []
    for _ in range(7):
        found.append(cohort.measure()["learning_rate"][0])
        cohort.advance(1)
    np.testing.assert_allclose(found, [1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_bad_configurations_fail():
    with pytest.raises(ConfigError, match=r"optimizer = NormalizedSGD: must be one of Adam, AdamW, SGD"):
        small(optimizer=NormalizedSGD())
    with pytest.raises(ConfigError, match=r"LossSpikes: reads every full-batch step"):
        small(probes=(*STANDARD, LossSpikes()))
    with pytest.raises(ConfigError, match=r"a cohort of 2 mini-batch trials: must have one"):
        SmallTrial.build([small(), small()], "cpu")
    with pytest.raises(ConfigError, match=f"must be at most {ROWS}"):
        built(small(batch_size=ROWS + 1))


def test_measuring_schedules():
    assert EverySteps(every_steps=4).steps(10).tolist() == [0, 4, 8, 10]
    assert EverySteps(every_steps=5).steps(10).tolist() == [0, 5, 10]
    assert small().replace(measuring=Measuring()).trial_id == small().trial_id
