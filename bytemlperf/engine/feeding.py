"""From a data set's feeds to the samples that the load generator takes."""

from __future__ import annotations

from bytemlperf.backend import Array, Feeds
from bytemlperf.columns import Shared
from bytemlperf.zoo import Card


def columns(card: Card, feeds: Feeds) -> dict[str, Array | Shared]:
    """Return inputs whose rows are samples, and those that every batch shares."""
    return {
        tensor.name: feeds[tensor.name] if tensor.batched else Shared(feeds[tensor.name])
        for tensor in card.inputs
    }
