"""ChatGLM2: a decoder with two groups of keys and values, half-rotated positions, SwiGLU.

Its modules have the names of the published checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Cache = list[tuple[torch.Tensor, torch.Tensor]]

_ROPE_BASE = 10000.0


class Attention(nn.Module):
    """Causal attention whose query heads share ``groups`` heads of keys and values."""

    def __init__(self, hidden: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, hidden // heads
        self.query_key_value = nn.Linear(hidden, hidden + 2 * groups * self.size)
        self.dense = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: torch.Tensor, rotation: torch.Tensor, past: Any) -> tuple[Any, Any]:
        widths = [self.heads * self.size, self.groups * self.size, self.groups * self.size]
        parts = self.query_key_value(x).split(widths, -1)
        query, key, value = (p.unflatten(-1, (-1, self.size)).transpose(1, 2) for p in parts)
        query, key = _rotate(query, rotation), _rotate(key, rotation)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        # A single new token sees everything before it.
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=past is None, enable_gqa=True
        )
        return self.dense(mixed.transpose(1, 2).flatten(2)), (key, value)


def _rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotate pairs of neighbours in the first half of each head; the second stays.

    Args:
        rotation: cosines and sines [length, size / 4, 2].
    """
    half = x.shape[-1] // 2
    pairs, (cos, sin) = x[..., :half].unflatten(-1, (-1, 2)), rotation.unbind(-1)
    even, odd = pairs.unbind(-1)
    rotated = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1)
    return torch.cat([rotated.flatten(-2), x[..., half:]], -1)


class MLP(nn.Module):
    """SwiGLU, its two projections up in one matrix."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(hidden, 2 * inner, bias=False)
        self.dense_4h_to_h = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.dense_h_to_4h(x).chunk(2, -1)
        return self.dense_4h_to_h(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, epsilon = config["hidden_size"], config["layernorm_epsilon"]
        self.input_layernorm = nn.RMSNorm(hidden, epsilon)
        self.self_attention = Attention(
            hidden, config["num_attention_heads"], config["multi_query_group_num"]
        )
        self.post_attention_layernorm = nn.RMSNorm(hidden, epsilon)
        self.mlp = MLP(hidden, config["ffn_hidden_size"])

    def forward(self, x: torch.Tensor, rotation: torch.Tensor, past: Any) -> tuple[Any, Any]:
        mixed, present = self.self_attention(self.input_layernorm(x), rotation, past)
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x)), present


class ChatGLM2(nn.Module):
    """Token ids [B, n] and a cache -> logits [B, vocabulary] after the last, and the cache."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, vocabulary = config["hidden_size"], config["padded_vocab_size"]
        self.size = hidden // config["num_attention_heads"]
        embedding, encoder = nn.Module(), nn.Module()
        embedding.word_embeddings = nn.Embedding(vocabulary, hidden)
        encoder.layers = nn.ModuleList(Layer(config) for _ in range(config["num_layers"]))
        encoder.final_layernorm = nn.RMSNorm(hidden, config["layernorm_epsilon"])
        self.transformer = nn.Module()
        self.transformer.embedding, self.transformer.encoder = embedding, encoder
        self.transformer.output_layer = nn.Linear(hidden, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor, cache: Cache | None) -> tuple[torch.Tensor, Cache]:
        encoder: Any = self.transformer.encoder
        x = self.transformer.embedding.word_embeddings(ids)
        begin = 0 if cache is None else cache[0][0].shape[2]
        rotation = self._rotation(begin, ids.shape[1]).to(x.dtype)
        presents: Cache = []
        for number, layer in enumerate(encoder.layers):
            x, present = layer(x, rotation, None if cache is None else cache[number])
            presents.append(present)
        return self.transformer.output_layer(encoder.final_layernorm(x[:, -1])), presents

    def _rotation(self, begin: int, count: int) -> torch.Tensor:
        half = self.size // 2
        frequency = _ROPE_BASE ** -(torch.arange(0, half, 2, dtype=torch.float32) / half)
        angle = torch.outer(torch.arange(begin, begin + count, dtype=torch.float32), frequency)
        return torch.stack([angle.cos(), angle.sin()], -1)
