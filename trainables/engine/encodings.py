"""Encodings: how a pair of numbers below p becomes one row of a model's input.

The encoding decides how easily the pairs are memorised, and so whether there is any delay to study
(Prieto et al. 2025, Sec. 4.1, Fig. 4 right).
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.randomness import ENCODING_STREAM, permutation


@dataclass(frozen=True, kw_only=True)
class Encoding(Config):
    """Base of the encodings of a pair (a, b)."""

    input_kind: ClassVar[str]
    """``one_hot``, ``tokens`` or ``dense``: see :attr:`trainables.engine.tasks.Task.input_kind`."""

    @abstractmethod
    def features(self, p: int) -> int:
        """The width of the one-hot or dense input, or the size of the vocabulary."""

    def active_features(self, p: int) -> int:
        """The length of a row: two, one entry for each number, unless a subclass overrides it."""
        return 2

    @abstractmethod
    def rows(self, a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
        """Return the rows of the pairs (a, b), in order: shape (pairs, active features)."""

    def check(self, p: int) -> None:
        """Refuse a p whose numbers this encoding cannot tell apart; by default, accept every p.

        :raises ConfigError: with the allowed values.
        """
        return


@dataclass(frozen=True, kw_only=True)
class OneHot(Encoding):
    """Two one-hot vectors of length p, concatenated and stored as the indices of their ones: a and p + b."""

    input_kind: ClassVar[str] = "one_hot"

    def features(self, p: int) -> int:
        return 2 * p

    def rows(self, a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
        return np.stack([a, b + p], axis=1)


@dataclass(frozen=True, kw_only=True)
class Tokens(Encoding):
    """The two tokens (a, b), in this order, from one vocabulary of size p, without an "=" token: for transformers."""

    input_kind: ClassVar[str] = "tokens"

    def features(self, p: int) -> int:
        return p

    def rows(self, a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
        return np.stack([a, b], axis=1)


@dataclass(frozen=True, kw_only=True)
class DenseEncoding(Encoding):
    """Base of the encodings that map each number to a vector; a pair is the two vectors concatenated, float32."""

    input_kind: ClassVar[str] = "dense"

    @abstractmethod
    def codes(self, p: int) -> np.ndarray:
        """Return the vector of each number below p: shape (p, width)."""

    def features(self, p: int) -> int:
        return 2 * self.codes(p).shape[1]

    def active_features(self, p: int) -> int:
        return self.features(p)

    def rows(self, a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
        codes = self.codes(p).astype(np.float32)
        return np.concatenate([codes[a], codes[b]], axis=1)


@dataclass(frozen=True, kw_only=True)
class Binary(DenseEncoding):
    """Each number in binary, most significant bit first, as 0 and 1: 7 bits per number at p = 113 (released code)."""

    def codes(self, p: int) -> np.ndarray:
        return _binary(np.arange(p), (p - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class RandomBinary(DenseEncoding):
    """A distinct random bit string for each number: "dimension 14" in the paper's text (Sec. 4.1).

    The bit strings depend only on the two fields below and on p, so every trial uses the same code.  (The released
    code shuffles the 7-bit numbers below p instead.)
    """

    bits: int = option(14, at_least=1, at_most=20)
    """Bits per number; at least log2 p."""
    seed: int = option(0, at_least=0)

    def codes(self, p: int) -> np.ndarray:
        return _binary(permutation(self.seed, ENCODING_STREAM, 2**self.bits)[:p], self.bits)

    def check(self, p: int) -> None:
        if 2**self.bits < p:
            raise ConfigError(
                f"RandomBinary.bits = {self.bits}: gives {2**self.bits} bit strings, fewer than p = {p}; "
                f"must be at least {(p - 1).bit_length()}"
            )


@dataclass(frozen=True, kw_only=True)
class Scalar(DenseEncoding):
    """Each number as one standardised real number: (a - mean) / std over 0, ..., p - 1.

    The paper does not say how it scales the numbers; zero mean and unit variance suit the layers' initial values.
    """

    def codes(self, p: int) -> np.ndarray:
        numbers = np.arange(p, dtype=np.float64)
        return ((numbers - numbers.mean()) / numbers.std())[:, None]


def _binary(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Return the lowest ``bits`` bits of each number, most significant first: shape (numbers, bits)."""
    return numbers[:, None] >> np.arange(bits - 1, -1, -1) & 1
