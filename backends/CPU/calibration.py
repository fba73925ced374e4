"""Samples that activations' ranges are calibrated on."""

from __future__ import annotations

from collections.abc import Iterator

from bytemlperf.backend import CompileConfig, Feeds
from bytemlperf.datasets import Dataset, Synthetic

_SAMPLES = 256
_BATCH = 8


def calibration_feeds(config: CompileConfig, dataset: Dataset | None) -> Iterator[Feeds]:
    """Batches of the data set, or of synthetic samples where it is not open."""
    seed = config.workload.seed
    data = dataset or Synthetic(config.model.card, _SAMPLES, seed)
    numbers = data.select(min(100.0, 100.0 * _SAMPLES / len(data)), seed)
    return (data.feeds(numbers[i : i + _BATCH]) for i in range(0, len(numbers), _BATCH))
