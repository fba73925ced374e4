"""Calibration data as the vendor's builder reads it: a torch loader of dictionaries."""

from __future__ import annotations

from typing import Any

from bytemlperf.backend import Feeds
from bytemlperf.datasets import Dataset
from bytemlperf.extras import require
from bytemlperf.zoo import Card, synthetic_feeds


def calibration_loader(card: Card, dataset: Dataset | None, batch_size: int, batches: int) -> Any:
    """Return a loader of ``batches`` batches: of the data set, else of synthetic samples."""
    data = require("torch.utils.data", extra="torch", purpose="calibration for the S30")
    count = batches * batch_size

    class Samples(data.Dataset):  # type: ignore[name-defined,misc]
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Feeds:
            if index >= count:
                raise IndexError(index)
            if dataset is not None:
                feeds = dataset.feeds([index % len(dataset)])
            else:
                feeds = synthetic_feeds(card, [index], seed=0)
            return {t.name: feeds[t.name][0] if t.batched else feeds[t.name] for t in card.inputs}

    return data.DataLoader(Samples(), batch_size=batch_size)
