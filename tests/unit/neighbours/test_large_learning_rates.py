"""Large learning rates: the step against torch.optim.SGD, pruning against torch's own, and what the rows are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tests.support.fake_mnist import write_mnist
from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.trial import Seeds
from trainables.neighbours.large_learning_rates import (
    PRUNED,
    CorrelatedParity,
    DoubleMNIST,
    LargeLearningRates,
    pruned_weights,
)

PARITY = CorrelatedParity(train_rows=44, test_rows=200, correlation=0.75, noise_bits=5)
TRIAL = LargeLearningRates(
    task=PARITY, model=MLP(hidden=(12, 7), bias=True, dtype="float64"), batch_rows=10, horizon_steps=50
)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """The (pixels, labels) of both halves of a small MNIST, which the tasks read."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKSCAPE_DATA", str(folder))
        yield write_mnist(folder, train_rows=300, test_rows=100)


def network(weights: dict[str, np.ndarray]) -> nn.Sequential:
    """The same MLP made of torch's modules."""
    layers: list[nn.Module] = []
    for layer in range(3):
        matrix = torch.from_numpy(weights[f"weight_{layer}"])
        linear = nn.Linear(*matrix.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = matrix.T.contiguous(), torch.from_numpy(weights[f"bias_{layer}"]).clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parameters(net: nn.Sequential) -> dict[str, torch.Tensor]:
    named = {}
    for layer, linear in enumerate(net[::2]):
        named[f"weight_{layer}"], named[f"bias_{layer}"] = linear.weight.detach().T, linear.bias.detach()
    return named


def test_a_step_is_that_of_torchs_sgd_on_the_batch():
    """Over the end of an epoch: 44 rows make four batches of 10."""
    trials = [TRIAL, TRIAL.replace(learning_rate=0.7, weight_decay=0.02, seeds=Seeds.all(5))]
    cohort = TRIAL.build(trials)
    starts = [cohort.snapshot(member) for member in range(2)]
    cohort.advance(6)
    for member, trial in enumerate(trials):
        net, split = network(starts[member]), trial.task.split(trial.seeds)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.learning_rate, weight_decay=trial.weight_decay)
        for step in range(6):
            batch = trial.draws(step)["batch_B"].numpy()
            optimizer.zero_grad()
            logits = net(torch.from_numpy(split.train_inputs[batch]).double())
            nn.functional.cross_entropy(logits, torch.from_numpy(split.train_labels[batch])).backward()
            optimizer.step()
        for name, value in parameters(net).items():
            np.testing.assert_allclose(cohort.snapshot(member)[name], value, rtol=1e-10, atol=1e-13)


def test_an_epoch_reads_each_row_at_most_once_and_every_epoch_another_order():
    epochs = [torch.cat([TRIAL.draws(4 * epoch + place)["batch_B"] for place in range(4)]) for epoch in (0, 1)]
    assert all(len(set(epoch.tolist())) == 40 for epoch in epochs)
    assert max(epoch.max() for epoch in epochs) < 44
    assert not torch.equal(*epochs)
    other = TRIAL.replace(seeds=Seeds(order=1)).draws(0)["batch_B"]
    assert not torch.equal(other, TRIAL.draws(0)["batch_B"])


def test_it_resumes_bit_for_bit_over_the_end_of_an_epoch():
    whole, resumed = TRIAL.build([TRIAL]), TRIAL.build([TRIAL])
    whole.advance(3)
    resumed.load_state_dict([whole.state_dict(0)])
    for cohort in (whole, resumed):
        cohort.advance(4)
    assert all(np.array_equal(value, resumed.snapshot(0)[name]) for name, value in whole.snapshot(0).items())


def test_pruning_is_torchs_global_one():
    trials = [TRIAL, TRIAL.replace(seeds=Seeds.all(1))]
    cohort = TRIAL.build(trials)
    cohort.advance(3)
    snapshots = [cohort.snapshot(member) for member in range(2)]
    stacked = {name: torch.from_numpy(np.stack([each[name] for each in snapshots])) for name in snapshots[0]}
    for percent, ours in zip(PRUNED, pruned_weights(stacked, PRUNED), strict=True):
        measured = cohort.measure()[f"pruned_{percent}_accuracy"]
        for member, trial in enumerate(trials):
            net, split = network(snapshots[member]), trial.task.split(trial.seeds)
            layers = [(linear, "weight") for linear in net[::2]]
            prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=percent / 100)
            for name, value in parameters(net).items():
                torch.testing.assert_close(ours[name][member], value)
            predicted = net(torch.from_numpy(split.test_inputs).double()).argmax(1).numpy()
            assert measured[member] == pytest.approx((predicted == split.test_labels).mean())


