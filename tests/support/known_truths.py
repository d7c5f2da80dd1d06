"""Times to an event from known distributions, measured as the standard schedule would: for coverage."""

from collections.abc import Callable

import numpy as np

from analysis.stats.survival import CensoredTimes
from trainables.engine.events import KINDS, EventKind
from trainables.engine.trial import Measuring

TAU = 1500.0
EVENT, CENSORED = KINDS.index(EventKind.EVENT), KINDS.index(EventKind.CENSORED)
STEPS = Measuring().steps(int(TAU)).astype(float)
Truth = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""From a generator and a shape to true times; infinite where the event never comes."""


def _log_normal(median: float, sigma: float, share: float = 1.0) -> Truth:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        times = median * np.exp(sigma * rng.standard_normal(shape))
        return np.where(rng.random(shape) < share, times, np.inf)

    return draw


def _bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    early = _log_normal(150, 0.1)(rng, shape)
    late = _log_normal(1200, 0.1, share=0.8)(rng, shape)
    return np.where(rng.random(shape) < 0.5, early, late)


TRUTHS: dict[str, Truth] = {
    "log-normal": _log_normal(500, 0.5),
    "log-normal, two thirds grok": _log_normal(600, 0.5, share=2 / 3),
    "log-normal, one fifth groks": _log_normal(600, 0.5, share=0.2),
    "bimodal": _bimodal,
    "tight": _log_normal(400, 0.05),
}


def shared(first: tuple[float, float], second: tuple[float, float], sigma: float = 0.5) -> Truth:
    """Pairs of times (..., 2): a median and a share that groks for each side; seeds share half of what varies."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        common, luck = rng.standard_normal(shape), rng.random(shape)
        sides = []
        for median, share in (first, second):
            noise = np.sqrt(0.5) * (common + rng.standard_normal(shape))
            own = np.where(rng.random(shape) < 0.5, luck, rng.random(shape))
            sides.append(np.where(own < share, median * np.exp(sigma * noise), np.inf))
        return np.stack(sides, axis=-1)

    return draw


PAIRS: dict[str, Truth] = {
    "equal": shared((500, 1), (500, 1)),
    "equal, two thirds grok": shared((600, 2 / 3), (600, 2 / 3)),
    "equal, one fifth groks": shared((600, 0.2), (600, 0.2)),
    "equal, tight": shared((400, 1), (400, 1), sigma=0.05),
    "twice as fast": shared((500, 1), (250, 1)),
    "two thirds, then all": shared((600, 2 / 3), (300, 1)),
    "none, then half": shared((600, 0), (600, 0.5)),
}


def measured(times: np.ndarray) -> CensoredTimes:
    """What is known of these true times (n,) at TAU: each lies between two measurements, or beyond TAU."""
    came = times <= TAU
    index = np.searchsorted(STEPS, np.minimum(times, TAU))
    low, high = STEPS[np.maximum(index - 1, 0)], STEPS[index]
    return CensoredTimes(
        np.where(came, low, TAU), np.where(came, high, np.inf), np.where(came, EVENT, CENSORED).astype(int)
    )


def restricted_mean(times: np.ndarray) -> float:
    """The truth that a large sample tells."""
    return float(np.minimum(times, TAU).mean())
