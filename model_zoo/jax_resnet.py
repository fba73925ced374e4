"""ResNet-50 v1.5 in JAX, on the weights of the torch network: what StableHLO is lowered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bytemlperf.zoo import Card
from bytemlperf.zoo.stablehlo import export_modules

State = Mapping[str, Any]
_EPSILON = 1e-5
_STAGES = 4


def export_resnet(card: Card, model: Any, path: Path) -> None:
    """Write a ResNet with torchvision's names as StableHLO modules."""
    state = {
        name: tensor.numpy()
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    export_modules(_logits, state, card, card.config["batch_sizes"], path)


def _logits(state: State, inputs: Sequence[Any]) -> Sequence[Any]:
    """image [B, 3, H, W] -> logits [B, classes]."""
    x = _block(state, "conv1", "bn1", inputs[0], stride=2)
    x = jax.nn.relu(x)
    x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 1, 3, 3), (1, 1, 2, 2), [(0, 0), (0, 0), (1, 1), (1, 1)]
    )
    for stage in range(1, _STAGES + 1):
        for number in range(_blocks(state, stage)):
            stride = 2 if stage > 1 and number == 0 else 1
            x = _bottleneck(state, f"layer{stage}.{number}", x, stride)
    return [x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]]


def _blocks(state: State, stage: int) -> int:
    prefix = f"layer{stage}."
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith(prefix))


def _bottleneck(state: State, name: str, x: Any, stride: int) -> Any:
    """1x1, 3x3 with the stride (that is v1.5; v1 has it in the first 1x1), 1x1."""
    y = jax.nn.relu(_block(state, f"{name}.conv1", f"{name}.bn1", x))
    y = jax.nn.relu(_block(state, f"{name}.conv2", f"{name}.bn2", y, stride))
    y = _block(state, f"{name}.conv3", f"{name}.bn3", y)
    if f"{name}.downsample.0.weight" in state:
        x = _block(state, f"{name}.downsample.0", f"{name}.downsample.1", x, stride)
    return jax.nn.relu(x + y)


def _block(state: State, convolution: str, norm: str, x: Any, stride: int = 1) -> Any:
    """A padded convolution and its batch normalisation, with the running statistics."""
    weight = state[f"{convolution}.weight"]
    half = weight.shape[-1] // 2
    x = jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(half, half), (half, half)],
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    scale = state[f"{norm}.weight"] * jax.lax.rsqrt(state[f"{norm}.running_var"] + _EPSILON)
    shift = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]
