"""Corrupted labels: a run against torch's own, the weights that know the rule, and numbers of the released code."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss, one_hot

from trainables import Tokens
from trainables.engine.config import ConfigError
from trainables.engine.losses import MeanSquaredError
from trainables.engine.optimizers import AdamW
from trainables.engine.trial import EverySteps, Seeds
from trainables.neighbours.corrupted_labels import (
    CorruptedLabels,
    QuadraticNetwork,
    RandomlyLabelledAddition,
    participation_KN,
)

SMALL = RandomlyLabelledAddition(p=11, train_fraction=0.6, label_corruption=0.3)


def small(seed, decay, neurons=20, **changes):
    return CorruptedLabels(
        task=SMALL,
        model=QuadraticNetwork(neurons=neurons, dtype="float64"),
        loss=MeanSquaredError(dtype="float64"),
        optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.98), weight_decay=decay),
        seeds=Seeds.all(seed),
        **({"horizon_steps": 60} | changes),
    )


def logits(inputs, first, second):
    """Row by row as the equations say, from dense one-hot vectors."""
    dense = one_hot(torch.from_numpy(inputs), len(first)).sum(1).double()
    return (dense @ first).square() @ second


def knowing(p, neurons):
    """Weights that know addition mod p (Gromov 2023, arXiv:2301.02679): one frequency a neuron, phases that add up."""
    generator = torch.Generator().manual_seed(0)
    phases = 2 * math.pi * torch.rand(2, neurons, generator=generator, dtype=torch.float64)
    turns = 2 * math.pi / p * (torch.arange(neurons) % (p // 2) + 1) * torch.arange(p).unsqueeze(1)
    return torch.cat([torch.cos(turns + phases[0]), torch.cos(turns + phases[1])]), torch.cos(turns + phases.sum(0)).T


def with_weights(trial, first, second):
    """The cohort of a trial at these weights."""
    cohort = type(trial).build([trial])
    state = cohort.state_dict(0)
    state["parameters"] = {"weight_0": first, "weight_1": second}
    cohort.load_state_dict([state])
    return {name: values[0] for name, values in cohort.measure().items()}


def test_a_run_is_torchs_with_the_measured_accuracies():
    trials = [small(seed, decay) for seed, decay in ((1, 0.0), (2, 15.0))]
    cohort = CorruptedLabels.build(trials)
    cohort.advance(60)
    measured = cohort.measure()
    for member, trial in enumerate(trials):
        split, corrupted = SMALL.split(trial.seeds), SMALL.corrupted(trial.seeds)
        weights = [value.clone().requires_grad_() for value in trial.model.init(SMALL, trial.seeds.init).values()]
        decay = trial.optimizer.weight_decay
        optimizer = torch.optim.AdamW(weights, lr=0.01, betas=(0.9, 0.98), weight_decay=decay)
        labels = torch.from_numpy(split.train_labels)
        for _ in range(60):
            optimizer.zero_grad()
            mse_loss(logits(split.train_inputs, *weights), one_hot(labels, 11).double()).backward()
            optimizer.step()
        weights = [value.detach() for value in weights]
        for ours, theirs in zip(cohort.snapshot(member).values(), weights, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-10)
        right = (logits(split.train_inputs, *weights).argmax(1) == labels).numpy()
        assert measured["clean_accuracy"][member] == pytest.approx(right[~corrupted].mean())
        assert measured["corrupted_accuracy"][member] == pytest.approx(right[corrupted].mean())
        assert measured["train_accuracy"][member] == pytest.approx(right.mean())


def test_some_training_labels_are_drawn_anew_and_no_others():
    task, seeds = RandomlyLabelledAddition(), Seeds(split=3, order=4)
    split, corrupted = task.split(seeds), task.corrupted(seeds)
    assert corrupted.sum() == math.floor(0.35 * 4704)
    right = split.train_labels == (split.train_inputs.sum(1) - 97) % 97
    assert right[~corrupted].all()
    assert right[corrupted].mean() == pytest.approx(1 / 97, abs=3 * math.sqrt(1 / 97 / 1646))
    assert (split.test_labels == (split.test_inputs.sum(1) - 97) % 97).all()
    counts = np.bincount(split.train_labels[corrupted], minlength=97)
    assert np.square(counts - 1646 / 97).sum() / (1646 / 97) < 160  # chi-squared with 96 degrees of freedom

    more = task.replace(label_corruption=0.6)
    assert more.corrupted(seeds)[corrupted].all()
    assert (more.split(seeds).train_labels[corrupted] == split.train_labels[corrupted]).all()
    ordered = Seeds(split=3, order=9)
    assert {*zip(*split.train_inputs.T, split.train_labels, strict=True)} == {
        *zip(*task.split(ordered).train_inputs.T, task.split(ordered).train_labels, strict=True)
    }
    assert not task.replace(label_corruption=0.0).corrupted(seeds).any()


def test_the_first_weights_are_normal_with_the_papers_scale():
    for values in QuadraticNetwork().init(RandomlyLabelledAddition(), 5).values():
        assert values.std().item() == pytest.approx(0.05, rel=0.02)  # .5 / (2 * 500)^(1/3)
        assert values.mean().item() == pytest.approx(0.0, abs=1e-3)
        assert (values.abs() < 0.05).double().mean().item() == pytest.approx(0.6827, abs=0.01)


def test_weights_that_know_the_rule_get_the_train_accuracy_of_the_released_code():
    """.6537 at α = .5, ξ = .35: all clean rows right, and of the random labels only those that are true by chance."""
    trial = CorruptedLabels(model=QuadraticNetwork(dtype="float64"), horizon_steps=10)
    measured = with_weights(trial, *knowing(97, 500))
    assert (measured["test_accuracy"], measured["clean_accuracy"]) == (1.0, 1.0)
    assert measured["train_accuracy"] == pytest.approx(0.6537, abs=0.003)
    assert measured["corrupted_accuracy"] == pytest.approx(1 / 97, abs=0.008)
    assert measured["ipr"] == pytest.approx(1.0)


def test_a_dead_network_has_the_loss_of_the_released_code():
    dead = torch.zeros(2 * 97, 500), torch.zeros(500, 97)
    measured = with_weights(CorruptedLabels(horizon_steps=10), *dead)
    assert measured["train_loss"] == pytest.approx(0.010309, abs=5e-7)
    assert measured["test_accuracy"] < 0.02
    assert math.isnan(measured["ipr"])


def test_the_participation_ratio_is_that_of_the_equations():
    first, second = knowing(11, 12)
    noise = torch.rand(22, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixed = first + noise
    ratios = participation_KN(mixed.unsqueeze(0), second.unsqueeze(0))[0]
    for neuron in range(12):
        parts = []
        for vector in (mixed[:11, neuron], mixed[11:, neuron], second[neuron]):
            amplitudes = [abs(sum(vector[j] * np.exp(-2j * np.pi * k * j / 11) for j in range(11))) for k in range(6)]
            parts.append(sum(a**4 for a in amplitudes) / sum(a**2 for a in amplitudes) ** 2)
        assert ratios[neuron].item() == pytest.approx(np.mean(parts))
    spike = torch.zeros(1, 22, 1)
    spike[0, [3, 15]] = 1.0
    assert participation_KN(spike, spike[:, 11:].transpose(1, 2)).item() == pytest.approx(1 / 6)


def test_pruning_sets_the_neurons_of_lowest_ratio_to_zero():
    trial = small(3, 0.0, neurons=30)
    first, second = knowing(11, 30)
    mess = torch.randn(2, 33, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first[:, ::3], second[::3] = 1.5 * mess[0, :22], 1.5 * mess[1, :11].T  # every third neuron knows nothing
    measured = with_weights(trial, first, second)
    split, corrupted = SMALL.split(trial.seeds), SMALL.corrupted(trial.seeds)
    lowest = participation_KN(first.unsqueeze(0), second.unsqueeze(0))[0].argsort()
    assert set(lowest[:10].tolist()) == set(range(0, 30, 3))
    for share in range(10, 100, 10):
        kept = first.clone()
        kept[:, lowest[: 3 * share // 10]] = 0
        train = (logits(split.train_inputs, kept, second).argmax(1).numpy() == split.train_labels).astype(float)
        test = (logits(split.test_inputs, kept, second).argmax(1).numpy() == split.test_labels).astype(float)
        for rows, right in (("clean", train[~corrupted]), ("corrupted", train[corrupted]), ("test", test)):
            assert measured[f"{rows}_pruned_{share}_accuracy"] == pytest.approx(right.mean())
    assert measured["test_pruned_30_accuracy"] > measured["test_accuracy"]


def test_pruning_is_measured_every_now_and_then_and_at_the_end():
    trial = small(0, 5.0, prune_every=2, horizon_steps=7, measuring=EverySteps(every_steps=2))
    cohort = CorruptedLabels.build([trial])
    pruned = []
    for step in trial.grid():
        cohort.advance(int(step) - cohort.step)
        pruned.append("test_pruned_10_accuracy" in cohort.measure())
    assert trial.grid().tolist() == [0, 2, 4, 6, 7]
    assert pruned == [True, False, True, False, True]


def test_members_leave_and_the_others_keep_their_own_corrupted_rows():
    trials = [small(seed, 5.0) for seed in (4, 5, 6)]
    cohort, solo = CorruptedLabels.build(trials), CorruptedLabels.build(trials[2:])
    cohort.retire([0, 1])
    cohort.compact()
    for each in (cohort, solo):
        each.advance(20)
    for name, values in solo.measure().items():
        np.testing.assert_allclose(cohort.measure()[name], values, rtol=1e-9, err_msg=name)


def test_a_task_of_other_rows_is_refused():
    with pytest.raises(ConfigError, match="QuadraticNetwork: reads one-hot rows only, not the tokens ones"):
        CorruptedLabels(task=RandomlyLabelledAddition(inputs=Tokens()), horizon_steps=10)