def test_measurements_by_loops():
    cohort = TRIAL.build([TRIAL])
    cohort.advance(30)
    measured = {name: value.item() for name, value in cohort.measure().items()}
    net, split = network(cohort.snapshot(0)), TRIAL.task.split(TRIAL.seeds)
    last, zeros = [], []
    for row in torch.from_numpy(split.test_inputs).double():
        first = net[1](net[0](row))
        last.append(net[3](net[2](first)).detach().numpy())
        zeros += [value == 0 for value in (*first.tolist(), *last[-1])]
    assert measured["zero_fraction"] == pytest.approx(np.mean(zeros))
    groups = [np.array(last)[split.test_labels == label] for label in (0, 1)]
    within = sum(((group - group.mean(0)) ** 2).sum() for group in groups)
    total = ((np.array(last) - np.mean(last, axis=0)) ** 2).sum()
    assert measured["class_separation"] == pytest.approx(1 - within / total)
    chances = net(torch.from_numpy(split.test_inputs).double()).softmax(1).detach().numpy()
    right = [chance.argmax() == label for chance, label in zip(chances, split.test_labels, strict=True)]
    assert measured["test_accuracy"] == pytest.approx(np.mean(right))
    assert measured["conflict_accuracy"] == pytest.approx(np.mean(np.array(right)[split.test_conflicts]))
    assert measured["conflict_accuracy"] != measured["test_accuracy"]
    chances = net(torch.from_numpy(split.train_inputs).double()).softmax(1).detach().numpy()
    rows = zip(chances, split.train_labels, split.train_conflicts, strict=True)
    misled = [chance.max() for chance, label, conflict in rows if conflict and chance.argmax() != label]
    assert misled
    assert measured["conflict_confidence"] == pytest.approx(np.mean(misled))
    losses = -np.log(chances[np.arange(44), split.train_labels])
    assert measured["train_loss"] == pytest.approx(losses.mean())


def test_double_mnist_is_a_bright_digit_beside_a_dim_one(halves):
    task = DoubleMNIST(train_rows=200, test_rows=100, correlation=0.85, spurious_brightness=0.3, pooling=1)
    split = task.split(Seeds.all(3))
    assert split.train_conflicts.sum() == 30
    for prefix, inputs, labels, conflicts in (
        ("train", split.train_inputs, split.train_labels, split.train_conflicts),
        ("t10k", split.test_inputs, split.test_labels, split.test_conflicts),
    ):
        pixels, digits = halves[prefix]
        known = {image.tobytes(): digit for image, digit in zip(pixels, digits, strict=True)}
        images = inputs.reshape(-1, 28, 56)
        core, spurious = images[:, :, :28], images[:, :, 28:] / 0.3
        names = [
            [known[np.rint(255 * digit).astype(np.uint8).tobytes()] for digit in side] for side in (core, spurious)
        ]
        np.testing.assert_array_equal(names[0], labels)
        np.testing.assert_array_equal(np.array(names[1]) != labels, conflicts)
        assert len({image.tobytes() for image in core}) == len(core)
        assert set(names[1]) == set(range(10))
    assert split.test_conflicts.mean() == pytest.approx(0.9, abs=0.1)
    pooled = task.replace(pooling=4).split(Seeds.all(3)).train_inputs.reshape(-1, 7, 14)
    fine = split.train_inputs.reshape(-1, 28, 56)
    np.testing.assert_allclose(pooled[:, 2, 9], fine[:, 8:12, 36:40].mean((1, 2)), rtol=1e-5)


def test_every_spurious_image_can_be_drawn(halves):
    """With ρ = 0 and ρ = 1 alike: images of other classes on both sides of the row's own, and all of the own."""
    _, digits = halves["train"]
    for correlation in (0.0, 1.0):
        task = DoubleMNIST(train_rows=300, test_rows=1, correlation=correlation, pooling=1, spurious_brightness=1.0)
        drawn = [task.split(Seeds.all(seed)).train_inputs.reshape(-1, 28, 56)[:, :, 28:] for seed in range(8)]
        assert len({image.tobytes() for images in drawn for image in images}) > 0.98 * len(digits)


def test_parity_rows():
    task = PARITY.replace(train_rows=2000, test_rows=2000)
    split = task.split(Seeds.all(2))
    for inputs, labels in ((split.train_inputs, split.train_labels), (split.test_inputs, split.test_labels)):
        assert set(np.unique(inputs)) == {-1, 1}
        np.testing.assert_array_equal(inputs[:, :3].prod(1), 2 * labels - 1)
    agrees = [(2 * labels - 1) * inputs[:, 3] for inputs, labels in (
        (split.train_inputs, split.train_labels), (split.test_inputs, split.test_labels))]  # fmt: skip
    assert agrees[0].mean() == 0.5
    assert abs(agrees[1].mean()) < 0.1
    np.testing.assert_array_equal(agrees[1] < 0, split.test_conflicts)
    others = np.delete(split.train_inputs, 3, axis=1)
    covariance = others.T @ others / 2000 - np.eye(8)
    assert np.abs(covariance).max() < 0.1


def test_what_is_refused(halves):
    with pytest.raises(ConfigError, match="batch_rows = 45: must be at most"):
        TRIAL.replace(batch_rows=45)
    with pytest.raises(ConfigError, match="must have a hidden layer"):
        TRIAL.replace(model=MLP(hidden=()))
    with pytest.raises(ConfigError, match="train_rows = 301: must be at most 300"):
        DoubleMNIST(train_rows=301).split(Seeds())
