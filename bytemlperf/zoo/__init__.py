"""The model zoo's mechanism: card -> build -> export -> verify -> cache."""

from __future__ import annotations

from bytemlperf.zoo.card import Card, Tensor
from bytemlperf.zoo.model import Model, Weights

__all__ = ["Card", "Model", "Tensor", "Weights"]
