"""Data sets: read the real files, preprocess, score. One module for each."""

from __future__ import annotations

from pathlib import Path

from bytemlperf.datasets.base import Dataset, Metric
from bytemlperf.datasets.synthetic import Synthetic
from bytemlperf.errors import UsageError
from bytemlperf.zoo import Model

__all__ = ["Dataset", "Metric", "Synthetic", "open_dataset"]

_SYNTHETIC_SAMPLES = 256


def open_dataset(
    model: Model, *, data_dir: Path | None = None, sample_data: bool = False, seed: int = 0
) -> Dataset:
    """Open the data set that the model's card names; synthetic data where it names none.

    Raises:
        UsageError: where its files are not there, saying where they go.
    """
    name = model.card.dataset
    if name is None:
        return Synthetic(model.card, _SYNTHETIC_SAMPLES, seed)
    if name == "digits":
        from bytemlperf.datasets.digits import Digits

        return Digits(model.card.inputs[0].name)
    if name == "squad":
        from bytemlperf.datasets.squad import Squad

        return Squad.open(model, data_dir, sample_data=sample_data)
    raise UsageError(f"{model.card.name}: unknown data set {name!r}: 'squad', 'digits' or null")
