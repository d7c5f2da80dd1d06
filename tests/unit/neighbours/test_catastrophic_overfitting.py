"""Catastrophic overfitting: a step against autograd on the equations, row by row, and PGD in closed form."""

import pytest
import torch
from torch import nn

from tests.support.fake_mnist import write_mnist
from trainables.engine.config import ConfigError
from trainables.engine.optimizers import SGD
from trainables.engine.optimizers_shaped import Muon
from trainables.engine.trial import Seeds
from trainables.neighbours.catastrophic_overfitting import ATTACKS, CatastrophicOverfitting, noise, pgd

RATE = 0.05
SMALL = CatastrophicOverfitting(
    train_rows=40, test_rows=12, batch_rows=20, channels=(2, 3), hidden=5, epsilon=0.3, horizon_steps=10,
    pgd_steps=3, pgd_restarts=2, optimizer=SGD(learning_rate=RATE),
)  # fmt: skip


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))


def network(trial: CatastrophicOverfitting, weights: torch.Tensor) -> nn.Module:
    """The network by torch's own modules."""
    first, second = trial.channels
    layers = nn.Sequential(
        nn.Conv2d(1, first, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(49 * second, trial.hidden), nn.ReLU(), nn.Linear(trial.hidden, 10),
    ).double()  # fmt: skip
    vector = iter(weights.split([value.numel() for value in layers.parameters()]))
    with torch.no_grad():
        for value in layers.parameters():
            part = next(vector)
            linear = value.ndim == 2  # ours are (inputs, outputs)
            value.copy_(part.reshape(value.shape[::-1]).T if linear else part.reshape(value.shape))
    return layers


def flat(layers: nn.Module, values: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.T.flatten() if value.ndim == 2 else value.flatten() for value in values])


def loss_of(trial, layers, x, labels, u):
    """The loss of a batch, row by row from the equations; and how many rows are abnormal."""
    radius, step, projects = ATTACKS[trial.attack]
    epsilon, ce = trial.epsilon, nn.CrossEntropyLoss()
    after_losses, drops, abnormal, normal = [], [], [], []
    for image, label, start in zip(x, labels, u, strict=True):
        before = (image + radius * epsilon * start).clamp(0, 1).requires_grad_()
        f_before = layers(before.reshape(1, 1, 28, 28))
        (slope,) = torch.autograd.grad(ce(f_before, label.reshape(1)), before, retain_graph=True)
        delta = (before - image + trial.step_factor * step * epsilon * slope.sign()).detach()
        if projects:
            delta = delta.clamp(-epsilon, epsilon)
        f_after = layers((image + delta).clamp(0, 1).reshape(1, 1, 28, 28))
        ce_before, ce_after = ce(f_before, label.reshape(1)), ce(f_after, label.reshape(1))
        variation = ((f_after - f_before.detach()) ** 2).sum()
        after_losses.append(ce_after)
        if ce_before > ce_after:
            abnormal.append(variation)
            drops.append(ce_before - ce_after)
        else:
            normal.append(variation.detach())
    loss = sum(after_losses) / len(x)
    if abnormal:
        excess = sum(abnormal) / len(abnormal) - sum(normal) / max(len(normal), 1)
        penalty = trial.lambda3 * torch.relu(excess) + trial.lambda2 * sum(drops) / len(drops)
        loss = loss + trial.lambda1 * len(abnormal) / len(x) * penalty
    return loss, len(abnormal)


