"""Encoders with a span head for question answering: BERT, ALBERT, RoBERTa, DeBERTa.

The architectures are those of transformers; a card's ``config`` is the library's. The library's
own initialisation (normal, standard deviation 0.02) is kept: behind layer normalisation it gives
logits that spread by about 0.5 between tokens and inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from bytemlperf.model_zoo.tf_encoder import export_span_encoder
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load_transformers, transformers_network
from bytemlperf.zoo.torch_build import from_torch

_CLASS = "AutoModelForQuestionAnswering"


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The library's own network."""
    return transformers_network(_CLASS, config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build from the architecture with seeded weights, or load a transformers folder.

    The card of a TensorFlow or StableHLO model gets the same network written out in TensorFlow or
    JAX, with the same weights; its reference is the torch network.
    """
    model, origin = seed_or_load_transformers(card, config, seed, weights, _CLASS)
    spans = _Spans(model, stacked=len(card.outputs) == 1)
    export = None
    if card.framework == "tensorflow":

        def export(path: Path) -> None:
            export_span_encoder(card, model, path)

    elif card.framework == "mhlo":
        from bytemlperf.model_zoo.jax_bert import export_bert

        def export(path: Path) -> None:
            export_bert(card, model, path)

    return from_torch(
        spans,
        card,
        kind=origin.kind,
        source=origin.source,
        tokenizer=origin.tokenizer,
        export=export,
    )


class _Spans(nn.Module):
    """Three tensors in; start and end logits [B, L] out, or both as one [B, L, 2]."""

    def __init__(self, model: Any, *, stacked: bool) -> None:
        super().__init__()
        self.model = model
        self.stacked = stacked

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> Any:
        outputs = self.model(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        if self.stacked:
            return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
        return outputs.start_logits, outputs.end_logits
