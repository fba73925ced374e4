"""The one shape that every data set has for the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bytemlperf.backend import Array, Feeds
from bytemlperf.zoo import Card

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Metric:
    """A score as the field prints it (a fraction or percent), with its 95 % interval.

    Attributes:
        value: the score.
        low, high: its 95 % interval.
        n: items that were scored (questions for SQuAD, not features).
    """

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> Metric:
        """The same in another unit."""
        return Metric(factor * self.value, factor * self.low, factor * self.high, self.n)


def proportion(hits: float, n: int, scale: float = 1.0) -> Metric:
    """A share of hits with Wilson's 95 % score interval (Wilson, JASA 1927)."""
    if n == 0:
        return Metric(math.nan, math.nan, math.nan, 0)
    p, z2 = hits / n, Z95 * Z95 / n
    middle = (p + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    # Rounding must not leave the score itself outside.
    low, high = max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))
    return Metric(scale * p, scale * low, scale * high, n)


def mean_score(scores: Sequence[float], scale: float = 1.0) -> Metric:
    """The mean of scores in [0, 1] with a 95 % interval from the normal approximation.

    Where all scores are equal there is no variance to go by: then Wilson's interval of a share,
    which is wider, since no scores in [0, 1] vary more than zeros and ones.
    """
    n = len(scores)
    if n == 0 or min(scores) == max(scores):
        return proportion(math.fsum(scores), n, scale)
    mean = math.fsum(scores) / n
    variance = math.fsum((s - mean) ** 2 for s in scores) / max(1, n - 1)
    half = Z95 * math.sqrt(variance / n)
    return Metric(scale * mean, scale * max(0.0, mean - half), scale * min(1.0, mean + half), n)


class ModelFacts(Protocol):
    """What a data set has to know of a model: its card and its checkpoint's tokenizer."""

    @property
    def card(self) -> Card: ...
    @property
    def tokenizer(self) -> Path | None: ...


class Dataset(Protocol):
    """Preprocessed samples with a score.

    Samples are numbered from 0; every result is keyed by that number, so that it does not depend
    on how samples were batched.
    """

    @property
    def name(self) -> str:
        """What the report calls it, e.g. ``SQuAD v1.1``."""

    @property
    def labelled(self) -> bool:
        """False where there is nothing to score (synthetic data)."""

    @property
    def sample_data(self) -> bool:
        """True where the package's own small sample stands in for the real files."""

    def __len__(self) -> int:
        """Number of samples."""

    def feeds(self, samples: Sequence[int]) -> Feeds:
        """Return the model inputs of these samples, stacked in this order."""

    def select(self, percent: float, seed: int) -> list[int]:
        """Return the numbers of a seeded subset of ``percent`` of the data, ascending."""

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Return the metrics by their usual names; row i of each output is ``samples[i]``'s."""
