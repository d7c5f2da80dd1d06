"""Image sets as components of a trial, and the batches of those that fit in memory.

A set in memory is one tensor of bytes on the device: each batch is selected, augmented and normalised there, and only
the indices of its rows come from the host.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainables.baselines.augmentation import Augmentation, BatchAugmentation, ImageAugmentation, Normalisation
from trainables.baselines.batches import Batch, Batches, BatchOrder
from trainables.baselines.image_stream import StreamedImages
from trainables.data.sets import (
    DataMissingError,
    ImageFiles,
    Images,
    cifar10,
    cifar100,
    image_folder,
    imagenet,
    images_from_parquet,
    mnist,
)
from trainables.engine.config import Config, ConfigError, digest, option
from trainables.engine.randomness import MEASURED_STREAM, SPLIT_STREAM, permutation
from trainables.engine.trial import Seeds

IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Normalisation by ImageNet's training images, as in torchvision's reference."""


@dataclass(frozen=True, kw_only=True)
class ImageSet(Config):
    """Base of the image sets; class and fields say what is known about a set without reading it."""

    train_rows: int | None = option(None, at_least=1)
    """Train on this many rows, drawn from ``seeds.split``; None: on all."""
    classes: ClassVar[int]
    published_rows: ClassVar[int | None] = None
    """The number of training rows of the published set."""
    normalisation: ClassVar[Normalisation] = IMAGENET_NORMALISATION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.published_rows is not None:
            self._check_rows(self.published_rows)

    @property
    def known_rows(self) -> int | None:
        """The number of rows in an epoch, if known without reading the set."""
        return self.train_rows or self.published_rows

    @abstractmethod
    def check(self, augmentation: Augmentation) -> None:
        """Refuse an augmentation that does not work on these images.

        :raises ConfigError: with what is allowed.
        """

    @abstractmethod
    def input_size(self, augmentation: Augmentation) -> tuple[int, int]:
        """Return height and width of the network's inputs."""

    @abstractmethod
    def read(self) -> tuple[Images, Images] | tuple[ImageFiles, ImageFiles]:
        """Read the training and the test set."""

    def fingerprint(self, seeds: Seeds) -> str:
        """Return a digest of the set and of the selection of training rows."""
        train, test = self.read()
        chosen = None if self.train_rows is None else [self.train_rows, seeds.split]
        return digest([train.digest, test.digest, chosen])

    def batches(
        self, *, batch_size: int, seeds: Seeds, augmentation: Augmentation, device: str, channels_last: bool
    ) -> Batches:
        """Load the set's batches onto a device.

        :raises DataMissingError: when the set is missing, unreadable or not as expected.
        :raises ConfigError: when it has too few rows.
        """
        train, test = self.read()
        self._check_content(train, test)
        return self._loaded(
            train,
            test,
            train_rows=self.train_rows,
            batch_size=batch_size,
            seeds=seeds,
            augmentation=augmentation,
            normalisation=self.normalisation,
            device=device,
            channels_last=channels_last,
        )

    @abstractmethod
    def _loaded(self, train: Any, test: Any, **settings: Any) -> Batches:
        """Make batches of both halves."""

    def _check_content(self, train: Images | ImageFiles, test: Images | ImageFiles) -> None:
        for labels in (train.labels, test.labels):
            if not len(labels):
                raise DataMissingError(f"{type(self).__name__}: has no rows; must have training and test rows")
            if labels.min() < 0 or labels.max() >= self.classes:
                raise DataMissingError(
                    f"{type(self).__name__}: has labels from {labels.min()} to {labels.max()}; "
                    f"must be from 0 to {self.classes - 1}"
                )
        self._check_rows(len(train.labels))

    def _check_rows(self, available: int) -> None:
        if self.train_rows is not None and self.train_rows > available:
            raise ConfigError(
                f"{type(self).__name__}.train_rows = {self.train_rows}: must be at most {available}, the training rows"
            )


