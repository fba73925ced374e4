"""The digits network in JAX: what its StableHLO modules are lowered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bytemlperf.zoo import Card
from bytemlperf.zoo.stablehlo import export_modules


def export_digits(card: Card, state: Mapping[str, Any], path: Path) -> None:
    export_modules(_logits, state, card, card.config["batch_sizes"], path)


def _logits(state: Mapping[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """image [B, 1, 8, 8] -> logits [B, 10]."""
    (x,) = inputs
    for name in ("conv1", "conv2"):
        x = jax.lax.conv_general_dilated(
            x, state[f"{name}.weight"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")
        )
        x = jax.nn.relu(x + state[f"{name}.bias"][:, None, None])
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(x.shape[0], -1) @ state["dense1.weight"].T + state["dense1.bias"]
    return [jax.nn.relu(x) @ state["dense2.weight"].T + state["dense2.bias"]]
