"""From pixels to a network's inputs: augmentation and normalisation.

The randomness of an augmentation depends only on the seed, the step and the row's position in its batch.  Images that
fit in memory are augmented on their device, a batch at a time; streamed images one by one, after decoding.

Shape suffixes: B rows, H height, W width, C channels.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.engine.config import Config, ConfigError, option
from trainables.engine.randomness import AUGMENTATION_STREAM, random_bits
from trainables.engine.replay import constant

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE_PER_CROP = 256 / 224
"""In evaluation, the shorter side before the central crop over the side of the crop (Krizhevsky et al. 2012)."""
TRIES = 10
"""How many random crops to try before taking the central one, as in torchvision."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, for pixel values in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def inputs(self, pixels_BHWC: Tensor, *, channels_last: bool) -> Tensor:
        """Normalise pixels to network inputs: (B, 3, H, W), float32, on their device; grey images fill every channel.

        :param channels_last: whether the channels of a pixel stay adjacent in memory.
        """
        mean_C, std_C = (constant(values, torch.float32, pixels_BHWC.device) for values in (self.mean, self.std))
        inputs_BCHW = pixels_BHWC.to(torch.float32).div(255).sub(mean_C).div_(std_C).permute(0, 3, 1, 2)
        return inputs_BCHW if channels_last else inputs_BCHW.contiguous()


@dataclass(frozen=True, kw_only=True)
class Augmentation(Config):
    """Base of the augmentations."""

    words: ClassVar[int]
    """The number of random words per row."""

    def random_words(self, seed: int, step: int, rows: int) -> np.ndarray:
        """Draw the random words of the whole batch of a step: (rows, words), uint64."""
        bits = random_bits(seed, AUGMENTATION_STREAM, rows * self.words, block=step)
        return bits.reshape(rows, self.words)


@dataclass(frozen=True, kw_only=True)
class BatchAugmentation(Augmentation):
    """Base of the augmentations of images in memory, which work on a whole batch on its device."""

    @abstractmethod
    def apply(self, pixels_BHWC: Tensor, words: np.ndarray) -> Tensor:
        """Return the augmented images, of the same shape, dtype and device.

        :param words: the rows' random words, (B, words).
        """


@dataclass(frozen=True, kw_only=True)
class NoAugmentation(BatchAugmentation):
    """The images, unchanged."""

    words: ClassVar[int] = 0

    def apply(self, pixels_BHWC: Tensor, words: np.ndarray) -> Tensor:
        return pixels_BHWC


@dataclass(frozen=True, kw_only=True)
class RandomCropFlip(BatchAugmentation):
    """Pad the image with black, crop it at random to its own size, and flip it horizontally at random.

    The "standard data transformations" of Fig. 17; He et al. (2016, Sec. 4.2) pad CIFAR by 4 pixels.
    """

    padding: int = option(4, at_least=0)
    """Pixels added on each side."""
    flip: float = option(0.5, at_least=0.0, at_most=1.0)
    """The probability of a flip."""
    words: ClassVar[int] = 3

    def apply(self, pixels_BHWC: Tensor, words: np.ndarray) -> Tensor:
        top, left, flipped = self.draw(words)
        height, width = pixels_BHWC.shape[1:3]
        column_BW = np.where(flipped[:, None], np.arange(width)[::-1], np.arange(width)) + left[:, None]
        row_BH = np.arange(height) + top[:, None]
        device = pixels_BHWC.device
        # One index per pixel into the flattened padded images.
        padded_width = width + 2 * self.padding
        image_B = np.arange(len(top)) * (height + 2 * self.padding) * padded_width
        row_BH1 = torch.from_numpy(image_B[:, None] + row_BH * padded_width).to(device, non_blocking=True).unsqueeze(2)
        column_B1W = torch.from_numpy(column_BW).to(device, non_blocking=True).unsqueeze(1)
        frame = (self.padding,) * 4
        padded = functional.pad(pixels_BHWC, (0, 0, *frame)).flatten(0, 2)
        return padded.index_select(0, (row_BH1 + column_B1W).flatten()).view(pixels_BHWC.shape)

    def draw(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw each row's top and left edge in the padded image, int64 in [0, 2 ``padding``], and whether to flip."""
        positions = np.uint64(2 * self.padding + 1)
        top, left = ((words[:, word] % positions).astype(np.int64) for word in (0, 1))
        return top, left, _unit(words[:, 2]) < self.flip


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation(Augmentation):
    """Base of the augmentations of streamed images of any size, which work on one decoded image on the host."""

    size: int = option(224, at_least=1)
    """Height and width of the result."""

    @abstractmethod
    def train(self, image: "Image", words: np.ndarray) -> "Image":
        """Augment a training image to ``size`` × ``size``.

        :param words: the row's random words, (words,).
        """

    def evaluate(self, image: "Image") -> "Image":
        """Resize an image to a shorter side of 8/7 ``size`` (256 for 224) and crop its centre, for measurements."""
        from PIL.Image import Resampling

        shorter = round(self.size * RESIZE_PER_CROP)
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
    """Crop at random area and aspect ratio, resize (Szegedy et al. 2015), and flip horizontally at random.

    As in ``torchvision.transforms.RandomResizedCrop`` and torchvision's ImageNet reference.
    """

    scale: tuple[float, float] = option((0.08, 1.0), above=0.0, at_most=1.0)
    """The smallest and the largest share of the image's area."""
    ratio: tuple[float, float] = option((3 / 4, 4 / 3), above=0.0)
    """The smallest and the largest width per height, drawn log-uniformly."""
    flip: float = option(0.5, at_least=0.0, at_most=1.0)
    """The probability of a flip."""
    words: ClassVar[int] = 2 * TRIES + 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, (least, largest) in (("scale", self.scale), ("ratio", self.ratio)):
            if least > largest:
                raise ConfigError(f"RandomResizedCropFlip.{name} = {(least, largest)!r}: must be ascending")

    def train(self, image: "Image", words: np.ndarray) -> "Image":
        from PIL.Image import Resampling, Transpose

        left, top, width, height = self.box(*image.size, words)
        image = image.crop((left, top, left + width, top + height)).resize((self.size, self.size), Resampling.BILINEAR)
        return image.transpose(Transpose.FLIP_LEFT_RIGHT) if _unit(words[-1]) < self.flip else image

    def box(self, width: int, height: int, words: np.ndarray) -> tuple[int, int, int, int]:
        """Draw the crop of an image of this size: left, top, width and height."""
        least, largest = (math.log(ratio) for ratio in self.ratio)
        for area_word, ratio_word in words[: 2 * TRIES].reshape(TRIES, 2):
            area = width * height * (self.scale[0] + (self.scale[1] - self.scale[0]) * float(_unit(area_word)))
            ratio = math.exp(least + (largest - least) * float(_unit(ratio_word)))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                left, top = int(words[-3]) % (width - across + 1), int(words[-2]) % (height - down + 1)
                return left, top, across, down
        # No try fits: take the largest central crop of an allowed aspect ratio.
        across, down = width, height
        if width / height < self.ratio[0]:
            down = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            across = round(height * self.ratio[1])
        return (width - across) // 2, (height - down) // 2, across, down


def _unit(words: np.ndarray) -> np.ndarray:
    """Map random words to [0, 1) by their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
