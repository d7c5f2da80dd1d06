"""Chance from counter-based bits: the same permutations and initial values on any device and in any release of numpy.

Each use of chance has a stream of its own, so that no two share bits, whatever the seeds are.
"""

import numpy as np

SPLIT_STREAM, ORDER_STREAM, INIT_STREAM, CORRUPTION_STREAM = 0, 1, 2, 3
NOISE_STREAM = 4  # and 5
ENCODING_STREAM, ROWS_STREAM = 6, 7


def random_bits(seed: int, stream: int, count: int) -> np.ndarray:
    """``count`` raw 64-bit words of Philox (Salmon et al. 2011), keyed by a seed and a stream.

    Raw bits, unlike the distributions built on them, are the same in every release of numpy.
    """
    return np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)


def permutation(seed: int, stream: int, count: int) -> np.ndarray:
    """A permutation of ``range(count)``, shape (count,), int64."""
    return np.argsort(random_bits(seed, stream, count), kind="stable")


def signed_uniform(bits: np.ndarray) -> np.ndarray:
    """One value in [-1, 1) for each word, from its upper 53 bits; float64, the shape of ``bits``."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def standard_normal(bits: np.ndarray) -> np.ndarray:
    """Half as many standard normal values as there are words, float64 (Box and Muller 1958).

    :param bits: shape (even,); a word of the first half gives the radius, one of the second half the angle.
    """
    radius_bits, angle_bits = np.split(bits, 2)
    above_zero = ((radius_bits >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53  # (0, 1]: its logarithm is finite
    return np.sqrt(-2.0 * np.log(above_zero)) * np.cos(np.pi * signed_uniform(angle_bits))
