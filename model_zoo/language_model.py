"""Causal language models of the transformers library (GPT-2); ``config`` is the library's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load_transformers, transformers_network
from bytemlperf.zoo.torch_build import from_torch

_CLASS = "AutoModelForCausalLM"


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The library's own network."""
    return transformers_network(_CLASS, config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a transformers folder."""
    model, origin = seed_or_load_transformers(card, config, seed, weights, _CLASS)
    return from_torch(_NextToken(model), card, kind=origin.kind, source=origin.source)


class _NextToken(nn.Module):
    """Prompts [B, L] -> logits of the token that follows each, [B, vocabulary].

    What serving a prompt computes. Logits of every position would be 77 MB a sample for GPT-2,
    and a benchmark of copying them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, use_cache=False, logits_to_keep=1).logits[:, 0]
