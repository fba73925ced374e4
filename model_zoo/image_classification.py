"""Image classifiers of the transformers library (Swin Transformer); ``config`` is the library's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load_transformers, transformers_network
from bytemlperf.zoo.torch_build import from_torch

_CLASS = "AutoModelForImageClassification"


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The library's own network."""
    return transformers_network(_CLASS, config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a transformers folder."""
    model, origin = seed_or_load_transformers(card, config, seed, weights, _CLASS)
    return from_torch(_Logits(model), card, kind=origin.kind, source=origin.source)


class _Logits(nn.Module):
    """Images [B, 3, H, W] -> logits [B, classes]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits
