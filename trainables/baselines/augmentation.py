"""From pixels to a network's inputs: augmentation and normalisation.

The chance in an augmentation follows from the seed, the step and the row's place in its batch.  Images that fit in
memory are augmented where they lie, a batch at once; streamed ones one by one, as they are decoded.

Shape suffixes: B rows, H height, W width, C channels.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.randomness import AUGMENTATION_STREAM, random_bits

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZED_PER_CROPPED = 256 / 224
"""Of an evaluated image: the shorter side before the central crop, per side of it (Krizhevsky et al. 2012)."""
TRIES = 10
"""Shapes that are drawn for a crop before the central one is taken, as in torchvision."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of values in [0, 1]: what the inputs are shifted and divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def inputs(self, pixels_BHWC: Tensor, *, channels_last: bool) -> Tensor:
        """Pixels as a network takes them: (B, 3, H, W), float32, on their device; a grey image in every channel.

        :param channels_last: whether the channels of a pixel stay side by side in memory.
        """
        mean_C, std_C = (_constant(values, pixels_BHWC.device) for values in (self.mean, self.std))
        inputs_BCHW = pixels_BHWC.to(torch.float32).div(255).sub(mean_C).div_(std_C).permute(0, 3, 1, 2)
        return inputs_BCHW if channels_last else inputs_BCHW.contiguous()


@dataclass(frozen=True, kw_only=True)
class Augmentation(Config):
    """Base of the augmentations."""

    words: ClassVar[int]
    """Random words a row."""

    def chance(self, seed: int, step: int, rows: int) -> np.ndarray:
        """The random words of the batch of a step, (rows, words), uint64: those of a row do not depend on slices."""
        bits = random_bits(seed, AUGMENTATION_STREAM, rows * self.words, block=step)
        return bits.reshape(rows, self.words)


@dataclass(frozen=True, kw_only=True)
class BatchAugmentation(Augmentation):
    """Base of the augmentations of images in memory: of a whole batch, on its device."""

    @abstractmethod
    def apply(self, pixels_BHWC: Tensor, chance: np.ndarray) -> Tensor:
        """The augmented images, of the same shape, dtype and device.

        :param chance: the rows' random words, (B, words).
        """


@dataclass(frozen=True, kw_only=True)
class NoAugmentation(BatchAugmentation):
    """The images as they are."""

    words: ClassVar[int] = 0

    def apply(self, pixels_BHWC: Tensor, chance: np.ndarray) -> Tensor:
        return pixels_BHWC