@pytest.mark.parametrize("attack", [*ATTACKS])
@pytest.mark.parametrize("lambda2", [0.0, 0.7])
def test_the_gradient_is_that_of_the_equations(attack, lambda2):
    trial = SMALL.replace(attack=attack, epsilon=0.5, lambda1=1.3, lambda2=lambda2, lambda3=0.8)
    rows, drawn = trial.rows(), trial.draws(0)
    x, labels, u = rows["train_BP"][drawn["chosen_B"]], rows["train_B"][drawn["chosen_B"]], drawn["noise_BP"]
    # Abnormal rows are rare: draw many members, with biases, and compare those that have some.
    start, generator, members = trial.start()["weights"], torch.Generator().manual_seed(1), 240
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64).repeat(members // 2).unsqueeze(1)
    weights = 3 * start + scale * torch.randn(members, len(start), dtype=torch.float64, generator=generator)
    hyper = {
        name: torch.full((members,), getattr(trial, name), dtype=torch.float64)
        for name in ("epsilon", "step_factor", "lambda1", "lambda3")
    }
    each = (value.expand(members, *value.shape) for value in (x, labels, u))
    gradients, tallies = trial.gradient(weights, *each, hyper)
    seen, abnormal, of_abnormal, of_normal = tallies.unbind(1)
    assert (seen == trial.batch_rows).all()
    penalised = (of_abnormal / abnormal > of_normal / (seen - abnormal)).nonzero().flatten().tolist()
    assert penalised, "the penalty is in a gradient that is compared"
    for member in (*penalised[:2], int(abnormal.argmax()), int(abnormal.argmin())):
        layers = network(trial, weights[member])
        loss, count = loss_of(trial, layers, x, labels, u)
        expected = flat(layers, torch.autograd.grad(loss, [*layers.parameters()]))
        torch.testing.assert_close(gradients[member], expected, rtol=1e-9, atol=1e-9)
        assert abnormal[member] == count


def test_a_step_descends_by_the_optimizer():
    trials = [SMALL, SMALL.replace(epsilon=0.1, lambda1=1.0, seeds=Seeds.all(3))]
    cohort = SMALL.build(trials, "cpu")
    cohort.advance(1)
    for member, trial in enumerate(trials):
        layers = network(trial, trial.start()["weights"])
        rows, drawn = trial.rows(), trial.draws(0)
        chosen = drawn["chosen_B"]
        loss, _ = loss_of(trial, layers, rows["train_BP"][chosen], rows["train_B"][chosen], drawn["noise_BP"])
        gradient = flat(layers, torch.autograd.grad(loss, [*layers.parameters()]))
        got = torch.from_numpy(cohort.snapshot(member)["weights"])
        torch.testing.assert_close(got, trial.start()["weights"] - RATE * gradient, rtol=1e-9, atol=1e-12)


def test_the_ramp_scales_epsilon_of_training():
    late, none = SMALL.replace(ramp_steps=4), SMALL.replace(epsilon=0.3 / 4)
    (one,), (other,) = ([trial.build([trial], "cpu")] for trial in (late, none))
    for cohort in (one, other):
        cohort.advance(1)
    torch.testing.assert_close(one.snapshot(0)["weights"], other.snapshot(0)["weights"], rtol=0, atol=0)


def test_pgd_of_a_linear_model_ends_at_the_corner_that_hurts_most():
    """Of two classes: the loss rises along the difference of the other class's weights and the label's own."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(784, 2, dtype=torch.float64, generator=generator)
    x, labels = torch.rand(1, 6, 784, dtype=torch.float64, generator=generator), torch.tensor([[0, 1, 0, 1, 1, 0]])
    epsilon = torch.full((1, 1, 1), 0.3, dtype=torch.float64)
    ended = pgd(lambda pixels: 1e-3 * pixels @ weights, x, labels, epsilon, noise(0, 40, 6, 0), 9)
    slopes = (weights[:, 1] - weights[:, 0]) * (1 - 2 * labels.unsqueeze(2))
    # From anywhere within ±ε eight steps of ε / 4 reach the corner.
    torch.testing.assert_close(ended, (x + 0.3 * slopes.sign()).clamp(0, 1), rtol=0, atol=1e-15)


def test_measured_accuracies_are_those_of_torchs_modules():
    trial = SMALL.replace(seeds=Seeds.all(2))
    cohort = trial.build([trial], "cpu")
    cohort.advance(3)
    rows = trial.rows()
    layers, x, labels = network(trial, torch.from_numpy(cohort.snapshot(0)["weights"])), rows["test_BP"], rows["test_B"]

    def uphill(at, step):
        at = at.detach().requires_grad_()
        losses = nn.functional.cross_entropy(layers(at.reshape(-1, 1, 28, 28)), labels, reduction="sum")
        (slope,) = torch.autograd.grad(losses, at)
        return torch.minimum(torch.maximum(at.detach() + step * slope.sign(), x - 0.3), x + 0.3).clamp(0, 1)

    def right(at):
        return layers(at.reshape(-1, 1, 28, 28)).argmax(1) == labels

    robust = torch.ones(12, dtype=torch.bool)
    for restart in range(2):
        at = (x + 0.3 * noise(0, 40, 12, restart)).clamp(0, 1)
        for _ in range(3):
            at = uphill(at, 0.3 / 4)
        robust &= right(at)
    measured = cohort.measure()
    assert measured["clean_accuracy"] == right(x).double().mean().item()
    assert measured["fgsm_accuracy"] == right(uphill(x, 0.3)).double().mean().item()
    assert measured["pgd_accuracy"] == robust.double().mean().item()


def test_an_epoch_has_each_row_once_and_tallies_are_of_the_last_epoch():
    orders = [torch.cat([SMALL.draws(epoch * 2 + batch)["chosen_B"] for batch in range(2)]) for epoch in range(2)]
    assert all(sorted(order.tolist()) == [*range(40)] for order in orders)
    assert orders[0].tolist() != orders[1].tolist()
    cohort = SMALL.build([SMALL], "cpu")
    seen = []
    for _ in range(4):
        cohort.advance(1)
        seen.append(cohort.snapshot(0)["tallies"].sum(0)[0])
    assert seen == [20, 40, 40, 40]


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="batch_rows = 50: must be at most the 40"):
        SMALL.replace(batch_rows=50)
    with pytest.raises(ConfigError, match="optimizer = Muon: must be one that works entry by entry"):
        SMALL.replace(optimizer=Muon())
