"""Models of images as ``torch.nn`` modules: the base, and ResNet-18."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import nn

from trainables.data.torchvision_guard import torchvision
from trainables.engine.config import Config, option
from trainables.engine.randomness import WEIGHTS_STREAM, torch_seeded

CHANNELS = 3
"""Channels of every image; grey images are repeated in all three."""
WIDTHS = (64, 128, 256, 512)
"""Channels of ResNet-18's four stages, of two blocks each (He et al. 2016, Table 1)."""


@dataclass(frozen=True, kw_only=True)
class ImageModel(Config):
    """Base of the models of images, which map (B, 3, height, width), float32, to the logits, (B, V)."""

    @abstractmethod
    def network(self, classes: int, seed: int) -> nn.Module:
        """Build the module on the CPU, float32, with initial weights that depend only on the seed."""

    @abstractmethod
    def flops_per_image(self, height: int, width: int, classes: int) -> float:
        """Return the floating-point operations of one image's forward pass, two per multiplication by a weight."""

    def values_per_channel(self, height: int, width: int) -> int:
        """Return how many values per channel one image has at the smallest batch normalisation, which needs two."""
        return height * width


@dataclass(frozen=True, kw_only=True)
class ResNet18(ImageModel):
    """ResNet-18 (He et al. 2016) as torchvision builds and initialises it, for the paper's Fig. 17 and Table 1.

    ``stem="imagenet"`` (the default, and the paper's, judging by the accuracies in its Table 1) begins with a 7×7
    convolution of stride 2 and pooling, which reduce a 32×32 image to 1×1 in the last stage.  ``stem="cifar"`` begins
    with a 3×3 convolution of stride 1 without pooling (He et al. 2016, Sec. 4.2, for small images), at 15 times the
    cost.
    """

    stem: str = option("imagenet", choices=("imagenet", "cifar"))

    def network(self, classes: int, seed: int) -> nn.Module:
        with torch_seeded(seed, WEIGHTS_STREAM):
            network = torchvision().models.resnet18(num_classes=classes)
            if self.stem == "cifar":
                network.conv1 = nn.Conv2d(CHANNELS, WIDTHS[0], kernel_size=3, padding=1, bias=False)
                nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
                network.maxpool = nn.Identity()
        return network

    def flops_per_image(self, height: int, width: int, classes: int) -> float:
        kernel = 7 if self.stem == "imagenet" else 3
        before, *maps = self._maps(height, width)
        total = kernel**2 * CHANNELS * WIDTHS[0] * before
        inputs = WIDTHS[0]
        for outputs, size in zip(WIDTHS, maps, strict=True):
            shortcut = inputs * outputs if inputs != outputs else 0
            total += (9 * inputs * outputs + 3 * 9 * outputs**2 + shortcut) * size
            inputs = outputs
        return 2.0 * (total + inputs * classes)

    def values_per_channel(self, height: int, width: int) -> int:
        return self._maps(height, width)[-1]

    def _maps(self, height: int, width: int) -> list[int]:
        """Return the number of positions in the map after the first convolution and in those of the four stages."""
        # Every layer of stride 2 halves a side, rounded up by its padding.
        halvings = (1, 2, 3, 4, 5) if self.stem == "imagenet" else (0, 0, 1, 2, 3)
        return [-(-height // 2**count) * -(-width // 2**count) for count in halvings]
