"""Queries of different sizes, and which samples each takes: a mix made ready before the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array, Feeds
from bytemlperf.columns import Columns, Shared
from bytemlperf.errors import UsageError


class QueryMix(Sequence[Feeds]):
    """Queries by number; item k is what query k hands over, views of the samples' rows.

    Attributes:
        columns: the samples.
        queries: samples and first row of each query, as the core reads them.
    """

    def __init__(self, columns: Columns, firsts: Array, sizes: Array) -> None:
        self.columns = columns
        ranges = list(zip(firsts.tolist(), sizes.tolist(), strict=True))
        self.queries = _core.QueryRows.mix(ranges, columns.count)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(samples, queries) of each size, ascending."""
        return tuple(sorted(Counter(map(self.queries.samples, range(len(self)))).items()))

    def __len__(self) -> int:
        return self.queries.period

    @overload
    def __getitem__(self, index: int) -> Feeds: ...
    @overload
    def __getitem__(self, index: slice) -> list[Feeds]: ...
    def __getitem__(self, index: int | slice) -> Feeds | list[Feeds]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self[k] for k in numbers]
        return self.columns.feeds(self.queries.first(numbers), self.queries.samples(numbers))

    def __iter__(self) -> Iterator[Feeds]:
        return (self[k] for k in range(len(self)))


def mix_queries(
    samples: Mapping[str, Array | Shared],
    sizes: Mapping[int, float],
    *,
    count: int = 1024,
    order: Literal["random", "sequential"] = "random",
    seed: int = 0,
) -> QueryMix:
    """Return queries of a mix, for ``LoadGenerator(backend, samples=...)``.

    The generator walks the mix again and again, with any backend and any batching: query k takes
    the rows of item ``k mod count``, which lie side by side, or wrap around the end.

    Args:
        samples: ``{name: array}`` whose rows are samples, and :class:`Shared` ones.
        sizes: samples a query and their weights: ``{1: 0.7, 8: 0.3}``. The mix has each size as
            often as its weight says, to the nearest whole query, in random order.
        count: queries in the mix.
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
    columns = Columns.of(samples)
    if order == "random":
        firsts = rng.integers(0, columns.count, counts.size)
    else:
        firsts = (np.cumsum(counts) - counts) % columns.count
    return QueryMix(columns, firsts, counts)


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
