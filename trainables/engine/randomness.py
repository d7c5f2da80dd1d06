"""Counter-based randomness: the same permutations and initial values on any device and in any release of numpy.

Each use has a stream of its own, so that no two uses share bits, whatever the seeds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SPLIT_STREAM, ORDER_STREAM, INIT_STREAM, CORRUPTION_STREAM = 0, 1, 2, 3  # from 1000 on they are the users'
NOISE_STREAM = 4  # 5 was in use; do not give it to another
ENCODING_STREAM, ROWS_STREAM = 6, 7
BATCH_ORDER_STREAM, AUGMENTATION_STREAM, DROPOUT_STREAM, WEIGHTS_STREAM, MEASURED_STREAM = 8, 9, 10, 11, 12
OPPOSING_SIGNALS_STREAM, OPPOSING_START_STREAM = 30, 31  # rows and signal; initial weights
LAZY_TO_RICH_STREAM, LAZY_TO_RICH_START_STREAM = 32, 33  # rows and target; initial weights
SENSING_STREAM, TARGET_STREAM, OUTLIERS_STREAM, FACTOR_STREAM = 20, 21, 22, 23  # matrix recovery
NOISE_ROWS_STREAM, CLUSTER_STREAM, FLIP_STREAM, TEST_ROWS_STREAM = 24, 25, 26, 27  # XOR clusters
FIRST_LAYER_STREAM, SECOND_LAYER_STREAM = 28, 29  # likewise
CORE_STREAM, SPURIOUS_STREAM, BATCHES_STREAM = 34, 35, 36  # large learning rates: features, batches
MIXTURE_STREAM, DENOISER_STREAM, DENOISING_STREAM, SAMPLER_STREAM = 41, 42, 43, 44  # projected guidance
ATTACK_START_STREAM, FAST_BATCH_STREAM, CNN_STREAM, PGD_START_STREAM = 37, 38, 39, 40  # catastrophic overfitting


def random_bits(seed: int, stream: int, count: int, block: int = 0) -> np.ndarray:
    """Return ``count`` raw 64-bit words of Philox (Salmon et al. 2011), keyed by a seed and a stream.

    Raw bits, unlike the distributions built on them, are the same in every release of numpy.

    :param block: an epoch or a step; each block has its own words, as if it were another stream.
    """
    key, counter = np.array([seed, stream], dtype=np.uint64), np.array([0, 0, 0, block], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def permutation(seed: int, stream: int, count: int, block: int = 0) -> np.ndarray:
    """Return a random permutation of ``range(count)``: shape (count,), int64."""
    return np.argsort(random_bits(seed, stream, count, block), kind="stable")


@contextmanager
def torch_seeded(seed: int, stream: int, block: int = 0, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators (the CPU's and the device's) from seed, stream and block; restore them on exit.

    For operations that take no generator: initial weights of ``torch.nn`` modules, dropout.
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(random_bits(seed, stream, 1, block)[0] >> np.uint64(1)))
        yield


def signed_uniform(bits: np.ndarray) -> np.ndarray:
    """Map each word to [-1, 1) by its upper 53 bits; float64, the shape of ``bits``."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def standard_normal(bits: np.ndarray) -> np.ndarray:
    """Map each pair of words to one standard normal value, float64 (Box and Muller 1958).

    :param bits: shape (2n,): the first half gives the radii, the second half the angles of the n values.
    """
    radius_bits, angle_bits = np.split(bits, 2)
    above_zero = ((radius_bits >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53  # (0, 1]: its logarithm is finite
    return np.sqrt(-2.0 * np.log(above_zero)) * np.cos(np.pi * signed_uniform(angle_bits))


def normal_matrix(seed: int, stream: int, rows: int, columns: int, block: int = 0) -> torch.Tensor:
    """Return standard normal values: shape (rows, columns), float64."""
    values = standard_normal(random_bits(seed, stream, 2 * rows * columns, block))
    return torch.from_numpy(values).reshape(rows, columns)
