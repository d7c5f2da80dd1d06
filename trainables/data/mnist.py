"""MNIST with so few training rows that it groks (Liu et al. 2023b; Prieto et al. 2025, Fig. 14).

Not part of the engine, because its rows come from disk.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainables.data.sets import Images, mnist
from trainables.engine.config import ConfigError, digest, option
from trainables.engine.randomness import ORDER_STREAM, ROWS_STREAM, SPLIT_STREAM, permutation
from trainables.engine.tasks import Split, Task
from trainables.engine.trial import Seeds

PIXELS, CLASSES = 28 * 28, 10


@dataclass(frozen=True, kw_only=True)
class MNISTSubset(Task):
    """A few rows of MNIST's training set, and rows of its test set (all by default), as pixels in [0, 1].

    ``seeds.split`` draws both.  (The released code takes the first 200 of each, and cannot train on them; the paper
    tests on all 10 000.)  Rows: 784 pixels, dense.
    """

    input_kind: ClassVar[str] = "dense"
    features: ClassVar[int] = PIXELS
    classes: ClassVar[int] = CLASSES

    train_rows: int = option(200, at_least=1, at_most=60_000, example=20)
    test_rows: int = option(10_000, at_least=1, at_most=10_000, example=10)

    def split(self, seeds: Seeds) -> Split:
        train, test, train_chosen, test_chosen = self._chosen(seeds)
        return Split(*_rows(train, train_chosen), *_rows(test, test_chosen))

    def fingerprint(self, seeds: Seeds) -> str:
        """Digest the whole set, once a process, and the numbers of the rows in order."""
        train, test, train_chosen, test_chosen = self._chosen(seeds)
        return digest([train.digest, test.digest, train_chosen.tolist(), test_chosen.tolist()])

    def _chosen(self, seeds: Seeds) -> tuple[Images, Images, np.ndarray, np.ndarray]:
        """Return both halves, and the numbers of the rows taken from each, in order."""
        train, test = mnist()
        for name, count, half in (("train_rows", self.train_rows, train), ("test_rows", self.test_rows, test)):
            if count > len(half.labels):
                raise ConfigError(
                    f"MNISTSubset.{name} = {count}: must be at most {len(half.labels)}, the rows of that half"
                )
        train_chosen = permutation(seeds.split, SPLIT_STREAM, len(train.labels))[: self.train_rows]
        test_chosen = permutation(seeds.split, ROWS_STREAM, len(test.labels))[: self.test_rows]
        return train, test, train_chosen[permutation(seeds.order, ORDER_STREAM, self.train_rows)], test_chosen


def _rows(half: Images, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs in [0, 1], float32 (rows, pixels), and labels."""
    return half.pixels[chosen].reshape(len(chosen), PIXELS).astype(np.float32) / np.float32(255), half.labels[chosen]
