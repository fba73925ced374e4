"""Handwritten digits, 8x8 (UCI optical recognition, the test part), from scikit-learn's package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, proportion
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.extras import require

_TEST_SHARE = 0.3


@cache
def split() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return (train images, labels), (held-out images, labels).

    Images are float32 [n, 1, 8, 8] in [0, 1]. The split is fixed: in each class a permutation
    seeded with 0 sets 30 % aside.
    """
    sklearn = require("sklearn.datasets", extra="data", purpose="the digits data set")
    data = sklearn.load_digits()
    images = (data.images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = np.asarray(data.target, np.int64)
    rng = np.random.default_rng(0)
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        members = rng.permutation(np.nonzero(labels == digit)[0])
        held_out[members[: round(_TEST_SHARE * len(members))]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


class Digits:
    """The held-out part; Top-1 over logits."""

    name = "Digits 8x8 (held out)"
    labelled = True
    sample_data = False

    def __init__(self, input_name: str) -> None:
        self._input = input_name
        self._images, self._labels = split()[1]

    def __len__(self) -> int:
        return len(self._labels)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        return {self._input: self._images[list(samples)]}

    def select(self, percent: float, seed: int) -> list[int]:
        return seeded_subset(len(self), percent, seed)

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Top-1: share of samples whose largest logit is the label's."""
        guesses = next(iter(outputs.values())).argmax(axis=1)
        hits = int((guesses == self._labels[list(samples)]).sum())
        return {"Top-1": proportion(hits, len(samples))}
