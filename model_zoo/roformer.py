"""RoFormer (rotary positions) that scores how similar two texts are, from the first token.

The encoder is the one of transformers; the head is one unit and a sigmoid. In TensorFlow it is
written out with the same weights; its reference is the torch network. Token ids and segments come
as floats, which is how this task has always fed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from bytemlperf.model_zoo.tf_encoder import export_similarity_encoder
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import import_transformers, seed_or_load
from bytemlperf.zoo.torch_build import from_torch

transformers = import_transformers()

PAD = 0


class Similarity(nn.Module):
    """Names as in a checkpoint: ``roformer.*`` as transformers has them, and ``score``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.roformer = transformers.RoFormerModel(
            transformers.AutoConfig.for_model(**config, attn_implementation="eager")
        )
        self.score = nn.Linear(config["hidden_size"], 1)

    def forward(self, segments: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """[B, L] float32 twice -> similarity [B, 1] in (0, 1)."""
        ids = ids.long()
        encoded = self.roformer(
            ids, attention_mask=(ids != PAD).long(), token_type_ids=segments.long()
        )
        return torch.sigmoid(self.score(encoded.last_hidden_state[:, 0]))


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The whole network, in torch."""
    return Similarity(config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a state with this network's names."""
    model, origin = seed_or_load(card, seed, weights, lambda: network(card, config))
    return from_torch(
        model,
        card,
        kind=origin.kind,
        source=origin.source,
        tokenizer=origin.tokenizer,
        export=lambda path: export_similarity_encoder(card, model.roformer, model.score, path),
    )