@dataclass(frozen=True, kw_only=True)
class InMemoryImages(ImageSet):
    """Base of the sets that fit in memory: images of one size, augmented a batch at a time."""

    image_size: ClassVar[tuple[int, int]] = (32, 32)
    """Height and width of every image."""

    @abstractmethod
    def read(self) -> tuple[Images, Images]:
        """Read the training and the test set."""

    def check(self, augmentation: Augmentation) -> None:
        if not isinstance(augmentation, BatchAugmentation):
            raise ConfigError(
                f"augmentation = {type(augmentation).__name__}(): is for streamed images; "
                f"must be NoAugmentation() or RandomCropFlip() for {type(self).__name__}"
            )

    def input_size(self, augmentation: Augmentation) -> tuple[int, int]:
        return self.image_size

    def _loaded(self, train: Images, test: Images, **settings: Any) -> Batches:
        for half in (train, test):
            if half.pixels.shape[1:3] != self.image_size:
                actual, expected = ("×".join(map(str, size)) for size in (half.pixels.shape[1:3], self.image_size))
                raise DataMissingError(f"{type(self).__name__}: has images of {actual} pixels; must be {expected}")
        return TensorImages(train, test, **settings)


@dataclass(frozen=True, kw_only=True)
class CIFAR10(InMemoryImages):
    """CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images of 32×32 pixels.

    Normalised by all training pixels.
    """

    classes: ClassVar[int] = 10
    published_rows: ClassVar[int | None] = 50_000
    normalisation: ClassVar[Normalisation] = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

    def read(self) -> tuple[Images, Images]:
        return cifar10()


@dataclass(frozen=True, kw_only=True)
class CIFAR100(InMemoryImages):
    """CIFAR-100 with its 100 fine classes; otherwise like :class:`CIFAR10`."""

    classes: ClassVar[int] = 100
    published_rows: ClassVar[int | None] = 50_000
    normalisation: ClassVar[Normalisation] = Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

    def read(self) -> tuple[Images, Images]:
        return cifar100()


@dataclass(frozen=True, kw_only=True)
class MNISTImages(InMemoryImages):
    """MNIST (Deng 2012): 60 000 training and 10 000 test images of 28×28 pixels, grey in three equal channels."""

    classes: ClassVar[int] = 10
    published_rows: ClassVar[int | None] = 60_000
    image_size: ClassVar[tuple[int, int]] = (28, 28)
    normalisation: ClassVar[Normalisation] = Normalisation((0.1307,) * 3, (0.3081,) * 3)

    def read(self) -> tuple[Images, Images]:
        return mnist()


@dataclass(frozen=True, kw_only=True)
class ParquetImages(InMemoryImages):
    """Images of one size in Parquet files of the Hugging Face layout, with ImageNet's normalisation."""

    train: str = option(example="train.parquet")
    """The training rows: an address that ``pyarrow.fs`` can open, or a path below the data folder."""
    test: str = option(example="test.parquet")
    """The test rows, likewise."""
    classes: int = option(at_least=2, example=3)  # type: ignore[misc]  # a class variable in the base
    image_size: tuple[int, int] = option((32, 32), at_least=1)  # type: ignore[misc]
    """Height and width."""

    def read(self) -> tuple[Images, Images]:
        return images_from_parquet(self.train, self.test)


@dataclass(frozen=True, kw_only=True)
class StreamedSet(ImageSet):
    """Base of the sets streamed from disk: images of any size, augmented one by one."""

    @abstractmethod
    def read(self) -> tuple[ImageFiles, ImageFiles]:
        """Open the training and the test files."""

    def check(self, augmentation: Augmentation) -> None:
        if not isinstance(augmentation, ImageAugmentation):
            raise ConfigError(
                f"augmentation = {type(augmentation).__name__}(): is for images of one size in memory; "
                f"must be RandomResizedCropFlip() for {type(self).__name__}"
            )

    def input_size(self, augmentation: Augmentation) -> tuple[int, int]:
        assert isinstance(augmentation, ImageAugmentation)
        return augmentation.size, augmentation.size

    def _loaded(self, train: ImageFiles, test: ImageFiles, **settings: Any) -> Batches:
        return StreamedImages(train, test, **settings)


