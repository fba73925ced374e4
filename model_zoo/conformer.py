"""A Conformer encoder (Gulati et al. 2020) behind a convolutional front that quarters the time.

The task names its inputs and outputs and no sizes: twelve layers of 512 are this project's choice,
between the paper's medium and large. Positions are relative, as in Transformer-XL.
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
from bytemlperf.zoo.torch_build import from_torch


class FeedForward(nn.Module):
    """Half a step: [B, T, H] -> [B, T, H]."""

    def __init__(self, hidden: int, wide: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, wide), nn.Linear(wide, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.down(F.silu(self.up(self.norm(x))))


class RelativeAttention(nn.Module):
    """Self-attention whose scores have a term for content and one for distance (Dai et al. 2019)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, hidden // heads
        self.norm = nn.LayerNorm(hidden)
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.value, self.merge = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.position = nn.Linear(hidden, hidden, bias=False)
        self.content_bias = nn.Parameter(torch.empty(heads, self.size))
        self.position_bias = nn.Parameter(torch.empty(heads, self.size))
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, self.size)).transpose(-3, -2)

    def forward(
        self, x: torch.Tensor, distances: torch.Tensor, ignored: torch.Tensor
    ) -> torch.Tensor:
        """x [B, T, H]; distances [2T - 1, H] from T - 1 to 1 - T; ignored [B, T] bool."""
        x = self.norm(x)
        q, k, v = (self._split(f(x)) for f in (self.query, self.key, self.value))
        p = self._split(self.position(distances))
        content = (q + self.content_bias[:, None]) @ k.transpose(-1, -2)
        distance = _by_key((q + self.position_bias[:, None]) @ p.transpose(-1, -2))
        scores = (content + distance) / math.sqrt(self.size)
        scores = scores.masked_fill(ignored[:, None, None], -1e9)
        mixed = torch.softmax(scores, -1) @ v
        return self.merge(mixed.transpose(1, 2).flatten(2))


def _by_key(scores: torch.Tensor) -> torch.Tensor:
    """Scores by distance [B, h, T, 2T - 1] -> by key [B, h, T, T].

    Row i wants the distances i, i - 1, ...: padding each row by one and reading with the rows'
    old length shifts row i by i places.
    """
    batch, heads, time, width = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, width + 1, time)
    return padded[:, :, 1:].view(batch, heads, time, width)[..., :time]


class Convolution(nn.Module):
    """Gated pointwise, depthwise over time, pointwise: [B, T, H] -> [B, T, H]."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.gate = nn.Conv1d(hidden, 2 * hidden, 1)
        self.depthwise = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.batch_norm = nn.BatchNorm1d(hidden)
        self.pointwise = nn.Conv1d(hidden, hidden, 1)

    def forward(self, x: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
        y = F.glu(self.gate(self.norm(x).transpose(1, 2)), dim=1)
        y = self.depthwise(y.masked_fill(ignored[:, None], 0.0))
        return self.pointwise(F.silu(self.batch_norm(y))).transpose(1, 2)


class Layer(nn.Module):
    """Feed-forward, attention, convolution, feed-forward, each added; then a normalisation."""

    def __init__(self, hidden: int, heads: int, wide: int, kernel: int) -> None:
        super().__init__()
        self.first, self.second = FeedForward(hidden, wide), FeedForward(hidden, wide)
        self.attention = RelativeAttention(hidden, heads)
        self.convolution = Convolution(hidden, kernel)
        self.norm = nn.LayerNorm(hidden)

    def forward(
        self, x: torch.Tensor, distances: torch.Tensor, ignored: torch.Tensor
    ) -> torch.Tensor:
        x = x + self.first(x)
        x = x + self.attention(x, distances, ignored)
        x = x + self.convolution(x, ignored)
        return self.norm(x + self.second(x))


class Conformer(nn.Module):
    """The whole encoder."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.hidden = hidden = config["hidden"]
        self.front = nn.Sequential(
            nn.Conv2d(config["channels"], hidden, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, 2, 1),
            nn.ReLU(),
        )
        self.project = nn.Linear(hidden * config["bins"] // 4, hidden)
        self.layers = nn.ModuleList(
            Layer(hidden, config["heads"], config["feed_forward"], config["kernel"])
            for _ in range(config["layers"])
        )

    def forward(self, src: torch.Tensor, src_pad_mask: torch.Tensor) -> torch.Tensor:
        """[B, C, bins, 4 T] and a mask [B, T], true where there is only padding -> [B, T, H]."""
        x = self.front(src).permute(0, 3, 1, 2).flatten(2)
        x = self.project(x)
        distances = _sinusoids(x.shape[1], self.hidden)
        for layer in self.layers:
            x = layer(x, distances, src_pad_mask)
        return x


def _sinusoids(time: int, hidden: int) -> torch.Tensor:
    """Return [2 time - 1, hidden]: the distances time - 1 to 1 - time as sines and cosines."""
    distance = torch.arange(time - 1, -time, -1, dtype=torch.float32)
    frequency = torch.exp(torch.arange(0, hidden, 2) * (-math.log(10000.0) / hidden))
    angle = distance[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The torch network."""
    return Conformer(config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a state with this network's names."""
    net, origin = seed_or_load(card, seed, weights, lambda: network(card, config))
    return from_torch(net, card, kind=origin.kind, source=origin.source)