@dataclass(frozen=True, kw_only=True)
class RandomCropFlip(BatchAugmentation):
    """A random crop of the image's own size out of the image in a black frame, and a random horizontal flip.

    The "standard data transformations" of Fig. 17; the frame of 4 pixels is He et al.'s (2016, Sec. 4.2) for CIFAR.
    """

    padding: int = option(4, at_least=0)
    """Pixels of the frame on each side."""
    flip: float = option(0.5, at_least=0.0, at_most=1.0)
    """The probability of a flip."""
    words: ClassVar[int] = 3

    def apply(self, pixels_BHWC: Tensor, chance: np.ndarray) -> Tensor:
        top, left, flipped = self.drawn(chance)
        height, width = pixels_BHWC.shape[1:3]
        column_BW = np.where(flipped[:, None], np.arange(width)[::-1], np.arange(width)) + left[:, None]
        row_BH = np.arange(height) + top[:, None]
        device = pixels_BHWC.device
        # One index a pixel, into the padded images as one list of pixels.
        padded_width = width + 2 * self.padding
        image_B = np.arange(len(top)) * (height + 2 * self.padding) * padded_width
        row_BH1 = torch.from_numpy(image_B[:, None] + row_BH * padded_width).to(device, non_blocking=True).unsqueeze(2)
        column_B1W = torch.from_numpy(column_BW).to(device, non_blocking=True).unsqueeze(1)
        frame = (self.padding,) * 4
        padded = functional.pad(pixels_BHWC, (0, 0, *frame)).flatten(0, 2)
        return padded.index_select(0, (row_BH1 + column_B1W).flatten()).view(pixels_BHWC.shape)

    def drawn(self, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each row's top and left edge in the padded image, int64 in [0, 2 ``padding``], and whether it is flipped."""
        places = np.uint64(2 * self.padding + 1)
        top, left = ((chance[:, word] % places).astype(np.int64) for word in (0, 1))
        return top, left, _unit(chance[:, 2]) < self.flip


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation(Augmentation):
    """Base of the augmentations of streamed images of any size: of one decoded image, on the host."""

    size: int = option(224, at_least=1)
    """Height and width of what it makes."""

    @abstractmethod
    def train(self, image: "Image", chance: np.ndarray) -> "Image":
        """A training image, ``size`` × ``size``.

        :param chance: the row's random words, (words,).
        """

    def evaluated(self, image: "Image") -> "Image":
        """The image as it is measured: resized to a shorter side of 8/7 ``size`` (256 for 224), its centre cropped."""
        from PIL.Image import Resampling

        shorter = round(self.size * RESIZED_PER_CROPPED)
        width, height = image.size
        if width <= height:
            width, height = shorter, int(shorter * height / width)
        else:
            width, height = int(shorter * width / height), shorter
        image = image.resize((width, height), Resampling.BILINEAR)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True, kw_only=True)
class RandomResizedCropFlip(ImageAugmentation):
    """A crop of random area and shape, resized (Szegedy et al. 2015), and a random horizontal flip.

    As ``torchvision.transforms.RandomResizedCrop`` and its ImageNet reference have it; ``flip`` is a probability.
    """

    scale: tuple[float, float] = option((0.08, 1.0), above=0.0, at_most=1.0)
    """The least and the largest share of the image's area."""
    ratio: tuple[float, float] = option((3 / 4, 4 / 3), above=0.0)
    """The least and the largest width per height; logarithmically uniform."""
    flip: float = option(0.5, at_least=0.0, at_most=1.0)
    words: ClassVar[int] = 2 * TRIES + 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, (least, largest) in (("scale", self.scale), ("ratio", self.ratio)):
            if least > largest:
                raise ConfigError(f"RandomResizedCropFlip.{name} = {(least, largest)!r}: must be ascending")

    def train(self, image: "Image", chance: np.ndarray) -> "Image":
        from PIL.Image import Resampling, Transpose

        left, top, width, height = self.box(*image.size, chance)
        image = image.crop((left, top, left + width, top + height)).resize((self.size, self.size), Resampling.BILINEAR)
        return image.transpose(Transpose.FLIP_LEFT_RIGHT) if _unit(chance[-1]) < self.flip else image

    def box(self, width: int, height: int, chance: np.ndarray) -> tuple[int, int, int, int]:
        """Left, top, width and height of the crop from an image of this size."""
        least, largest = (math.log(ratio) for ratio in self.ratio)
        for area_word, ratio_word in chance[: 2 * TRIES].reshape(TRIES, 2):
            area = width * height * (self.scale[0] + (self.scale[1] - self.scale[0]) * float(_unit(area_word)))
            ratio = math.exp(least + (largest - least) * float(_unit(ratio_word)))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                left, top = int(chance[-3]) % (width - across + 1), int(chance[-2]) % (height - down + 1)
                return left, top, across, down
        # None fits: the largest central crop of an allowed shape.
        across, down = width, height
        if width / height < self.ratio[0]:
            down = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            across = round(height * self.ratio[1])
        return (width - across) // 2, (height - down) // 2, across, down


@lru_cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Held on the device: a copy a batch would be a wait a batch."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def _unit(words: np.ndarray) -> np.ndarray:
    """Values in [0, 1) from the upper 53 bits of random words."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
