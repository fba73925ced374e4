"""CLIP of the transformers library: the whole model for zero-shot classes, or its text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import import_transformers, seed_or_load, transformers_folder
from bytemlperf.zoo.torch_build import from_torch

transformers = import_transformers()

_CLASSES = {"clip": "CLIPModel", "clip_text_model": "CLIPTextModel"}


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The library's own network."""
    kind = getattr(transformers, _CLASSES[config["model_type"]])
    return kind(transformers.AutoConfig.for_model(**config))


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a transformers folder.

    The text encoder of a Stable Diffusion pipeline is found in its folder ``text_encoder``.
    """
    if weights is not None and (weights / "model_index.json").exists():
        weights = weights / "text_encoder"
    model, origin = seed_or_load(
        card,
        seed,
        weights,
        lambda: network(card, config),
        transformers_folder(card, _CLASSES[config["model_type"]]),
    )
    module = {"clip": _ZeroShot, "clip_text_model": _Text}[config["model_type"]](model)
    return from_torch(
        module, card, kind=origin.kind, source=origin.source, tokenizer=origin.tokenizer
    )


class _ZeroShot(nn.Module):
    """Images [B, 3, H, W] and all classes' texts [C, L] -> logits [B, C]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=text, pixel_values=image).logits_per_image


class _Text(nn.Module):
    """Tokens [B, L] -> (states [B, L, H], the state at the end of the text [B, H])."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model(input_ids)
        return outputs.last_hidden_state, outputs.pooler_output
