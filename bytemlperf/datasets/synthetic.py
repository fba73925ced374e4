"""Synthetic data for models without a data set, or without its files: realistic, not labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.zoo import Card, synthetic_feeds


class Synthetic:
    """``count`` samples drawn from the card's inputs: see :func:`zoo.synthetic_feeds`."""

    labelled = False
    sample_data = False

    def __init__(self, card: Card, count: int, seed: int) -> None:
        self.name = f"synthetic (seed {seed})"
        self._card = card
        self._count = count
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def feeds(self, samples: Sequence[int]) -> Feeds:
        return synthetic_feeds(self._card, samples, self._seed)

    def select(self, percent: float, seed: int) -> list[int]:
        return seeded_subset(self._count, percent, seed)

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """There is nothing to score."""
        return {}
