"""The noise of a training step: a function of seed, step and call, of the right rate, and each member's own."""

import pytest
import torch

from trainables.engine.noise import GAMMA, Noise, mixed_, noise_keys

CPU = torch.device("cpu")


def draw(seeds, step, shape=(40, 50), dropped=0.25, calls=1):
    noise = Noise(noise_keys(seeds, CPU), torch.tensor(step))
    return [noise.keep(shape, dropped) for _ in range(calls)]


def test_draws_do_not_depend_on_the_cohort():
    packed, solo = draw([3, 8, 5], step=7, calls=3), draw([8], step=7, calls=3)
    for together, alone in zip(packed, solo, strict=True):
        assert torch.equal(together[1], alone[0])


def test_seeds_steps_and_calls_differ():
    (first, second), (later, _), (other, _) = (
        draw([seed], step=step, calls=2) for seed, step in ((0, 0), (0, 1), (1, 0))
    )
    drawn = [mask.flatten() == 0 for mask in (first, second, later, other)]
    for place, mask in enumerate(drawn):
        for following in drawn[place + 1 :]:
            # Two independent masks agree in .25² + .75² = .625 of 2000 units, give or take .011.
            assert (mask == following).float().mean().item() == pytest.approx(0.625, abs=0.06)


@pytest.mark.parametrize("dropped", [0.1, 0.5])
def test_rate_and_scale(dropped):
    (mask,) = draw([0, 1], step=3, shape=(200, 200), dropped=dropped)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropped)])
    for member in mask:
        # 40 000 units: the share that is dropped has a standard error of at most .0025.
        assert (member == 0).float().mean().item() == pytest.approx(dropped, abs=0.0125)
        assert member.mean().item() == pytest.approx(1.0, abs=0.03)


def test_the_generator_is_splitmix64():
    """The first outputs for the seed 1234567, as published with the reference implementations (Rosetta Code)."""
    words = mixed_(1234567 + torch.arange(1, 6) * GAMMA)
    assert [word % 2**64 for word in words.tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_an_odd_number_of_units_and_a_rate_near_its_bounds():
    assert draw([1], step=0, shape=(3, 5))[0].shape == (1, 3, 5)
    assert (draw([1], step=0, dropped=0.0)[0] == 1).all()
    assert (draw([1], step=0, dropped=1 - 2**-32)[0] == 0).sum() > 1990
