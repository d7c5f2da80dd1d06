"""The language trial: a corpus, a tokenizer, and a model that learns to predict the next token."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from trainables.baselines.batches import BatchOrder
from trainables.baselines.gpt2 import GPT2, LanguageModel
from trainables.baselines.text import TextSet, TokenBlocks, WikiText2, block_count
from trainables.baselines.trial import BatchTrial
from trainables.data.tokenizers import Bytes, Tokenizer
from trainables.engine.config import ConfigError, digest, option
from trainables.engine.optimizers import AdamW, Optimizer
from trainables.engine.probes import STANDARD, Probe
from trainables.engine.probes_scale import LogitScale, Perplexity, TopAccuracy


@dataclass(frozen=True, kw_only=True)
class LanguageTrial(BatchTrial):
    """Next-token prediction in blocks of text (Prieto et al. 2025, Fig. 17, with its settings as the defaults).

    A row of a batch is a block of ``block_size`` tokens; each of its tokens is a row of the loss and of the measured
    fractions.  Choose ``horizon_steps`` and ``Cosine.total_steps`` by :meth:`steps_per_epoch`; the column ``epoch``
    reports the epochs actually made.
    """

    text: TextSet = option(example=WikiText2())
    tokenizer: Tokenizer = option(example=Bytes())
    model: LanguageModel = option(GPT2())
    block_size: int = option(512, at_least=1)
    """The length of a block, in tokens."""
    batch_size: int = option(16, at_least=1)
    optimizer: Optimizer = option(AdamW(learning_rate=5e-4, weight_decay=0.01))
    activation_checkpointing: bool = option(False, execution=True)
    """Whether to recompute activations in the backward pass: less memory, a third more work, the same bits."""
    measured_train_rows: int = option(64, at_least=1, protocol=True)
    """How many blocks of the training text, from its beginning, a measurement evaluates."""
    probes: tuple[Probe, ...] = option((*STANDARD, TopAccuracy(k=5), Perplexity(), LogitScale()), protocol=True)

    def network(self) -> nn.Module:
        return self.model.network(
            self.tokenizer.vocabulary,
            self.block_size,
            self.seeds.init,
            activation_checkpointing=self.activation_checkpointing,
        )

    def batches(self, device: str) -> TokenBlocks:
        train, test = self._streams()
        return TokenBlocks(
            train,
            test,
            block_size=self.block_size,
            batch_size=self.batch_size,
            seed=self.seeds.order,
            device=device,
        )

    def steps_per_epoch(self) -> int:
        """Return the number of updates that see every training block once.

        :raises ConfigError: when the text is missing or too short.
        """
        blocks = block_count(len(self._streams()[0]), self.block_size)
        return BatchOrder(rows=blocks, batch_size=self.batch_size, seed=0).steps_per_epoch

    def flops_per_step(self) -> float:
        """Count forward and backward pass over a batch, plus a forward pass with activation checkpointing."""
        passes = 4 / 3 if self.activation_checkpointing else 1.0
        per_token = self.model.flops_per_token(self.tokenizer.vocabulary, self.block_size)
        return passes * per_token * self.block_size * self.batch_size

    def data_fingerprint(self) -> str:
        """Return a digest of both texts and of the tokenizer."""
        train, test = self.text.texts()
        return digest([train.digest, test.digest, self.tokenizer.fingerprint()])

    def _streams(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training and the test tokens."""
        train, test = self.text.texts()
        tokens, limit = self.tokenizer.tokens(train, train), self.text.train_tokens
        if limit is not None and limit > len(tokens):
            raise ConfigError(
                f"{type(self.text).__name__}.train_tokens = {limit}: must be at most {len(tokens)}, the training tokens"
            )
        return tokens[:limit], self.tokenizer.tokens(test, train)
