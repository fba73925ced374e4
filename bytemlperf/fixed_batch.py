"""For devices whose graphs are compiled for one batch size: the last, smaller batch is filled up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bytemlperf.backend import Feeds, Outputs
from bytemlperf.errors import BackendError

if TYPE_CHECKING:
    from bytemlperf.zoo import Card


def fill(feeds: Feeds, card: Card, batch_size: int) -> tuple[Feeds, int]:
    """Return feeds of exactly ``batch_size`` rows, and how many of them are real.

    The last row is repeated, so that what fills up is data that the model accepts.

    Raises:
        BackendError: for more rows than the device was loaded for.
    """
    batched = [tensor.name for tensor in card.inputs if tensor.batched]
    rows = len(feeds[batched[0]])
    if rows == batch_size:
        return feeds, rows
    if rows > batch_size:
        raise BackendError(f"{rows} samples for a graph that is loaded for {batch_size}")
    filled = dict(feeds)
    for name in batched:
        last = np.repeat(feeds[name][-1:], batch_size - rows, axis=0)
        filled[name] = np.concatenate([feeds[name], last])
    return filled, rows


def cut(outputs: Outputs, rows: int) -> Outputs:
    """Return the first ``rows`` rows of each output, contiguous."""
    return {name: np.ascontiguousarray(array[:rows]) for name, array in outputs.items()}