@dataclass(frozen=True, kw_only=True)
class ImageNet1k(StreamedSet):
    """ImageNet-1k (Russakovsky et al. 2015), from image folders or Parquet; the test set is its validation set."""

    classes: ClassVar[int] = 1000
    published_rows: ClassVar[int | None] = 1_281_167

    def read(self) -> tuple[ImageFiles, ImageFiles]:
        return imagenet()


@dataclass(frozen=True, kw_only=True)
class ImageFolder(StreamedSet):
    """Folders ``train`` and ``val`` with one folder of images per class; ImageNet's normalisation."""

    name: str = option(example="birds")
    """The folder's name in the data folder."""
    classes: int = option(at_least=2, example=3)  # type: ignore[misc]  # a class variable in the base

    def read(self) -> tuple[ImageFiles, ImageFiles]:
        return image_folder(self.name)


class TensorImages:
    """The batches of a set on the device; implements :class:`trainables.baselines.batches.Batches`."""

    def __init__(
        self,
        train: Images,
        test: Images,
        *,
        train_rows: int | None,
        batch_size: int,
        seeds: Seeds,
        augmentation: BatchAugmentation,
        normalisation: Normalisation,
        device: str,
        channels_last: bool,
    ) -> None:
        """
        :param train_rows: train on this many rows, drawn from ``seeds.split``; None: on all.
        """
        self._augmentation, self._normalisation = augmentation, normalisation
        self._device, self._channels_last = torch.device(device), channels_last
        chosen = None
        if train_rows is not None:
            chosen = permutation(seeds.split, SPLIT_STREAM, len(train.labels))[:train_rows]
        self._held = {"train": self._hold(train, chosen), "test": self._hold(test, None)}
        # A set may be sorted by class, so measure the first rows of a random order.
        self._measured = {
            split: permutation(seeds.split, MEASURED_STREAM, len(labels), block)
            for block, (split, (_, labels)) in enumerate(self._held.items())
        }
        self.order = BatchOrder(rows=len(self._held["train"][1]), batch_size=batch_size, seed=seeds.order)

    def train(self, step: int, low: int, high: int) -> Batch:
        """See :meth:`trainables.baselines.batches.Batches.train`."""
        words = self._augmentation.random_words(self.order.seed, step, self.order.size(step))[low:high]
        pixels_BHWC, labels = self._selected("train", self.order.numbers(step)[low:high])
        return self._batch(self._augmentation.apply(pixels_BHWC, words), labels)

    def measured(self, split: str, rows: int | None, at_once: int) -> Iterator[Batch]:
        """See :meth:`trainables.baselines.batches.Batches.measured`."""
        numbers = self._measured[split][:rows]
        for low in range(0, len(numbers), at_once):
            yield self._batch(*self._selected(split, numbers[low : low + at_once]))

    def _hold(self, half: Images, chosen: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Put pixels, (rows, height, width, channels), and labels on the device; on a CPU share memory if possible."""
        pixels = half.pixels if half.pixels.ndim == 4 else half.pixels[..., None]
        arrays = (pixels, half.labels) if chosen is None else (pixels[chosen], half.labels[chosen])
        held, labels = (torch.from_numpy(array).to(self._device) for array in arrays)
        return held, labels

    def _selected(self, split: str, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(numbers).to(self._device, non_blocking=True)
        pixels, labels = self._held[split]
        return pixels.index_select(0, index), labels.index_select(0, index)

    def _batch(self, pixels_BHWC: Tensor, labels: Tensor) -> Batch:
        return Batch(self._normalisation.inputs(pixels_BHWC, channels_last=self._channels_last), labels)
