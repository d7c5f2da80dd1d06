"""The vision trial: a network for images and the set that it is trained on, in mini-batches."""

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

    Theirs by the text of Appendix G: ResNet-18; SGD with momentum .9 and weight decay 1e-4; "random crop and random
    horizontal flip".  It does not say the batch size, the learning rate or the details of the crop; here these are
    batches of 128 and .1 (He et al. 2016, Sec. 4.2, for CIFAR-10; a learning rate of .1 is that of torchvision's
    reference for ImageNet too, whose batches have 256 rows).  Its schedule, a step every 30 of 100 epochs, depends on
    the rows: ``StepDecay(every_steps=...)``.
    """

    images: ImageSet = option(example=CIFAR10())
    augmentation: Augmentation = option(RandomCropFlip())
    model: ImageModel = option(ResNet18())
    optimizer: Optimizer = option(SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4))
    channels_last: bool = option(True, execution=True)
    """Whether the channels of a pixel lie side by side in memory, in images and on a GPU in weights: the faster layout
    for most devices; rounding may differ between the two."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images.check(self.augmentation)
        if self.images.known_rows is not None:
            self._check_rows(self.images.known_rows)

    def network(self) -> nn.Module:
        return self.model.network(self.images.classes, self.seeds.init)

    def placed(self, network: nn.Module, device: torch.device) -> nn.Module:
        network = super().placed(network, device)
        if self.channels_last and device.type == "cuda":
            # Not on a CPU, where torch's fused update takes three times as long for such weights, and nothing is won.
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
        """One forward and one backward pass, of twice its operations, over a full batch."""
        height, width = self.images.input_size(self.augmentation)
        return 3.0 * self.batch_size * self.model.flops_per_image(height, width, self.images.classes)

    def data_fingerprint(self) -> str:
        """A digest of the set and of the rows of it that are trained on."""
        return self.images.fingerprint(self.seeds)

    def _check_rows(self, rows: int) -> None:
        """Refuse batches that an epoch of so many rows does not have, or that cannot be normalised."""
        if self.batch_size > rows:
            raise ConfigError(f"VisionTrial.batch_size = {self.batch_size}: must be at most {rows}, the training rows")
        alone = self.model.values_per_channel(*self.images.input_size(self.augmentation)) == 1
        if alone and 1 in (self.batch_size, rows % self.batch_size):
            raise ConfigError(
                f"VisionTrial.batch_size = {self.batch_size}: leaves a batch of one row of {rows}, and its last map is "
                f"one value, which batch normalisation cannot take; must be one that leaves none or more"
            )
