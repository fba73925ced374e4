"""The model zoo's mechanism: card -> build -> export -> verify -> cache."""

from __future__ import annotations

from bytemlperf.host import cache_root
from bytemlperf.zoo.built import Built, state_sha256
from bytemlperf.zoo.card import Card, Tensor
from bytemlperf.zoo.cards import list_cards, load_card
from bytemlperf.zoo.fetch import fetch_checkpoint
from bytemlperf.zoo.model import Model, Weights
from bytemlperf.zoo.opening import open_model
from bytemlperf.zoo.synthetic import synthetic_feeds
from bytemlperf.zoo.to_onnx import to_onnx

__all__ = [
    "Built",
    "Card",
    "Model",
    "Tensor",
    "Weights",
    "cache_root",
    "fetch_checkpoint",
    "list_cards",
    "load_card",
    "open_model",
    "state_sha256",
    "synthetic_feeds",
    "to_onnx",
]
