"""Queries of different sizes and samples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bytemlperf as bmp

X = np.arange(100, dtype=np.int64)


def taken(queries: list[Any]) -> list[list[int]]:
    return [query["x"].tolist() for query in queries]


def test_sizes_come_as_often_as_their_weights_say() -> None:
    queries = bmp.mix_queries({"x": X}, {1: 0.7, 8: 0.2, 32: 0.1}, count=1000)
    sizes = Counter(len(rows) for rows in taken(queries))
    assert sizes == {1: 700, 8: 200, 32: 100}
    assert [len(rows) for rows in taken(queries)[:700]] != [1] * 700  # not one size after the other
    starts = np.array([rows[0] for rows in taken(queries)])
    assert np.bincount(starts, minlength=100).max() < 30  # of 10 expected
    for rows in taken(queries):
        np.testing.assert_array_equal(rows, (rows[0] + np.arange(len(rows))) % 100)


def test_sequential_rows_go_on_where_the_last_query_ended() -> None:
    queries = bmp.mix_queries({"x": X}, {3: 1.0, 5: 1.0}, count=50, order="sequential")
    everything = [row for rows in taken(queries) for row in rows]
    assert everything == [n % 100 for n in range(len(everything))]


def test_one_seed_is_one_mix_and_rows_are_views() -> None:
    first, again, other = (
        bmp.mix_queries({"x": X, "w": bmp.Shared(np.ones(2))}, {1: 1, 4: 1}, seed=seed)
        for seed in (3, 3, 4)
    )
    assert taken(first) == taken(again) != taken(other)
    assert first[0]["w"].shape == (2,)
    assert sum(not np.shares_memory(query["x"], X) for query in first) < 0.1 * len(first)
    assert not first[0]["x"].flags.writeable


def test_a_mix_is_measured_in_samples() -> None:
    seen: list[int] = []
    queries = bmp.mix_queries({"x": X}, {1: 0.5, 7: 0.5}, count=10)
    with bmp.LoadGenerator(lambda feeds: seen.append(len(feeds["x"])), samples=queries) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=20)
    assert Counter(seen) == {1: 10, 7: 10}
    assert result.samples_per_second == pytest.approx(80 / result.duration)


@given(
    st.dictionaries(st.integers(1, 50), st.floats(0.01, 10.0), min_size=1, max_size=6),
    st.integers(1, 300),
)
def test_shares_add_up(sizes: dict[int, float], count: int) -> None:
    queries = bmp.mix_queries({"x": X}, sizes, count=count)
    assert len(queries) == count
    seen = Counter(len(rows) for rows in taken(queries))
    for size, weight in sizes.items():
        assert abs(seen[size] - count * weight / sum(sizes.values())) <= 1


@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        ({}, {}, "sizes are"),
        ({0: 1.0}, {}, "sizes are"),
        ({1: -1.0}, {}, "sizes are"),
        ({1: 0.0}, {}, "above 0"),
        ({1: 1.0}, {"count": 0}, "count"),
        ({1: 1.0}, {"order": "sorted"}, "order"),
    ],
)
def test_wrong_mixes_are_refused(sizes: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(bmp.UsageError, match=message):
        bmp.mix_queries({"x": X}, sizes, **settings)
