"""Tasks: which rows there are, what their labels are, and which of them are for training.

A task is configuration and builder at once.  Its rows do not depend on the device, the number of workers or the
version of a library: permutations are drawn from the raw bits of a counter-based generator.
"""

import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.trial import Seeds

SPLIT_STREAM, ORDER_STREAM, INIT_STREAM, CORRUPTION_STREAM, NOISE_STREAM = 0, 1, 2, 3, 4  # NOISE uses 5 as well


def random_bits(seed: int, stream: int, count: int) -> np.ndarray:
    """``count`` raw 64-bit words of Philox (Salmon et al. 2011), keyed by a seed and a stream.

    Raw bits, unlike the distributions built on them, are the same in every release of numpy.
    """
    return np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)


def permutation(seed: int, stream: int, count: int) -> np.ndarray:
    """A permutation of ``range(count)``, shape (count,), int64."""
    return np.argsort(random_bits(seed, stream, count), kind="stable")


@dataclass(frozen=True)
class Split:
    """The rows of one trial.  Inputs are the indices of the active one-hot features, labels are classes."""

    train_inputs: np.ndarray
    """(train rows, active features), int64, values in ``[0, features)``."""
    train_labels: np.ndarray
    """(train rows,), int64."""
    test_inputs: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Task(Config):
    """Base of the tasks."""

    @property
    def input_kind(self) -> str:
        """``one_hot`` (rows of active features), ``tokens`` (rows of tokens) or ``dense`` (rows of numbers)."""
        return "one_hot"

    @property
    @abstractmethod
    def features(self) -> int:
        """The width of the one-hot or dense input, or the size of the vocabulary."""

    @property
    @abstractmethod
    def active_features(self) -> int:
        """The length of a row: its active features, its tokens, or :attr:`features` where it is dense."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """The number of labels."""

    @property
    @abstractmethod
    def train_rows(self) -> int:
        """The number of training rows, the same for every seed."""

    @property
    @abstractmethod
    def test_rows(self) -> int:
        """The number of test rows, the same for every seed."""

    @abstractmethod
    def split(self, seeds: Seeds) -> Split:
        """The rows of a trial: which ones by ``seeds.split``, their order in the batch by ``seeds.order``."""

    def fingerprint(self, seeds: Seeds) -> str:
        """A digest of exactly the rows of :meth:`split`."""
        return _fingerprint(self, seeds)


@lru_cache(maxsize=4096)  # a plan asks for each trial's, and the arms share their splits
def _fingerprint(task: Task, seeds: Seeds) -> str:
    split = task.split(seeds)
    content = hashlib.sha256()
    for rows in (split.train_inputs, split.train_labels, split.test_inputs, split.test_labels):
        content.update(repr(rows.shape).encode() + np.ascontiguousarray(rows, dtype="<i8").tobytes())
    return content.hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class ModularArithmetic(Task):
    """All pairs (a, b) with a, b < p, as two one-hot vectors side by side (Prieto et al. 2025, Sec. 2.1).

    The released code leaves out 0 in its transformer runs; here all p² pairs are used.
    """

    p: int = option(113, at_least=2, at_most=2039)
    train_fraction: float = option(0.4, above=0.0, below=1.0)
    """The fraction of all p² pairs that is for training; the rest is for testing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.train_rows < self.p**2:
            raise ConfigError(
                f"{type(self).__name__}.train_fraction = {self.train_fraction}: leaves no row for training or for "
                f"testing; with p = {self.p} it must be between {1 / self.p**2:.2g} and {1 - 1 / self.p**2:.6g}"
            )

    @abstractmethod
    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The label of each pair before it is taken mod p."""

    @property
    def features(self) -> int:
        return 2 * self.p

    @property
    def active_features(self) -> int:
        return 2

    @property
    def classes(self) -> int:
        return self.p

    @property
    def train_rows(self) -> int:
        return math.floor(self.train_fraction * self.p**2 + 1e-9)

    @property
    def test_rows(self) -> int:
        return self.p**2 - self.train_rows

    def split(self, seeds: Seeds) -> Split:
        chosen = permutation(seeds.split, SPLIT_STREAM, self.p**2)
        a, b = np.divmod(chosen, self.p)
        inputs = np.stack([a, b + self.p], axis=1)
        labels = self.result(a, b) % self.p
        order = permutation(seeds.order, ORDER_STREAM, self.train_rows)
        train, test = slice(0, self.train_rows), slice(self.train_rows, None)
        return Split(inputs[train][order], labels[train][order], inputs[test], labels[test])


@dataclass(frozen=True, kw_only=True)
class ModularAddition(ModularArithmetic):
    """a + b mod p."""

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b


@dataclass(frozen=True, kw_only=True)
class ModularSubtraction(ModularArithmetic):
    """a - b mod p."""

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b


@dataclass(frozen=True, kw_only=True)
class ModularMultiplication(ModularArithmetic):
    """a * b mod p."""

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b
