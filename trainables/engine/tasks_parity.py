"""Sparse parity: a few bits decide the label; the others are noise that makes the rows easy to memorise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainables.engine.config import ConfigError, option
from trainables.engine.randomness import ORDER_STREAM, ROWS_STREAM, permutation, random_bits
from trainables.engine.tasks import FractionTask, Split
from trainables.engine.trial import Seeds

FEW_BITS = 16
"""Up to this many bits, list all words and shuffle them; above it, randomly drawn words rarely repeat."""


@dataclass(frozen=True, kw_only=True)
class SparseParity(FractionTask):
    """The parity of the first ``relevant`` of ``bits`` random bits (Barak et al. 2022; Prieto et al. 2025, Sec. 2.1).

    As in the released code, the inputs are 0 and 1 (Barak et al. use ±1), the rows are distinct, and the relevant bits
    come first: a network whose initial weights favour no input cannot tell this from any other choice.  The rows
    themselves are drawn from ``seeds.split``.  Chance level is an accuracy of one half.
    """

    input_kind: ClassVar[str] = "dense"
    classes: ClassVar[int] = 2

    bits: int = option(43, at_least=1, at_most=64, example=10)
    relevant: int = option(3, at_least=1)
    rows: int = option(2000, at_least=2, at_most=50_000, example=100)
    """Training and test rows together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relevant > self.bits:
            raise ConfigError(f"SparseParity.relevant = {self.relevant}: must be at most bits = {self.bits}")
        if self.rows > 2**self.bits:
            raise ConfigError(f"SparseParity.rows = {self.rows}: must be at most 2**bits = {2**self.bits}")

    @property
    def features(self) -> int:
        return self.bits

    @property
    def total_rows(self) -> int:
        return self.rows

    def split(self, seeds: Seeds) -> Split:
        bits = (self._words(seeds.split)[:, None] >> np.arange(self.bits, dtype=np.uint64)) & np.uint64(1)
        inputs, labels = bits.astype(np.float32), bits[:, : self.relevant].sum(1).astype(np.int64) % 2
        order = permutation(seeds.order, ORDER_STREAM, self.train_rows)
        train, test = slice(0, self.train_rows), slice(self.train_rows, None)
        return Split(inputs[train][order], labels[train][order], inputs[test], labels[test])

    def _words(self, seed: int) -> np.ndarray:
        """Return distinct words of ``bits`` bits, one per row, in random order; uint64."""
        if self.bits <= FEW_BITS:
            return permutation(seed, ROWS_STREAM, 2**self.bits)[: self.rows].astype(np.uint64)
        # Draw twice as many words as rows: even 100 000 draws from 2**17 words give some 70 000 distinct ones.
        words = random_bits(seed, ROWS_STREAM, 2 * self.rows) >> np.uint64(64 - self.bits)
        _, first = np.unique(words, return_index=True)
        return words[np.sort(first)[: self.rows]]
