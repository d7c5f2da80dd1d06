"""ResNet-18 without torchvision, which a bare GPU machine lacks: the same layers under the same names."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainables.baselines.resnet import CHANNELS, WIDTHS, ResNet18
from trainables.engine.randomness import WEIGHTS_STREAM, torch_seeded


@dataclass(frozen=True, kw_only=True)
class ResNet18ByHand(ResNet18):
    """ResNet-18 (He et al. 2016), initialised as torchvision's."""

    def network(self, classes: int, seed: int) -> nn.Module:
        with torch_seeded(seed, WEIGHTS_STREAM):
            return _Network(classes, small=self.stem == "cifar")


class _Network(nn.Module):
    def __init__(self, classes: int, *, small: bool) -> None:
        super().__init__()
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(CHANNELS, WIDTHS[0], kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        for number, (inputs, outputs) in enumerate(pairwise((WIDTHS[0], *WIDTHS)), start=1):
            blocks = nn.Sequential(_Block(inputs, outputs), _Block(outputs, outputs))
            self.add_module(f"layer{number}", blocks)
        self.fc = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(torch.relu_(self.bn1(self.conv1(images))))
        for number in range(1, len(WIDTHS) + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.fc(maps.mean((2, 3)))


class _Block(nn.Module):
    """Two convolutions and a shortcut; more channels come with half the positions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(maps)))))
        return torch.relu_(maps + shortcut)
