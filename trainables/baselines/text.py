"""Corpora, and the blocks of tokens on which a language model trains."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.baselines.batches import Batch, BatchOrder
from trainables.data.sets import Text, text_from, wikitext2, wikitext103
from trainables.engine.config import Config, ConfigError, option


@dataclass(frozen=True, kw_only=True)
class TextSet(Config):
    """Base of the corpora."""

    train_tokens: int | None = option(None, at_least=2)
    """Train on this many tokens from the beginning of the training text; None: on all.

    A trained vocabulary still comes from the whole text."""

    @abstractmethod
    def texts(self) -> tuple[Text, Text]:
        """Open the training text and the test text.

        :raises DataMissingError: when one is missing or unreadable.
        """


@dataclass(frozen=True, kw_only=True)
class WikiText2(TextSet):
    """WikiText-2 (Merity et al. 2017): 2 million words, tested on its test split."""

    def texts(self) -> tuple[Text, Text]:
        return wikitext2()


@dataclass(frozen=True, kw_only=True)
class WikiText103(TextSet):
    """WikiText-103 (Merity et al. 2017): 103 million words, tested on its test split, which equals WikiText-2's."""

    def texts(self) -> tuple[Text, Text]:
        return wikitext103()


@dataclass(frozen=True, kw_only=True)
class TextFiles(TextSet):
    """Any text: for each split the address of Parquet files with a column ``text``, or of plain UTF-8 text."""

    train: str = option(example="train.txt")
    test: str = option(example="test.txt")

    def texts(self) -> tuple[Text, Text]:
        return text_from(self.train, self.test)


class TokenBlocks:
    """Two token streams on a device, cut into blocks; implements :class:`trainables.baselines.batches.Batches`.

    The label of a token is the next token.  Blocks do not overlap, except that the last label of one is the first token
    of the next; an incomplete block at the end of a stream is dropped.
    """

    def __init__(
        self, train: np.ndarray, test: np.ndarray, *, block_size: int, batch_size: int, seed: int, device: str
    ) -> None:
        """
        :param train, test: tokens, shape (tokens,), of any integer dtype.
        :raises ConfigError: when a stream is shorter than a block, or the training stream shorter than a batch.
        """
        self._blocks = {
            split: _blocks(split, tokens, block_size).to(device) for split, tokens in (("train", train), ("test", test))
        }
        self.order = BatchOrder(rows=block_count(len(train), block_size), batch_size=batch_size, seed=seed)

    def train(self, step: int, low: int, high: int) -> Batch:
        """Return blocks ``[low, high)`` of the batch of a step: tokens and labels (B, T), int64."""
        blocks = self._blocks["train"]
        numbers = torch.from_numpy(self.order.numbers(step)[low:high]).to(blocks.device, non_blocking=True)
        return _batch(blocks[numbers])

    def measured(self, split: str, rows: int | None, at_once: int) -> Iterator[Batch]:
        """Iterate over the first blocks of a split, in the order of the text."""
        for blocks in self._blocks[split][:rows].split(at_once):
            yield _batch(blocks)


def block_count(tokens: int, block_size: int) -> int:
    """Return the number of blocks of a stream, whose last token has no label."""
    return (tokens - 1) // block_size


def _blocks(split: str, tokens: np.ndarray, block_size: int) -> Tensor:
    """View the stream as overlapping blocks: (blocks, block_size + 1), int32."""
    if not block_count(len(tokens), block_size):
        raise ConfigError(
            f"block_size = {block_size}: must be below {len(tokens)}, the number of tokens in the {split} text"
        )
    return torch.from_numpy(tokens.astype(np.int32)).unfold(0, block_size + 1, block_size)


def _batch(blocks: Tensor) -> Batch:
    wide = blocks.long()
    return Batch(inputs=wide[:, :-1], labels=wide[:, 1:])
