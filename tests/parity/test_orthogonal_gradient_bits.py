"""⊥Grad shares its float64 copies among its sums; its bits are those of the formula written out, sum by sum."""

import pytest
import torch

from trainables.engine.gradients import OrthogonalGradient

SHAPES = [(1,), (7,), (64,), (3, 5), (33, 65), (10, 512), (64, 3, 7, 7), (16, 8, 3, 3), (300, 257)]


def inner(left, right):
    return torch.stack([(left[name].double() * right[name].double()).flatten(1).sum(1) for name in left]).sum(0)


def written_out(theta, g, rescale):
    """One group of tensors, every one widened wherever it is used."""

    def wide(values_K, like):
        return values_K.view(-1, *[1] * (like.dim() - 1))

    norm_K = inner(theta, theta)
    zero_K = norm_K == 0
    share_K = torch.where(zero_K, 0.0, inner(theta, g) / torch.where(zero_K, 1.0, norm_K))
    found = {name: value.double() - wide(share_K, value) * theta[name].double() for name, value in g.items()}
    if rescale:
        size_K, left_K = inner(g, g).sqrt(), inner(found, found).sqrt()
        rounding = 16 * max(torch.finfo(value.dtype).eps for value in g.values())
        meaningful_K = left_K > rounding * size_K
        factor_K = torch.where(meaningful_K, size_K / torch.where(meaningful_K, left_K, 1.0), 1.0)
        found = {name: value * wide(factor_K, value) for name, value in found.items()}
    return {name: value.to(g[name].dtype) for name, value in found.items()}


def drawn(members, dtype, seed, transposed):
    """θ and g of every shape; some members all zero, some parallel, some gradients in another layout."""
    generator = torch.Generator().manual_seed(seed)
    theta, g = {}, {}
    for number, shape in enumerate(SHAPES):
        theta[str(number)] = torch.randn(members, *shape, generator=generator).to(dtype)
        g[str(number)] = (torch.randn(members, *shape, generator=generator) * 10.0 ** (number - 5)).to(dtype)
        theta[str(number)][number % (members + 1) :][:1] = 0  # none, where that is beyond the last
        g[str(number)][(number + 1) % (members + 2) :][:1] = 0
        if transposed:
            g[str(number)] = (
                g[str(number)].mT.contiguous().mT if len(shape) > 1 else g[str(number)].t().contiguous().t()
            )
    g["3"][-1] = theta["3"][-1] * 1.7
    return theta, g


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rescale", [True, False], ids=["rescaled", "not rescaled"])
def test_bits_against_the_written_out_formula(rescale, dtype):
    for members in [1, 3]:
        for transposed in [False, True]:
            theta, g = drawn(members, dtype, 100 * members + transposed, transposed)
            before = {name: (theta[name].clone(), g[name].clone()) for name in g}
            expected = {name: written_out({name: theta[name]}, {name: g[name]}, rescale)[name] for name in g}
            found = OrthogonalGradient(rescale=rescale).projected(theta, g)
            together = OrthogonalGradient(scope="global", rescale=rescale).projected(theta, g)
            for ours, theirs in ((found, expected), (together, written_out(theta, g, rescale))):
                for name, value in theirs.items():
                    assert ours[name].dtype == dtype
                    assert torch.equal(ours[name], value), name
                    assert torch.equal(ours[name].signbit(), value.signbit()), name  # zeros' too
            assert all(torch.equal(theta[name], a) and torch.equal(g[name], b) for name, (a, b) in before.items())
