"""Tasks: the rows of a data set, their labels, and the split into training and test rows.

A task is configuration and builder in one class.  Its rows do not depend on the device, the number of workers or
library versions: permutations are drawn from the raw bits of a counter-based generator.
"""

import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.encodings import Encoding, OneHot
from trainables.engine.randomness import (
    CORRUPTION_STREAM,
    ORDER_STREAM,
    SPLIT_STREAM,
    permutation,
    random_bits,
)
from trainables.engine.trial import Seeds


@dataclass(frozen=True)
class Split:
    """The rows of one trial."""

    train_inputs: np.ndarray
    """(train rows, active features).  Depending on the task's ``input_kind``: the indices of the ones in a one-hot row,
    int64 in ``[0, features)``; tokens, int64 in ``[0, features)``; or the dense row itself, float32."""
    train_labels: np.ndarray
    """(train rows,), int64."""
    test_inputs: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Task(Config):
    """Base of the tasks."""

    @property
    def input_kind(self) -> str:
        """``one_hot`` (rows of active features), ``tokens`` (rows of tokens) or ``dense`` (rows of real numbers)."""
        return "one_hot"

    @property
    @abstractmethod
    def features(self) -> int:
        """The width of the one-hot or dense input, or the size of the vocabulary."""

    @property
    def active_features(self) -> int:
        """The length of a row: the number of active features, of tokens, or :attr:`features` for dense rows."""
        return self.features

    @property
    @abstractmethod
    def classes(self) -> int:
        """The number of classes."""

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
        """Return the rows of a trial: ``seeds.split`` chooses them, ``seeds.order`` orders them in the batch."""

    def fingerprint(self, seeds: Seeds) -> str:
        """Return a digest of exactly the rows of :meth:`split`."""
        return _fingerprint(self, seeds)


@lru_cache(maxsize=4096)  # A plan asks for every trial's fingerprint, and arms share splits.
def _fingerprint(task: Task, seeds: Seeds) -> str:
    split = task.split(seeds)
    content = hashlib.sha256()
    for rows in (split.train_inputs, split.train_labels, split.test_inputs, split.test_labels):
        stored = "<f4" if rows.dtype == np.float32 else "<i8"
        content.update(repr(rows.shape).encode() + np.ascontiguousarray(rows, dtype=stored).tobytes())
    return content.hexdigest()[:20]


def with_wrong_labels(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """Return a copy of ``labels`` (in the order of the split) with ``floor(share * rows)`` moved to another class.

    The rows and their new classes are drawn from the split's seed.  A larger share corrupts the same rows in the same
    way, plus further rows.
    """
    count = math.floor(share * len(labels) + 1e-9)
    order_bits, shift_bits = np.split(random_bits(seed, CORRUPTION_STREAM, 2 * len(labels)), 2)
    chosen = np.argsort(order_bits, kind="stable")[:count]
    shift = 1 + (shift_bits[:count] % np.uint64(classes - 1)).astype(np.int64)
    wrong = labels.copy()
    wrong[chosen] = (labels[chosen] + shift) % classes
    return wrong


@dataclass(frozen=True, kw_only=True)
class FractionTask(Task):
    """Base of the tasks that train on a fraction of their rows and test on the rest."""

    train_fraction: float = option(0.5, above=0.0, below=1.0)
    """The fraction of all rows used for training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.train_rows < self.total_rows:
            raise ConfigError(
                f"{type(self).__name__}.train_fraction = {self.train_fraction}: leaves no training or no test row; "
                f"with {self.total_rows} rows it must be between {1 / self.total_rows:.2g} and "
                f"{1 - 1 / self.total_rows:.6g}"
            )

    @property
    @abstractmethod
    def total_rows(self) -> int:
        """The number of training and test rows together."""

    @property
    def train_rows(self) -> int:
        return math.floor(self.train_fraction * self.total_rows + 1e-9)

    @property
    def test_rows(self) -> int:
        return self.total_rows - self.train_rows


@dataclass(frozen=True, kw_only=True)
class ModularArithmetic(FractionTask):
    """All pairs (a, b) with a, b < p, by default as two concatenated one-hot vectors (Prieto et al. 2025, Sec. 2.1).

    The released code leaves out 0 in its transformer runs; we use all p² pairs.
    """

    p: int = option(113, at_least=2, at_most=2039, example=7)
    train_fraction: float = option(0.4, above=0.0, below=1.0, example=0.6)
    """The fraction of all pairs used for training; the rest is for testing."""
    inputs: Encoding = option(OneHot())
    """The encoding of a pair as the model's input."""
    label_corruption: float = option(0.0, at_least=0.0, at_most=1.0, per_trial=True)
    """The share of training rows whose label is replaced by another class; test labels stay true."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs.check(self.p)

    @abstractmethod
    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the label of each pair before reduction mod p."""

    @property
    def total_rows(self) -> int:
        return self.p**2

    def pair(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (a, b) for each index in ``range(total_rows)``."""
        a, b = np.divmod(numbers, self.p)
        return a, b

    @property
    def input_kind(self) -> str:
        return self.inputs.input_kind

    @property
    def features(self) -> int:
        return self.inputs.features(self.p)

    @property
    def active_features(self) -> int:
        return self.inputs.active_features(self.p)

    @property
    def classes(self) -> int:
        return self.p

    def split(self, seeds: Seeds) -> Split:
        a, b = self.pair(permutation(seeds.split, SPLIT_STREAM, self.total_rows))
        inputs, labels = self.inputs.rows(a, b, self.p), self.result(a, b) % self.p
        train, test = slice(0, self.train_rows), slice(self.train_rows, None)
        train_labels = with_wrong_labels(labels[train], self.label_corruption, self.classes, seeds.split)
        order = permutation(seeds.order, ORDER_STREAM, self.train_rows)
        return Split(inputs[train][order], train_labels[order], inputs[test], labels[test])


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


@dataclass(frozen=True, kw_only=True)
class ModularSumOfSquares(ModularArithmetic):
    """a² + b² mod p."""

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a**2 + b**2


@dataclass(frozen=True, kw_only=True)
class ModularDivision(ModularArithmetic):
    """a / b mod p: the c with b * c = a, for prime p and b != 0; p (p - 1) pairs (Power et al. 2022, Sec. A.1.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        divisor = next((number for number in range(2, math.isqrt(self.p) + 1) if self.p % number == 0), None)
        if divisor is not None:
            raise ConfigError(
                f"ModularDivision.p = {self.p}: is {divisor} * {self.p // divisor}; "
                "must be prime, so that every b has an inverse"
            )

    @property
    def total_rows(self) -> int:
        return self.p * (self.p - 1)

    def pair(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = np.divmod(numbers, self.p - 1)
        return a, b + 1

    def result(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inverses = np.array([0] + [pow(number, -1, self.p) for number in range(1, self.p)])
        return a * inverses[b]
