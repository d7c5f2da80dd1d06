"""The language trial: it learns, goes on bit for bit from the middle of an epoch, and accumulates to the same step."""

import math
import os

import numpy as np
import pytest
import torch

from trainables.baselines.gpt2 import GPT2
from trainables.baselines.language import LanguageTrial
from trainables.baselines.text import TextFiles, WikiText2
from trainables.data.tokenizers import Bytes, TrainedBPE
from trainables.engine.config import ConfigError, from_json
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.schedules import Cosine
from trainables.engine.trial import EverySteps, Seeds

SENTENCES = ["the cat sat on the mat . ", "a dog ran to the door . ", "one bird flew over us . "]
SMALL = GPT2(layers=2, heads=2, width=16)


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch) -> TextFiles:
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    chance = np.random.default_rng(0)
    for name, count in (("train", 300), ("test", 40)):
        lines = "".join(SENTENCES[number] for number in chance.integers(3, size=count))
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    return TextFiles(train=str(tmp_path / "train.txt"), test=str(tmp_path / "test.txt"))


def trial(corpus: TextFiles, **changes) -> LanguageTrial:
    settings = {
        "text": corpus,
        "tokenizer": Bytes(),
        "model": SMALL,
        "block_size": 24,
        "batch_size": 8,
        "horizon_steps": 100,
        "measured_train_rows": 16,
        "measuring": EverySteps(every_steps=50),
    }
    return LanguageTrial(**(settings | changes))


def weights(cohort) -> torch.Tensor:
    return torch.cat([value.flatten() for value in cohort.state_dict(0)["parameters"].values()])


def test_defaults_are_the_papers(corpus):
    made = LanguageTrial(text=corpus, tokenizer=Bytes(), horizon_steps=1)
    assert (made.batch_size, made.block_size) == (16, 512)
    assert (made.optimizer.learning_rate, made.optimizer.weight_decay) == (5e-4, 0.01)
    assert made.model == GPT2(layers=12, heads=12, width=768, dropout=0.1, attention="softmax")


def test_an_address_with_a_password_is_refused(corpus):
    """The ledger, MLflow and the tables would show it."""
    with pytest.raises(ConfigError, match=r"^TextFiles.test = 's3://bucket/x': must be without user and password"):
        trial(TextFiles(train=corpus.train, test="s3://KEY:secret@bucket/x?region=eu"))
    trial(TextFiles(train=corpus.train, test="s3://bucket/user@host/x?region=eu&scheme=http"))


def test_json_round_trip_and_identity(corpus):
    base = trial(corpus)
    assert from_json(base.to_json()) == base
    for change in ({"activation_checkpointing": True}, {"measured_train_rows": 3}):
        assert base.replace(**change).trial_id == base.trial_id, change
    others = [
        base,
        base.replace(tokenizer=TrainedBPE()),
        base.replace(block_size=32),
        base.replace(text=corpus.replace(train_tokens=500)),
        base.replace(model=SMALL.replace(attention="stablemax")),
    ]
    assert len({other.trial_id for other in others}) == len(others)


@pytest.mark.parametrize(
    ("loss", "attention"),
    [(SoftmaxCrossEntropy(), "softmax"), (StableMaxCrossEntropy(), "softmax"), (StableMaxCrossEntropy(), "stablemax")],
    ids=["softmax", "stablemax loss", "stablemax loss and attention"],
)
def test_learning(corpus, loss, attention):
    config = trial(
        corpus,
        tokenizer=TrainedBPE(vocabulary=300),
        loss=loss,
        model=SMALL.replace(attention=attention, width=32),
        optimizer=LanguageTrial.optimizer.replace(learning_rate=0.01),
    )
    cohort = config.build([config])
    start = cohort.measure()
    cohort.advance(100)
    end = cohort.measure()
    assert start["test_perplexity"][0] > 250  # near uniform over 300 tokens
    assert start["test_accuracy"][0] < 0.2
    assert end["test_accuracy"][0] > 0.5
    assert end["test_top5_accuracy"][0] > 0.95
    assert end["test_perplexity"][0] == pytest.approx(math.exp(end["test_loss"][0]))
    assert end["test_logit_scale"][0] > start["test_logit_scale"][0]
    assert set(end) == set(config.columns({name: value.shape for name, value in cohort.snapshot(0).items()}))


