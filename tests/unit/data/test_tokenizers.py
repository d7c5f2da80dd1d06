"""Tokenizers: round trips, the same tokens anywhere, the cache, and Hugging Face's own GPT-2 pipeline as the judge."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library

from trainables.data import tokenizers
from trainables.data.sets import DataMissingError, Text
from trainables.data.tokenizers import GPT2BPE, Bytes, Tokenizer, TrainedBPE, split_between_words
from trainables.engine.config import ConfigError

ODD = (
    "Ünïcödé – naïve  🦔\U0001f468‍👩‍👧 \t\n \n\n = Σχήμα = \n"
    " 漢字かな  don't won't 1234 <unk> \x00\x7f\u2028 @-@ <|endoftext|> "
)


def text_of(content: str) -> Text:
    return Text(content, hashlib.sha256(content.encode()).hexdigest()[:20])


WORDS = [f"{stem}{end}" for stem in ("walk", "talk", "play", "jump") for end in ("", "s", "ed", "ing")]
TRAINING = text_of("".join(f" the {WORDS[7 * n % 16]} and {WORDS[n % 16]} , {n % 10} times \n" for n in range(400)))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GROKSCAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gpt2_files(tmp_path, monkeypatch) -> Path:
    """A vocabulary of GPT-2's layout and size: real merges, and tokens that never occur."""
    folder = tmp_path / "data" / "gpt2"
    folder.mkdir(parents=True)
    monkeypatch.setenv("GROKSCAPE_DATA", str(folder.parent))
    trained = library.ByteLevelBPETokenizer()
    trained.train_from_iterator([TRAINING.text], vocab_size=300, show_progress=False)
    trained.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocabulary |= {f"<never {number}>": number for number in range(len(vocabulary), 50257)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


@pytest.mark.usefixtures("gpt2_files")
@pytest.mark.parametrize("tokenizer", [Bytes(), TrainedBPE(vocabulary=300), GPT2BPE()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("content", [ODD, TRAINING.text, " ", "\n"], ids=["odd", "training", "space", "newline"])
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, content):
    codec = tokenizer.codec(TRAINING)
    tokens = codec.encode(content)
    assert codec.decode(tokens) == content
    assert tokens.ndim == 1
    assert 0 <= tokens.min() <= tokens.max() < tokenizer.vocabulary
    np.testing.assert_array_equal(tokenizer.tokens(text_of(content), TRAINING), tokens)


def test_bytes_are_utf8():
    assert Bytes().codec(TRAINING).encode("é\n").tolist() == [0xC3, 0xA9, 0x0A]
    assert Bytes().codec(TRAINING).decode(np.array([0x61, 0xC3], dtype=np.uint8)) == "a\ufffd"


def test_a_trained_vocabulary_joins_what_the_text_repeats():
    codec = TrainedBPE(vocabulary=400).codec(TRAINING)
    assert codec.decode(codec.encode(" walking")) == " walking"
    assert len(codec.encode(" walking")) == 1
    assert len(codec.encode(" zyxw")) == 5


def test_a_small_text_gives_fewer_tokens_than_are_asked_for():
    tokenizer = TrainedBPE(vocabulary=8192)
    assert tokenizer.tokens(TRAINING, TRAINING).max() < 1000
    assert tokenizer.vocabulary == 8192


def test_the_training_text_decides_the_tokens_and_only_of_a_trained_one(gpt2_files):
    other = text_of("quite another text , quite another vocabulary \n" * 20)
    trained = TrainedBPE(vocabulary=300)
    assert trained.tokens(TRAINING, TRAINING).tolist() != trained.tokens(TRAINING, other).tolist()
    assert GPT2BPE().tokens(TRAINING, TRAINING).tolist() == GPT2BPE().tokens(TRAINING, other).tolist()


def test_the_same_text_gives_the_same_tokens_in_another_process(tmp_path):
    (tmp_path / "text").write_text(TRAINING.text, encoding="utf-8")
    code = (
        "import sys, pathlib; from trainables.data.sets import Text; from trainables.data.tokenizers import *\n"
        "text = Text(pathlib.Path(sys.argv[1]).read_text(encoding='utf-8'), 'a digest')\n"
        "tokens = TrainedBPE(vocabulary=400).tokens(text, text)\n"
        "print(hashlib.sha256(tokens.tobytes()).hexdigest())"
    )
    mine = TrainedBPE(vocabulary=400).tokens(TRAINING, TRAINING)
    environment = os.environ | {"GROKSCAPE_CACHE": str(tmp_path / "another"), "PYTHONHASHSEED": "5"}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "text")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert ran.stdout.strip() == hashlib.sha256(mine.tobytes()).hexdigest()


def test_gpt2s_tokens_are_hugging_faces(gpt2_files):
    judge = library.ByteLevelBPETokenizer(str(gpt2_files / "vocab.json"), str(gpt2_files / "merges.txt"))
    codec = GPT2BPE().codec(TRAINING)
    for content in (ODD, TRAINING.text):
        assert codec.encode(content).tolist() == judge.encode(content).ids


@pytest.mark.parametrize("characters", [1, 10, 1000])
def test_the_pieces_of_a_text_have_the_tokens_of_the_whole(characters):
    content = TRAINING.text[:3000] + ODD + TRAINING.text[3000:6000]
    pieces = list(split_between_words(content, characters))
    assert "".join(pieces) == content
    assert len(pieces) > 6000 / (characters + 100)
    codec = TrainedBPE(vocabulary=400).codec(TRAINING)
    assert np.concatenate([codec.encode(piece) for piece in pieces]).tolist() == codec.encode(content).tolist()


def test_what_is_cached_is_not_made_again(monkeypatch):
    tokenizer = TrainedBPE(vocabulary=300)
    first = tokenizer.tokens(TRAINING, TRAINING)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(tokenizers, "_trained", refuse)
    np.testing.assert_array_equal(tokenizer.tokens(TRAINING, TRAINING), first)
    assert tokenizer.codec(TRAINING).encode(TRAINING.text).tolist() == first.tolist()
    with pytest.raises(AssertionError, match="trained again"):
        TrainedBPE(vocabulary=301).codec(TRAINING)
    with pytest.raises(AssertionError, match="trained again"):
        tokenizer.codec(text_of("another text"))


@pytest.mark.parametrize("left", [0, 40, 200])
def test_a_damaged_file_of_the_cache_is_made_again(cache, left):
    tokenizer = TrainedBPE(vocabulary=300)
    first = tokenizer.tokens(TRAINING, TRAINING).copy()
    files = list(cache.rglob("*.npy"))
    assert {path.parent.name for path in files} == {"tokens", "tokenizers"}
    whole = {path: path.read_bytes() for path in files}
    for path, content in whole.items():
        path.unlink()  # what is mapped stays what it was
        path.write_bytes(content[:left])
    np.testing.assert_array_equal(tokenizer.tokens(TRAINING, TRAINING), first)
    assert {path: path.read_bytes() for path in files} == whole


def test_missing_and_damaged_files_of_gpt2_are_one_clear_line(tmp_path, monkeypatch, gpt2_files):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path))
    with pytest.raises(
        DataMissingError, match=r"^GPT2BPE: '.*vocab\.json' is missing; put .* there .*, or use [^\n]*$"
    ):
        GPT2BPE().fingerprint()
    monkeypatch.setenv("GROKSCAPE_DATA", str(gpt2_files.parent))
    before = GPT2BPE().fingerprint()
    (gpt2_files / "merges.txt").write_text("#version: 0.2\nonly-one-part\n")
    assert GPT2BPE().fingerprint() != before
    with pytest.raises(
        DataMissingError, match=r"^GPT2BPE: '.*vocab\.json' or 'merges\.txt' beside it cannot be read \([^\n]*\); "
    ):
        GPT2BPE().codec(TRAINING)
    (gpt2_files / "merges.txt").write_text("#version: 0.2\n")
    (gpt2_files / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(DataMissingError, match=r"^GPT2BPE: '.*vocab\.json' has 1 tokens; must be GPT-2's, 50257$"):
        GPT2BPE().codec(TRAINING)


def test_a_vocabulary_holds_every_byte():
    with pytest.raises(ConfigError, match=r"^TrainedBPE\.vocabulary = 256: must be at least 257$"):
        TrainedBPE(vocabulary=256)


def test_importing_the_module_does_not_load_the_library():
    code = "import sys, trainables.data.tokenizers; print('tokenizers' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert ran.stdout.strip() == "False"
