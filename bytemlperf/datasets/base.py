"""The one shape that every data set has for the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bytemlperf.backend import Array, Feeds


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

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, float]:
        """Return the metrics; row i of each output belongs to ``samples[i]``. Fractions or percent
        as the field prints them, by the metric's usual name (``Top-1``, ``F1 Score``)."""
