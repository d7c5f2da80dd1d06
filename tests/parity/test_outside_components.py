"""Gradient rules, optimizers and losses of others' papers, beside others' implementations of them, member by member.

Those store matrices as (outputs, inputs), ours as (inputs, outputs): each sees its own transpose.
"""

import heavyball
import numpy as np
import pytest
import pytorch_optimizer
import torch
from adv_optm.util.OrthoGrad import iterative_ortho_project
from entmax import sparsemax as their_sparsemax
from entmax import sparsemax_loss
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema, gradfilter_ma

from trainables.engine.gradients import GradientRule, OrthogonalGradient
from trainables.engine.gradients_filtered import GrokfastEMA, GrokfastMA
from trainables.engine.gradients_matrix import EgalitarianGradientDescent, IterativeOrthogonalGradient
from trainables.engine.optimizers import Optimizer, stack_hyper
from trainables.engine.optimizers_shaped import AdamP, Muon, OrthogonalLaProp, newton_schulz
from trainables.engine.sparsemax import Sparsemax, sparsemax

CPU = torch.device("cpu")
SHAPES = {"wide": (3, 7), "tall": (6, 4), "bias": (5,)}
MATRICES = ("wide", "tall")
STEPS = 12


@pytest.fixture(autouse=True, scope="module")
def uncompiled():
    """A judge need not be fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heavyball.utils, "compile_mode", None)
        yield


def numbers(members: int, *seeds: int, dtype=torch.float64, shapes=SHAPES) -> dict[str, torch.Tensor]:
    """Random tensors with the cohort axis first."""
    generator = torch.Generator().manual_seed(hash(seeds) % 2**31)
    return {
        name: torch.randn(members, *shape, dtype=torch.float64, generator=generator).to(dtype)
        for name, shape in shapes.items()
    }


def theirs(tensors: dict[str, torch.Tensor], member: int) -> dict[str, torch.Tensor]:
    """One member's tensors in PyTorch's layout."""
    return {
        name: (value[member].mT if value.dim() > 2 else value[member]).contiguous().clone()
        for name, value in tensors.items()
    }


def module_of(tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    module = torch.nn.Module()
    for name, value in tensors.items():
        module.register_parameter(name, torch.nn.Parameter(value))
    return module


def run_rule(rules: list[GradientRule], gradients: list[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
    """The directions at each step."""
    parameters, found = numbers(len(rules), 0), []
    state, hyper = rules[0].init_state(parameters), stack_hyper(rules, CPU)
    for number, each in enumerate(gradients, start=1):
        directions, state = rules[0](parameters, each, state, hyper, torch.tensor(float(number), dtype=torch.float64))
        found.append(dict(directions))
    return found


def run_optimizer(
    members: list[Optimizer], start: dict[str, torch.Tensor], gradients: list[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """The parameters after all steps."""
    parameters, hyper = start, stack_hyper(members, CPU)
    state = members[0].init_state(parameters)
    for number, each in enumerate(gradients, start=1):
        step = torch.tensor(float(number), dtype=torch.float64)
        parameters, state = members[0].update(parameters, each, state, hyper, step)
    return dict(parameters)


def run_theirs(optimizer: torch.optim.Optimizer, module: torch.nn.Module, gradients: list[dict[str, torch.Tensor]]):
    for each in gradients:
        for name, parameter in module.named_parameters():
            parameter.grad = each[name].clone()
        optimizer.step()
    return dict(module.named_parameters())


@pytest.mark.parametrize(
    ("rules", "judge"),
    [
        (
            [GrokfastEMA(), GrokfastEMA(alpha=0.5, strength=0.7)],
            lambda rule, module, kept: gradfilter_ema(module, kept, rule.alpha, rule.strength),
        ),
        (
            [GrokfastMA(steps=4), GrokfastMA(steps=4, strength=0.3)],
            lambda rule, module, kept: gradfilter_ma(module, kept, rule.steps, rule.strength),
        ),
    ],
    ids=["EMA", "MA"],
)
def test_grokfast(rules, judge):
    gradients = [numbers(2, 1, step) for step in range(STEPS)]
    found = run_rule(rules, gradients)
    for member, rule in enumerate(rules):
        module, kept = module_of(theirs(numbers(2, 0), member)), None
        for step, each in enumerate(gradients):
            for name, gradient in theirs(each, member).items():
                module.get_parameter(name).grad = gradient
            kept = judge(rule, module, kept)
            for name, value in theirs(found[step], member).items():
                torch.testing.assert_close(value, module.get_parameter(name).grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rescale", [True, False])
def test_orthogonal_gradient_is_heavyball_s_with_and_without_graft(rescale):
    weights, gradients = numbers(2, 2), numbers(2, 3)
    found = OrthogonalGradient(rescale=rescale).projected(weights, gradients)
    for member in range(2):
        for name, weight in theirs(weights, member).items():
            other = theirs(gradients, member)[name]
            heavyball.utils.orthogonalize_grad_to_param([weight], [other], 1e-30, graft=rescale)
            torch.testing.assert_close(theirs(found, member)[name], other, rtol=2e-6, atol=1e-7)


def test_orthogonal_gradient_is_pytorch_optimizer_s():
    weights, gradients = numbers(2, 4), numbers(2, 5)
    found = OrthogonalGradient().projected(weights, gradients)
    for member in range(2):
        module = module_of(theirs(weights, member))
        moved = run_theirs(
            pytorch_optimizer.OrthoGrad(torch.optim.SGD(module.parameters(), lr=1.0)),
            module,
            [theirs(gradients, member)],
        )
        for name, start in theirs(weights, member).items():
            torch.testing.assert_close(start - moved[name].detach(), theirs(found, member)[name], rtol=1e-6, atol=1e-6)


def test_iterative_orthogonal_gradient_is_adv_optm_s():
    weights, gradients = numbers(2, 6), numbers(2, 7)
    (found,) = run_iterative(weights, gradients)
    for member in range(2):
        for name, weight in theirs(weights, member).items():
            other = iterative_ortho_project(weight, theirs(gradients, member)[name].clone())
            # They project vectors in float32.
            torch.testing.assert_close(theirs(found, member)[name], other, rtol=1e-6, atol=1e-6)
            if weight.dim() == 2:
                cosines = torch.nn.functional.cosine_similarity(weight, other, dim=1)
                assert cosines.abs().max() < 0.3  # nearly orthogonal row by row, which the plain projection is not


def run_iterative(weights, gradients):
    rule = IterativeOrthogonalGradient()
    return [dict(rule(weights, gradients, {}, {}, torch.tensor(1.0))[0])]


def test_egalitarian_gradient_is_the_polar_factor():
    gradients = numbers(3, 8)
    gradients["wide"][0, 2] = gradients["wide"][0, 1]  # two equal rows: rank 2
    gradients["tall"][1] *= 1e-30
    gradients["tall"][2] = 0
    directions, _ = EgalitarianGradientDescent()(gradients, gradients, {}, {}, torch.tensor(1.0))
    for name in ("wide", "tall"):
        for member in range(3):
            left, singular, right = np.linalg.svd(gradients[name][member].numpy(), full_matrices=False)
            kept = singular > 1e-7 * max(singular.max(), 1e-300)
            expected = left[:, kept] @ right[kept]
            np.testing.assert_allclose(directions[name][member].numpy(), expected, rtol=0, atol=1e-7)
    norms = gradients["bias"].norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions["bias"], gradients["bias"] / norms)


class TestMuon:
    MEMBERS = (
        Muon(learning_rate=0.03, weight_decay=0.1, iteration_dtype="bfloat16"),
        Muon(learning_rate=0.01, momentum=0.5, iteration_dtype="bfloat16"),
    )

    def test_it_is_torch_s_in_bfloat16(self):
        start = numbers(2, 9, dtype=torch.float32)
        gradients = [numbers(2, 10, step, dtype=torch.float32) for step in range(STEPS)]
        found = run_optimizer(list(self.MEMBERS), start, gradients)
        for member, config in enumerate(self.MEMBERS):
            module = module_of({name: theirs(start, member)[name] for name in MATRICES})
            moved = run_theirs(
                torch.optim.Muon(
                    module.parameters(),
                    lr=config.learning_rate,
                    weight_decay=config.weight_decay,
                    momentum=config.momentum,
                ),
                module,
                [theirs(each, member) for each in gradients],
            )
            for name in MATRICES:
                # A product in bfloat16 is rounded to 2⁻⁸, in another order for a batch than for one matrix.
                limit = STEPS * config.learning_rate * 2**-5
                torch.testing.assert_close(theirs(found, member)[name], moved[name].detach(), rtol=0, atol=limit)

    def test_its_vectors_are_adamw_s(self):
        start, gradients = numbers(2, 9), [numbers(2, 10, step) for step in range(STEPS)]
        found = run_optimizer(list(self.MEMBERS), start, gradients)
        for member, config in enumerate(self.MEMBERS):
            module = module_of({"bias": theirs(start, member)["bias"]})
            optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=config.weight_decay)
            moved = run_theirs(optimizer, module, [theirs(each, member) for each in gradients])
            torch.testing.assert_close(found["bias"][member], moved["bias"].detach(), rtol=1e-12, atol=0)

    def test_the_iteration_is_the_quintic_of_the_singular_values(self):
        matrices = numbers(3, 11)
        for name in MATRICES:
            found = newton_schulz(matrices[name], 5, torch.float64)
            for member in range(3):
                left, singular, right = np.linalg.svd(matrices[name][member].numpy(), full_matrices=False)
                values = singular / np.sqrt((singular**2).sum())
                for _ in range(5):
                    values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
                np.testing.assert_allclose(found[member].numpy(), left * values @ right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("invariant", [False, True])
def test_adamp_is_pytorch_optimizer_s(invariant):
    """With gradients of any direction, and orthogonal to the weights, as those of scale-invariant weights are."""
    members = [AdamP(weight_decay=0.1), AdamP(learning_rate=0.01, betas=(0.8, 0.95), delta=0.3, decay_ratio=0.5)]
    start = numbers(2, 12)
    gradients = [numbers(2, 13, step) for step in range(STEPS)]
    if invariant:
        units = {name: value / value.norm(dim=1, keepdim=True) for name, value in start.items()}
        for each in gradients:
            for name in MATRICES:
                each[name] -= units[name] * (units[name] * each[name]).sum(1, keepdim=True)
    found = run_optimizer(members, start, gradients)
    for member, config in enumerate(members):
        module = module_of(theirs(start, member))
        optimizer = pytorch_optimizer.AdamP(
            module.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            delta=config.delta,
            wd_ratio=config.decay_ratio,
        )
        moved = run_theirs(optimizer, module, [theirs(each, member) for each in gradients])
        for name, value in theirs(found, member).items():
            torch.testing.assert_close(value, moved[name].detach(), rtol=1e-6, atol=1e-9)


def test_orthogonal_laprop_is_heavyball_s():
    members = [OrthogonalLaProp(weight_decay=0.1), OrthogonalLaProp(learning_rate=0.01, betas=(0.8, 0.95))]
    start = numbers(2, 14, dtype=torch.float32)
    gradients = [numbers(2, 15, step, dtype=torch.float32) for step in range(STEPS)]
    found = run_optimizer(members, start, gradients)
    for member, config in enumerate(members):
        module = module_of(theirs(start, member))
        optimizer = heavyball.LaPropOrtho(
            module.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        moved = run_theirs(optimizer, module, [theirs(each, member) for each in gradients])
        for name, value in theirs(found, member).items():
            torch.testing.assert_close(value, moved[name].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_sparsemax_is_entmax_s(scale):
    generator = torch.Generator().manual_seed(16)
    logits = (scale * torch.randn(2, 9, 6, dtype=torch.float64, generator=generator)).requires_grad_()
    labels = torch.randint(6, (2, 9), generator=generator)
    losses = Sparsemax(dtype="float64").row_losses(logits, labels, {})
    others = sparsemax_loss(logits.flatten(0, 1), labels.flatten()).view(2, 9)
    torch.testing.assert_close(losses, others, rtol=1e-12, atol=1e-12)
    mine, other = (torch.autograd.grad(each.sum(), logits)[0] for each in (losses, others))
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sparsemax(logits), their_sparsemax(logits, dim=-1), rtol=1e-12, atol=1e-12)


def test_sparsemax_of_logits_at_the_end_of_float16():
    logits, labels = torch.tensor([[[4e4, -4e4, 0.0], [6e4, 6e4, -6e4]]]), torch.zeros(1, 2, dtype=torch.int64)
    assert Sparsemax(dtype="float16").row_losses(logits, labels, {}).tolist() == [[0.0, 0.25]]
