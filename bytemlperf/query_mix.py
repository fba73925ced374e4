"""Queries of different sizes, and which samples each takes: a mix made ready before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.errors import UsageError
from bytemlperf.samples import Columns, Shared, feeds_of_rows


def mix_queries(
    samples: Mapping[str, Array | Shared],
    sizes: Mapping[int, float],
    *,
    count: int = 1024,
    order: Literal["random", "sequential"] = "random",
    seed: int = 0,
) -> list[Feeds]:
    """Return ready queries of a mix, for ``LoadGenerator(backend, samples=...)``.

    The generator walks the list again and again. A query's rows lie side by side and are views,
    except where they wrap around the end; nothing is made during the run.

    Args:
        samples: ``{name: array}`` whose rows are samples, and :class:`Shared` ones.
        sizes: samples a query and their weights: ``{1: 0.7, 8: 0.3}``. The list has each size as
            often as its weight says, to the nearest whole query, in random order.
        count: queries in the list.
        order: ``random``: each query begins at a row drawn with replacement; ``sequential``: where
            the query before it ended.
        seed: of both.

    Raises:
        UsageError: where samples or sizes do not fit.
    """
    if count < 1:
        raise UsageError(f"count must be 1 or more, not {count!r}")
    if order not in ("random", "sequential"):
        raise UsageError(f"order must be 'random' or 'sequential', not {order!r}")
    rng = np.random.Generator(np.random.Philox(seed))
    counts = rng.permutation(np.repeat(list(sizes), _shares(sizes, count)))
    columns = Columns.of(samples, int(counts.max()))
    total = len(next(iter(columns.rows.values())))
    if order == "random":
        firsts = rng.integers(0, total, counts.size)
    else:
        firsts = (np.cumsum(counts) - counts) % total
    return [
        feeds_of_rows(columns.rows, columns.shared, int(first), int(size))
        for first, size in zip(firsts, counts, strict=True)
    ]


def _shares(sizes: Mapping[int, float], count: int) -> Array:
    """Return how many of ``count`` queries have each size: the largest remainders round up."""
    weights = np.array(list(sizes.values()), np.float64)
    whole = all(int(size) == size >= 1 for size in sizes)
    if not sizes or not whole or not np.all(np.isfinite(weights) & (weights >= 0)):
        raise UsageError(f"sizes are samples a query with a weight each, not {dict(sizes)!r}")
    if weights.sum() == 0:
        raise UsageError("sizes: one weight at least must be above 0")
    exact = count * weights / weights.sum()
    shares: Array = np.floor(exact).astype(np.int64)
    for index in np.argsort(shares - exact, kind="stable")[: count - int(shares.sum())]:
        shares[index] += 1
    return shares
