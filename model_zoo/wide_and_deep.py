"""Wide & Deep (Cheng et al. 2016) for click prediction, in torch and in TensorFlow.

Each of the table's categorical columns is hashed into buckets. Wide: a weight for each bucket and
each numeric column. Deep: an embedding for each bucket, beside the numeric columns, through
rectified layers. Their sum is the logit of a click.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bytemlperf.zoo import Built, Card
from bytemlperf.zoo.checkpoint import seed_or_load
from bytemlperf.zoo.tf_build import export_saved_model, import_tensorflow, torch_state
from bytemlperf.zoo.torch_build import from_torch


class WideAndDeep(nn.Module):
    """The reference; the parameters of all columns lie in one table of columns x buckets rows."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        columns, numeric = config["columns"], config["numeric"]
        self.buckets = config["buckets"]
        self.wide = nn.Embedding(columns * self.buckets, 1)
        self.wide_numeric = nn.Linear(numeric, 1, bias=False)
        self.embedding = nn.Embedding(columns * self.buckets, config["embedding"])
        sizes = [columns * config["embedding"] + numeric, *config["hidden"]]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.deep = nn.Linear(sizes[-1], 1)

    def forward(self, categorical: torch.Tensor, numeric: torch.Tensor) -> torch.Tensor:
        """[B, columns, 2] of (column, bucket), [B, numeric] -> (no click, click) [B, 2]."""
        rows = categorical[..., 0] * self.buckets + categorical[..., 1]
        x = torch.cat([self.embedding(rows).flatten(1), numeric], dim=1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        logit = self.deep(x) + self.wide(rows).sum(1) + self.wide_numeric(numeric)
        return torch.cat([torch.sigmoid(-logit), torch.sigmoid(logit)], dim=1)


def network(card: Card, config: Mapping[str, Any]) -> nn.Module:
    """The torch network."""
    return WideAndDeep(config)


def build(card: Card, config: Mapping[str, Any], seed: int, weights: Path | None) -> Built:
    """Build with seeded weights, or load a state with this network's names."""
    net, origin = seed_or_load(card, seed, weights, lambda: network(card, config))
    layers, buckets = len(config["hidden"]), config["buckets"]

    def export(path: Path) -> None:
        export_saved_model(card, torch_state(net), _forward(layers, buckets), path)

    return from_torch(net, card, kind=origin.kind, source=origin.source, export=export)


def _forward(layers: int, buckets: int) -> Any:
    """The network in TensorFlow."""
    tf = import_tensorflow()

    def forward(w: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        categorical, numeric = inputs
        rows = categorical[..., 0] * buckets + categorical[..., 1]
        embedded = tf.gather(w["embedding.weight"], rows)
        x = tf.reshape(embedded, [-1, embedded.shape[1] * embedded.shape[2]])
        x = tf.concat([x, numeric], axis=1)
        for i in range(layers):
            x = tf.nn.relu(tf.matmul(x, w[f"hidden.{i}.weight"]) + w[f"hidden.{i}.bias"])
        deep = tf.matmul(x, w["deep.weight"]) + w["deep.bias"]
        wide = tf.reduce_sum(tf.gather(w["wide.weight"], rows), axis=1)
        logit = deep + wide + tf.matmul(numeric, w["wide_numeric.weight"])
        return [tf.concat([tf.sigmoid(-logit), tf.sigmoid(logit)], axis=1)]

    return forward
