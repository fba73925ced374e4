"""ResNet-50 v1.5: He et al. 2015, with the stride of a stage in its 3x3 convolution.

The torch network has torchvision's names, so that its checkpoints load as they are. In TensorFlow
and in JAX (for StableHLO) the same network is written out with the same weights; its reference is
the torch network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load
from bytemlperf.zoo.tf_build import export_saved_model, import_tensorflow, torch_state
from bytemlperf.zoo.torch_build import calibrate_batch_norm, from_torch

EXPANSION = 4
EPSILON = 1e-5

# The TensorFlow task feeds R, G, B minus these; the weights expect them scaled as torch's task does.
TF_MEAN = (123.68, 116.78, 103.94)
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, added to the input."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images [B, 3, H, W], normalised -> logits [B, classes]."""

    def __init__(self, layers: list[int], width: int, classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for number, blocks in enumerate(layers, 1):
            stage, stride = width << (number - 1), 1 if number == 1 else 2
            parts = [Bottleneck(inputs, stage, stride)]
            inputs = EXPANSION * stage
            parts += [Bottleneck(inputs, stage, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(images)))
        x = F.max_pool2d(x, 3, 2, 1)
        for number in range(1, len(self.layers) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class TensorFlowTask(nn.Module):
    """Images as the TensorFlow task has them -> probabilities, class 0 of which is background.

    [B, H, W, 3] minus TF_MEAN -> [B, 1 + classes]. The weights know no background: it gets 0.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shift, scale = (torch.tensor(x, dtype=torch.float32) for x in _to_torch_task())
        logits = self.net(((images + shift) * scale).permute(0, 3, 1, 2))
        return F.pad(torch.softmax(logits, -1), (1, 0))


def _to_torch_task() -> tuple[list[float], list[float]]:
    """Return (shift, scale) by channel that turn the TensorFlow task's images into torch's."""
    shift = [a - 255.0 * b for a, b in zip(TF_MEAN, TORCH_MEAN, strict=True)]
    return shift, [1.0 / (255.0 * std) for std in TORCH_STD]


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The torch network."""
    return ResNet(config["layers"], config["width"], config["classes"])


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a state with torchvision's names."""
    net, origin = seed_or_load(card, seed, weights, lambda: network(card, config))
    module, export = net, None
    if card.framework == "tensorflow":
        module = TensorFlowTask(net)

        def export(path: Path) -> None:
            export_saved_model(card, torch_state(net), _forward(config["layers"]), path)

    elif card.framework == "mhlo":
        from bytemlperf.model_zoo.jax_resnet import export_resnet

        def export(path: Path) -> None:
            export_resnet(card, net, path)

    if origin.kind == "seeded":
        calibrate_batch_norm(module, card, seed)
    return from_torch(module, card, kind=origin.kind, source=origin.source, export=export)


def _forward(layers: list[int]) -> Any:
    """The network in TensorFlow, on the TensorFlow task's images."""
    tf = import_tensorflow()

    def conv(w: Any, name: str, norm: str, x: Any, stride: int = 1) -> Any:
        kernel = w[f"{name}.weight"]
        # Padding is on both sides, as in torch: "SAME" would pad a stride of 2 on one side only.
        pad = kernel.shape[0] // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if pad else x
        x = tf.nn.conv2d(x, kernel, stride, "VALID")
        scale, offset = w[f"{norm}.weight"], w[f"{norm}.bias"]
        mean, variance = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
        return tf.nn.batch_normalization(x, mean, variance, offset, scale, EPSILON)

    def block(w: Any, name: str, x: Any, stride: int) -> Any:
        y = tf.nn.relu(conv(w, f"{name}.conv1", f"{name}.bn1", x))
        y = tf.nn.relu(conv(w, f"{name}.conv2", f"{name}.bn2", y, stride))
        y = conv(w, f"{name}.conv3", f"{name}.bn3", y)
        if f"{name}.downsample.0.weight" in w:
            x = conv(w, f"{name}.downsample.0", f"{name}.downsample.1", x, stride)
        return tf.nn.relu(x + y)

    def forward(w: Any, inputs: list[Any]) -> list[Any]:
        shift, scale = _to_torch_task()
        x = tf.nn.relu(conv(w, "conv1", "bn1", (inputs[0] + shift) * scale, 2))
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])  # zeros are below no rectified value
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        for number, blocks in enumerate(layers, 1):
            for i in range(blocks):
                x = block(w, f"layer{number}.{i}", x, 2 if number > 1 and i == 0 else 1)
        logits = tf.matmul(tf.reduce_mean(x, [1, 2]), w["fc.weight"]) + w["fc.bias"]
        return [tf.pad(tf.nn.softmax(logits), [[0, 0], [1, 0]])]

    return forward
