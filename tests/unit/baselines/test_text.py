"""Corpora and their blocks: labels are the next tokens, every token once an epoch, the same rows however sliced."""

import numpy as np
import pytest
import torch

from trainables.baselines.text import TextFiles, TokenBlocks
from trainables.engine.config import ConfigError

TRAIN, TEST = np.arange(1000, 1103, dtype=np.uint16), np.arange(50, dtype=np.uint8)


def blocks(**changes) -> TokenBlocks:
    settings = {"block_size": 10, "batch_size": 4, "seed": 0, "device": "cpu"}
    return TokenBlocks(TRAIN, TEST, **(settings | changes))


def test_labels_and_epochs():
    data = blocks()
    assert data.order.steps_per_epoch == 3
    epochs = []
    for first in (0, 3):
        batches = [data.train(step, 0, len(data.order.numbers(step))) for step in range(first, first + 3)]
        assert [batch.inputs.shape for batch in batches] == [(4, 10), (4, 10), (2, 10)]
        for batch in batches:
            assert batch.inputs.dtype == batch.labels.dtype == torch.int64
            assert torch.equal(batch.labels, batch.inputs + 1)
        epochs.append(torch.cat([batch.inputs for batch in batches])[:, 0].tolist())
    starts = list(range(1000, 1100, 10))
    assert sorted(epochs[0]) == sorted(epochs[1]) == starts
    assert len({tuple(epoch) for epoch in (*epochs, starts)}) == 3


def test_rows_do_not_depend_on_slices():
    whole = blocks().train(7, 0, 4)
    parts = [blocks().train(7, low, low + 2) for low in (0, 2)]
    assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))


def test_measured_rows():
    train = list(blocks().measured("train", 5, 2))
    assert [len(batch.inputs) for batch in train] == [2, 2, 1]
    assert torch.cat([batch.inputs for batch in train]).flatten().tolist() == list(range(1000, 1050))
    (test,) = blocks().measured("test", None, 100)
    assert test.inputs.flatten().tolist() == list(range(40))  # 50 tokens are 4 blocks whose last token has a label
    assert torch.equal(test.labels, test.inputs + 1)


@pytest.mark.parametrize(("tokens", "count"), [(11, 1), (20, 1), (21, 2)])
def test_block_count(tokens, count):
    data = TokenBlocks(TRAIN[:tokens], TEST, block_size=10, batch_size=1, seed=0, device="cpu")
    assert data.order.rows == count


def test_short_text_fails_in_one_line():
    with pytest.raises(
        ConfigError, match=r"^block_size = 50: must be below 50, the number of tokens in the test text$"
    ):
        blocks(block_size=50)
    with pytest.raises(ConfigError, match=r"^batch_size = 11: must be at most 10, the rows of an epoch$"):
        blocks(batch_size=11)


def test_text_files(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name} – text\n", encoding="utf-8")
    train, test = TextFiles(train=str(tmp_path / "train.txt"), test=str(tmp_path / "test.txt")).texts()
    assert (train.text, test.text) == ("train – text\n", "test – text\n")
    assert train.digest != test.digest
