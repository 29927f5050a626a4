"""Four well-known networks in plain torch, written down from their papers, with all sizes as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; the stride is at the 3x3."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: Any = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet50(nn.Module):
    """He, Zhang, Ren and Sun, Deep Residual Learning, 2015."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            blocks = [Bottleneck(inputs, width, 1 if i == 0 else 2)]
            blocks += [Bottleneck(4 * width, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = 4 * width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class DenseLayer(nn.Module):
    """Normalise, then convolve, what all layers before have made."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        y = self.conv1(self.relu1(self.norm1(torch.cat(list(parts), 1))))
        return self.conv2(self.relu2(self.norm2(y)))


class DenseBlock(nn.ModuleDict):
    """Layers that all read everything before them."""

    def __init__(self, inputs: int, growth: int, count: int) -> None:
        layers = [DenseLayer(inputs + i * growth, growth) for i in range(count)]
        super().__init__({f"denselayer{i + 1}": layer for i, layer in enumerate(layers)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x]
        for layer in self.values():
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class DenseNet121(nn.Module):
    """Huang, Liu, van der Maaten and Weinberger, Densely Connected Networks, 2016."""

    def __init__(self, classes: int = 1000, growth: int = 32) -> None:
        super().__init__()
        width = 64
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, width, 7, 2, 3, bias=False),
            "norm0": nn.BatchNorm2d(width),
            "relu0": nn.ReLU(inplace=True),
            "pool0": nn.MaxPool2d(3, 2, 1),
        }
        for i, count in enumerate((6, 12, 24, 16)):
            parts[f"denseblock{i + 1}"] = DenseBlock(width, growth, count)
            width += count * growth
            if i < 3:
                norm, convolution = nn.BatchNorm2d(width), nn.Conv2d(width, width // 2, 1, bias=False)
                parts[f"transition{i + 1}"] = nn.Sequential(
                    norm, nn.ReLU(inplace=True), convolution, nn.AvgPool2d(2)
                )
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential()
        for name, part in parts.items():
            self.features.add_module(name, part)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu(self.features(x), inplace=True)
        y = nn.functional.adaptive_avg_pool2d(y, (1, 1))
        return self.classifier(torch.flatten(y, 1))


class VGG16BN(nn.Module):
    """Simonyan and Zisserman, Very Deep Networks, 2014; with batch norm.

    Args:
        size: of the images, a multiple of 32. hidden: units of the two hidden layers.
    """

    def __init__(self, classes: int = 1000, size: int = 224, hidden: int = 4096) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                convolution = nn.Conv2d(inputs, width, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(size // 32)
        self.classifier = nn.Sequential(
            nn.Linear(512 * (size // 32) ** 2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def convolved(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Wider, depthwise, narrow again; with a shortcut where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [convolved(inputs, width, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *layers,
            convolved(width, width, 3, stride, width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2, 2018."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolved(3, 32, 3, 2)]
        inputs = 32
        settings = (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
            (6, 320, 1, 1),
        )  # fmt: skip
        for expansion, outputs, count, stride in settings:
            for i in range(count):
                layers.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        layers.append(convolved(inputs, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """With parameters as of a net that has learned, and statistics that are not what they start with."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            shape = part.weight.shape
            part.weight.data = 0.5 + torch.rand(shape, generator=generator)
            part.bias.data = 0.2 * torch.randn(shape, generator=generator)
            part.running_mean = 0.3 * torch.randn(shape, generator=generator)
            part.running_var = 0.5 + torch.rand(shape, generator=generator)
        elif isinstance(part, nn.Conv2d | nn.Linear):
            fan = part.weight[0].numel()
            part.weight.data = torch.randn(part.weight.shape, generator=generator) * fan**-0.5
            if part.bias is not None:
                part.bias.data = 0.1 * torch.randn(part.bias.shape, generator=generator)
    return module.eval()
