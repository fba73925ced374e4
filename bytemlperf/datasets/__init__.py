"""Data sets: read the real files, preprocess, score. One module for each."""

from __future__ import annotations

from pathlib import Path

from bytemlperf.datasets.base import Dataset, Metric, ModelFacts
from bytemlperf.datasets.sources import SOURCES, Source
from bytemlperf.datasets.squad_features import Report
from bytemlperf.datasets.synthetic import Synthetic
from bytemlperf.errors import UsageError, did_you_mean

__all__ = ["SOURCES", "Dataset", "Metric", "Source", "Synthetic", "open_dataset"]

_SYNTHETIC_SAMPLES = 256


def open_dataset(
    model: ModelFacts,
    *,
    data_dir: Path | None = None,
    sample_data: bool = False,
    seed: int = 0,
    report: Report | None = None,
) -> Dataset:
    """Open the data set that the model's card names; synthetic data where it names none.

    Args:
        data_dir: folder with the real files, laid out as docs/datasets.md says.
        sample_data: take the package's small sample in the same format instead.
        seed: of synthetic data.
        report: called with the share of the preprocessing that is done.

    Raises:
        UsageError: where its files are not there, saying where they go.
    """
    name, card = model.card.dataset, model.card
    if name is None:
        return Synthetic(card, _SYNTHETIC_SAMPLES, seed)
    if name == "digits":
        from bytemlperf.datasets.digits import Digits

        return Digits(card.inputs[0].name)
    if name == "squad":
        from bytemlperf.datasets.squad import Squad

        return Squad.open(model, data_dir, sample_data=sample_data, report=report)
    if name not in SOURCES:
        known = ["digits", *SOURCES]
        raise UsageError(f"{card.name}: unknown data set {name!r}{did_you_mean(name, known)}")
    folder = SOURCES[name].require(_sample(name) if sample_data else data_dir)
    if name == "imagenet":
        from bytemlperf.datasets.imagenet import ImageNet

        return ImageNet(card, folder, sample_data=sample_data)
    if name == "cifar100":
        from bytemlperf.datasets.cifar import Cifar100

        return Cifar100(model, folder, sample_data=sample_data)
    if name == "cail2019":
        from bytemlperf.datasets.cail import Cail2019

        return Cail2019(model, folder, sample_data=sample_data)
    from bytemlperf.datasets.criteo import Criteo

    return Criteo(card, folder, sample_data=sample_data, report=report)


def _sample(name: str) -> Path:
    from bytemlperf.datasets.sample_files import write_sample

    return write_sample(name)
