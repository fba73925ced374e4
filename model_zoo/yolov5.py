"""YOLOv5s 6.x, written from its published table of layers: backbone, two-way neck, three heads.

Every convolution is followed by batch normalisation and SiLU. ``width`` is the number of channels
of the first layer, ``depth`` scales the repeats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load
from bytemlperf.zoo.torch_build import calibrate_batch_norm, from_torch

STRIDES = (8, 16, 32)
# Width and height of the three boxes that each head starts from, in pixels.
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
BOXES = 3


class Conv(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        padding = 2 if kernel == 6 else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, and added to the input in the backbone."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels), Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Two halves, one through bottlenecks, joined by a third convolution."""

    def __init__(self, inputs: int, outputs: int, repeats: int, *, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv2, self.cv3 = (
            Conv(inputs, half),
            Conv(inputs, half),
            Conv(outputs, outputs),
        )
        self.m = nn.Sequential(*(Bottleneck(half, shortcut=shortcut) for _ in range(repeats)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))


class Pyramid(nn.Module):
    """Maxima over 5, 9 and 13 pixels, by pooling over 5 once, twice and three times."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels // 2), Conv(2 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [self.cv1(x)]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        return self.cv2(torch.cat(pooled, dim=1))


class YoloV5(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> boxes [B, N, 5 + classes], and the three heads' raw maps."""

    def __init__(self, width: int, depth: int, classes: int) -> None:
        super().__init__()
        w, n = width, depth
        self.values = 5 + classes
        self.backbone3 = nn.Sequential(
            Conv(3, w, 6, 2),
            Conv(w, 2 * w, 3, 2),
            C3(2 * w, 2 * w, n),
            Conv(2 * w, 4 * w, 3, 2),
            C3(4 * w, 4 * w, 2 * n),
        )
        self.backbone4 = nn.Sequential(Conv(4 * w, 8 * w, 3, 2), C3(8 * w, 8 * w, 3 * n))
        self.backbone5 = nn.Sequential(
            Conv(8 * w, 16 * w, 3, 2), C3(16 * w, 16 * w, n), Pyramid(16 * w)
        )
        self.lateral5, self.lateral4 = Conv(16 * w, 8 * w), Conv(8 * w, 4 * w)
        self.up4 = C3(16 * w, 8 * w, n, shortcut=False)
        self.up3 = C3(8 * w, 4 * w, n, shortcut=False)
        self.down3, self.down4 = Conv(4 * w, 4 * w, 3, 2), Conv(8 * w, 8 * w, 3, 2)
        self.out4 = C3(8 * w, 8 * w, n, shortcut=False)
        self.out5 = C3(16 * w, 16 * w, n, shortcut=False)
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, BOXES * self.values, 1) for channels in (4 * w, 8 * w, 16 * w)
        )
        for head, stride in zip(self.heads, STRIDES, strict=True):
            _expect_few(head, stride, classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        p3 = self.backbone3(images)
        p4 = self.backbone4(p3)
        lateral5 = self.lateral5(self.backbone5(p4))
        lateral4 = self.lateral4(self.up4(torch.cat([_double(lateral5), p4], dim=1)))
        small = self.up3(torch.cat([_double(lateral4), p3], dim=1))
        middle = self.out4(torch.cat([self.down3(small), lateral4], dim=1))
        large = self.out5(torch.cat([self.down4(middle), lateral5], dim=1))
        maps, boxes = [], []
        for i, x in enumerate((small, middle, large)):
            raw = self.heads[i](x).unflatten(1, (BOXES, self.values)).permute(0, 1, 3, 4, 2)
            maps.append(raw)
            boxes.append(_decode(raw, STRIDES[i], ANCHORS[i]))
        return (torch.cat(boxes, dim=1), *maps)


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _decode(raw: torch.Tensor, stride: int, anchors: Any) -> torch.Tensor:
    """Raw map [B, 3, h, w, 5 + classes] -> [B, 3 h w, 5 + classes]: boxes in pixels, scores.

    Centre = (2 s - 1/2 + cell) stride and size = (2 s)^2 anchor, where s is the sigmoid.
    """
    height, width = raw.shape[2:4]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([x, y], dim=-1).to(raw.dtype) - 0.5
    sizes = torch.tensor(anchors, dtype=raw.dtype)[:, None, None]
    s = torch.sigmoid(raw)
    centre = (2.0 * s[..., :2] + cells) * stride
    size = (2.0 * s[..., 2:4]) ** 2 * sizes
    return torch.cat([centre, size, s[..., 4:]], dim=-1).flatten(1, 3)


def _expect_few(head: nn.Conv2d, stride: int, classes: int) -> None:
    """Begin with the scores of some 8 objects in an image of 640 pixels, as training does."""
    with torch.no_grad():
        bias = head.bias.view(BOXES, -1)
        bias[:, 4] += math.log(8 / (640 / stride) ** 2)
        bias[:, 5:] += math.log(0.6 / (classes - 0.99))


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The torch network."""
    return YoloV5(config["width"], config["depth"], config["classes"])


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a state with this network's names."""
    net, origin = seed_or_load(card, seed, weights, lambda: network(card, config))
    if origin.kind == "seeded":
        calibrate_batch_norm(net, card, seed)
    return from_torch(net, card, kind=origin.kind, source=origin.source)