def test_resume_within_an_epoch_bit_for_bit(corpus):
    config = trial(corpus, schedule=Cosine(total_steps=40, warmup_steps=5), gradient=OrthogonalGradient())
    whole, restored = (config.build([config]) for _ in range(2))
    assert config.steps_per_epoch() > 20
    whole.advance(10)
    restored.load_state_dict([whole.state_dict(0)])
    for cohort in (whole, restored):
        cohort.advance(10)
    assert torch.equal(weights(whole), weights(restored))


def test_micro_batches_give_the_same_step(corpus):
    quiet = trial(corpus, model=SMALL.replace(dropout=0.0))
    found = []
    for changes in ({}, {"micro_batch_size": 3}, {"activation_checkpointing": True}):
        config = quiet.replace(**changes)
        cohort = config.build([config])
        cohort.advance(3)
        found.append(weights(cohort))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert torch.equal(found[2], found[0])


def test_activation_checkpointing_bits_with_dropout(corpus):
    found = []
    for checkpointing in (False, True):
        config = trial(corpus, activation_checkpointing=checkpointing)
        cohort = config.build([config])
        cohort.advance(3)
        found.append(weights(cohort))
    assert torch.equal(*found)


def test_seeds(corpus):
    paths = []
    for seeds in (Seeds(), Seeds(init=1), Seeds(order=1)):
        config = trial(corpus, seeds=seeds)
        cohort = config.build([config])
        start = weights(cohort)
        cohort.advance(1)
        paths.append((start, weights(cohort)))
    assert torch.equal(paths[0][0], paths[2][0])
    assert not torch.equal(paths[0][0], paths[1][0])
    assert not torch.equal(paths[0][1], paths[2][1])


def test_steps_per_epoch_and_flops(corpus):
    short = trial(corpus, text=corpus.replace(train_tokens=24 * 20 + 1), tokenizer=TrainedBPE(vocabulary=270))
    assert short.steps_per_epoch() == 3
    assert short.batches("cpu").order.steps_per_epoch == 3
    assert short.flops_per_step() == SMALL.flops_per_token(270, 24) * 24 * 8
    again = short.replace(activation_checkpointing=True)
    assert again.flops_per_step() == pytest.approx(4 / 3 * short.flops_per_step())


def test_short_training_text_fails_in_one_line(corpus):
    config = trial(corpus, text=corpus.replace(train_tokens=10**6))
    with pytest.raises(
        ConfigError, match=r"^TextFiles\.train_tokens = 1000000: must be at most \d+, the training tokens$"
    ):
        config.steps_per_epoch()


def test_fingerprint(corpus, tmp_path):
    base = trial(corpus)
    same = base.data_fingerprint()
    (tmp_path / "copy.txt").write_bytes((tmp_path / "train.txt").read_bytes())
    (tmp_path / "other.txt").write_text("another text\n")
    assert base.replace(text=corpus.replace(train=str(tmp_path / "copy.txt"))).data_fingerprint() == same
    assert base.replace(text=corpus.replace(test=str(tmp_path / "other.txt"))).data_fingerprint() != same
    assert base.replace(tokenizer=TrainedBPE()).data_fingerprint() != same


@pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("GROKSCAPE_DATA", ""), "wikitext-2")),
    reason="GROKSCAPE_DATA has no wikitext-2",
)
def test_wikitext2():
    config = LanguageTrial(
        text=WikiText2(train_tokens=20_000),
        tokenizer=Bytes(),
        model=SMALL,
        block_size=32,
        batch_size=4,
        horizon_steps=2,
        test_rows=8,
        measured_train_rows=8,
    )
    assert config.steps_per_epoch() == 156
    cohort = config.build([config])
    cohort.advance(2)
    assert cohort.finite().all()
    assert cohort.measure()["epoch"][0] == pytest.approx(2 / 156)
