"""Tokenizers, which turn text into numbers.  A trial's tokenizer is part of its identity.

Byte-level BPE (Radford et al. 2019) comes from Hugging Face's ``tokenizers`` library, with GPT-2's rule for where
words begin.  Vocabularies and encoded texts are cached under a digest of the text, the settings and the library's
version.
"""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.data.folder import cached_array
from trainables.data.sets import DataMissingError, Text, data_folder
from trainables.engine.config import Config, digest, option
from trainables.engine.errors import one_line

PIECE_CHARACTERS = 1_000_000
PIECES_AT_ONCE = 16
BETWEEN_WORDS = re.compile(r"(?<=[A-Za-z0-9]) (?=[A-Za-z0-9])")
BYTES = 256
GPT2_VOCABULARY = 50257


class Codec(Protocol):
    """A tokenizer with its vocabulary, from text to tokens and back."""

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens, shape (tokens,), in the smallest unsigned dtype that holds the vocabulary."""

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of the tokens; invalid bytes, as where a character is cut, become U+FFFD."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Config):
    """The base of the tokenizers."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """The number of tokens; every token is below it."""

    @abstractmethod
    def codec(self, training: Text) -> Codec:
        """Make the codec for a corpus with this training text.

        :raises DataMissingError: when a file of its vocabulary is missing or damaged.
        """

    @abstractmethod
    def tokens(self, text: Text, training: Text) -> np.ndarray:
        """Return ``codec(training).encode(text)``, through the cache."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Digest what decides the tokens beside the settings and the texts: files and versions.

        :raises DataMissingError: as :meth:`codec`.
        """


@dataclass(frozen=True, kw_only=True)
class Bytes(Tokenizer):
    """The bytes of the text in UTF-8: nothing to train or to download, but a row of tokens covers less text."""

    @property
    def vocabulary(self) -> int:
        return BYTES

    def codec(self, training: Text) -> Codec:
        return _ByteCodec()

    def tokens(self, text: Text, training: Text) -> np.ndarray:
        return _ByteCodec().encode(text.text)

    def fingerprint(self) -> str:
        return "utf-8"


class _ByteCodec:
    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), dtype=np.uint8)

    def decode(self, tokens: np.ndarray) -> str:
        return tokens.astype(np.uint8).tobytes().decode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class BytePairs(Tokenizer):
    """The base of the byte-level BPEs."""

    def tokens(self, text: Text, training: Text) -> np.ndarray:
        key = digest([self.to_json(), self.fingerprint(), self._trained_on(training), text.digest])
        return cached_array("tokens", key, lambda: self.codec(training).encode(text.text), fits=self._holds)

    def _holds(self, tokens: np.ndarray) -> bool:
        """Whether these can be tokens of its vocabulary."""
        return tokens.ndim == 1 and tokens.dtype == _dtype(self.vocabulary) and tokens.max(initial=0) < self.vocabulary

    @abstractmethod
    def _trained_on(self, training: Text) -> str:
        """Return the digest of the training text if the vocabulary depends on it, else an empty string."""


@dataclass(frozen=True, kw_only=True)
class TrainedBPE(BytePairs):
    """Byte-level BPE trained on the whole training text of the corpus: it needs no file.

    Text too small for this vocabulary gives fewer tokens (a pair is merged only if it appears twice); the numbers
    left over never occur, but the model has rows for them.
    """

    vocabulary: int = option(8192, at_least=BYTES + 1)

    def codec(self, training: Text) -> Codec:
        def make() -> np.ndarray:
            written = _trained(training.text, self.vocabulary).to_str()
            return np.frombuffer(written.encode(), dtype=np.uint8)

        key = digest([self.to_json(), self.fingerprint(), training.digest])
        written = cached_array("tokenizers", key, make, fits=lambda array: _read(array, self.vocabulary) is not None)
        tokenizer = _read(written, self.vocabulary)
        assert tokenizer is not None
        return _BytePairCodec(tokenizer, self.vocabulary)

    def fingerprint(self) -> str:
        return _library_version()

    def _trained_on(self, training: Text) -> str:
        return training.digest


@dataclass(frozen=True, kw_only=True)
class GPT2BPE(BytePairs):
    """GPT-2's own 50 257 tokens, from ``gpt2/vocab.json`` and ``gpt2/merges.txt`` in the data folder.

    No text becomes the token ``<|endoftext|>``; it is kept so that the number of parameters is the published one.
    """

    @property
    def vocabulary(self) -> int:
        return GPT2_VOCABULARY

    def codec(self, training: Text) -> Codec:
        files = self._files()
        try:
            pairs = _library().models.BPE.from_file(*(str(path) for path in files))
        except Exception as error:  # the library raises nothing narrower
            reason = one_line(error)
            raise DataMissingError(
                f"GPT2BPE: {str(files[0])!r} or {files[1].name!r} beside it cannot be read ({reason}); replace it"
            ) from None
        tokenizer = _byte_level(pairs)
        if tokenizer.get_vocab_size() != GPT2_VOCABULARY:
            raise DataMissingError(
                f"GPT2BPE: {str(files[0])!r} has {tokenizer.get_vocab_size()} tokens; must be GPT-2's, "
                f"{GPT2_VOCABULARY}"
            )
        return _BytePairCodec(tokenizer, GPT2_VOCABULARY)

    def fingerprint(self) -> str:
        return digest([_library_version(), *map(_digest_of, self._files())])

    def _trained_on(self, training: Text) -> str:
        return ""

    def _files(self) -> tuple[Path, Path]:
        """Find the vocabulary and the merges."""
        folder = data_folder() / "gpt2"
        files = folder / "vocab.json", folder / "merges.txt"
        for path in files:
            if not path.is_file():
                raise DataMissingError(
                    f"GPT2BPE: {str(path)!r} is missing; put GPT-2's vocab.json and merges.txt there (from "
                    "https://huggingface.co/openai-community/gpt2), or use TrainedBPE() or Bytes()"
                )
        return files


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataMissingError(f"GPT2BPE: {path}: cannot be read ({error.strerror}); replace it") from None


class _BytePairCodec:
    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._dtype = _dtype(vocabulary)

    def encode(self, text: str) -> np.ndarray:
        pieces = list(split_between_words(text))
        tokens = [np.empty(0, dtype=self._dtype)]
        for start in range(0, len(pieces), PIECES_AT_ONCE):
            encoded = self._tokenizer.encode_batch_fast(pieces[start : start + PIECES_AT_ONCE])
            tokens += [np.array(piece.ids, dtype=self._dtype) for piece in encoded]
        return np.concatenate(tokens)

    def decode(self, tokens: np.ndarray) -> str:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False)


def _dtype(vocabulary: int) -> type[np.unsignedinteger[Any]]:
    """The smallest that holds every token."""
    return np.uint16 if vocabulary <= 2**16 else np.uint32


def _read(written: np.ndarray, vocabulary: int) -> Any:
    """The trained tokenizer in a cached array of bytes; None where there is none of at most this vocabulary."""
    if written.dtype != np.uint8 or written.ndim != 1:
        return None
    try:
        tokenizer = _library().Tokenizer.from_str(written.tobytes().decode())
    except Exception:  # the library raises nothing narrower
        return None
    return tokenizer if tokenizer.get_vocab_size() <= vocabulary else None


def split_between_words(text: str, characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Split a text into pieces of about this many characters, whose tokens together are the text's.

    A cut is where GPT-2's rule begins a word anyway: before a single space between two letters or digits.
    """
    start = 0
    while start < len(text):
        cut = BETWEEN_WORDS.search(text, start + characters)
        end = cut.start() if cut else len(text)
        yield text[start:end]
        start = end


def _trained(text: str, vocabulary: int) -> Any:
    tokenizers = _library()
    tokenizer = _byte_level(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(split_between_words(text), trainer)
    return tokenizer


def _byte_level(pairs: Any) -> Any:
    """Wrap a table of merges in GPT-2's conversion between text and bytes."""
    tokenizers = _library()
    tokenizer = tokenizers.Tokenizer(pairs)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def _library() -> Any:
    """Import Hugging Face's ``tokenizers`` on first use."""
    import tokenizers

    return tokenizers


def _library_version() -> str:
    """Return the part of the version that may break: of 0.x versions, the first two numbers."""
    return "tokenizers " + ".".join(version("tokenizers").split(".")[:2])
