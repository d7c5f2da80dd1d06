"""The vision trial: an image classifier and its image set, in mini-batches."""

from dataclasses import dataclass

import torch
from torch import nn

from trainables.baselines.augmentation import Augmentation, RandomCropFlip
from trainables.baselines.batches import Batches
from trainables.baselines.images import CIFAR10, ImageSet
from trainables.baselines.resnet import ImageModel, ResNet18
from trainables.baselines.trial import BatchTrial
from trainables.engine.config import ConfigError, option
from trainables.engine.optimizers import SGD, Optimizer


@dataclass(frozen=True, kw_only=True)
class VisionTrial(BatchTrial):
    """One run of image classification, by default with the recipe of the paper's Fig. 17 and Table 1.

    From Appendix G of the paper: ResNet-18; SGD with momentum .9 and weight decay 1e-4; "random crop and random
    horizontal flip".  It gives neither batch size nor learning rate nor details of the crop.  Our defaults are batches
    of 128 and a learning rate of .1 (He et al. 2016, Sec. 4.2, for CIFAR-10; torchvision's ImageNet reference uses .1
    too, with batches of 256).  The paper's schedule, a decay after every 30 of 100 epochs, depends on the number of
    rows: set ``StepDecay(every_steps=...)``.
    """

    images: ImageSet = option(example=CIFAR10())
    augmentation: Augmentation = option(RandomCropFlip())
    model: ImageModel = option(ResNet18())
    optimizer: Optimizer = option(SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4))
    channels_last: bool = option(True, execution=True)
    """Whether the channels of a pixel are adjacent in memory, in images and, on a GPU, in weights: faster on most
    devices, with other rounding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images.check(self.augmentation)
        if self.images.known_rows is not None:
            self._check_rows(self.images.known_rows)

    def network(self) -> nn.Module:
        return self.model.network(self.images.classes, self.seeds.init)

    def to_device(self, network: nn.Module, device: torch.device) -> nn.Module:
        network = super().to_device(network, device)
        if self.channels_last and device.type == "cuda":
            # On a CPU this gains nothing, and torch's fused update takes three times as long for such weights.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        return network

    def batches(self, device: str) -> Batches:
        batches = self.images.batches(
            batch_size=self.batch_size,
            seeds=self.seeds,
            augmentation=self.augmentation,
            device=device,
            channels_last=self.channels_last,
        )
        self._check_rows(batches.order.rows)
        return batches

    def flops_per_step(self) -> float:
        """Count one forward pass and one backward pass, of twice its operations, over a full batch."""
        height, width = self.images.input_size(self.augmentation)
        return 3.0 * self.batch_size * self.model.flops_per_image(height, width, self.images.classes)

    def data_fingerprint(self) -> str:
        """Return a digest of the set and of the selection of training rows."""
        return self.images.fingerprint(self.seeds)

    def _check_rows(self, rows: int) -> None:
        """Refuse batches that are larger than an epoch of ``rows``, or too small for batch normalisation."""
        if self.batch_size > rows:
            raise ConfigError(f"VisionTrial.batch_size = {self.batch_size}: must be at most {rows}, the training rows")
        single_value = self.model.values_per_channel(*self.images.input_size(self.augmentation)) == 1
        if single_value and 1 in (self.batch_size, rows % self.batch_size):
            raise ConfigError(
                f"VisionTrial.batch_size = {self.batch_size}: leaves a batch of one of {rows} rows, whose last map is "
                "one value per channel, too few for batch normalisation; must leave a last batch of more than one row"
            )
