"""Queries of different sizes and samples."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bytemlperf as bmp
from bytemlperf.backend import Feeds

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


MIX = bmp.mix_queries({"x": X}, {1: 0.5, 2: 0.3, 7: 0.2}, count=10)
BATCHINGS = [None, bmp.Dynamic(9, 0.001), bmp.Dynamic(9, 0.001, preferred=(4,))]


def own_rows(query: int) -> list[int]:
    """The samples that a query of the mix has, from the list that a reader sees."""
    rows: list[int] = MIX[query % len(MIX)]["x"].tolist()
    return rows


def check_answers(result: bmp.Result, name: str, times: int) -> None:
    """Each query got the answer to its own samples, all of them and no others."""
    assert result.errors == 0, result.error_types
    assert isinstance(result.outputs, list)
    for query, outputs in enumerate(result.outputs):
        assert outputs[name].ravel().tolist() == [times * row for row in own_rows(query)], query


def test_a_mix_is_measured_in_samples() -> None:
    seen: list[int] = []
    with bmp.LoadGenerator(lambda feeds: seen.append(len(feeds["x"])), samples=MIX) as gen:
        result = gen.run(bmp.ClosedLoop(), queries=20)
    assert Counter(seen) == {1: 10, 2: 6, 7: 4}
    assert result.samples_per_second == pytest.approx(50 / result.duration)
    assert result.mix == ((1, 5), (2, 3), (7, 2))
    assert "1, 2 or 7 samples a query" in str(result)


class Echo:
    """Gives back what it gets, and notes the samples of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, feeds: Feeds) -> dict[str, Any]:
        self.batches.append(feeds["x"].tolist())
        return {"x": feeds["x"]}


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("instances", [1, 2])
def test_each_query_gets_the_answers_to_its_own_samples(batching: Any, instances: int) -> None:
    echo = Echo()
    with bmp.LoadGenerator(echo, MIX, batching=batching, instances=instances) as gen:
        result = gen.run(bmp.ClosedLoop(6), queries=200, keep_outputs=True)
    check_answers(result, "x", 1)
    given = Counter(row for query in range(200) for row in own_rows(query))
    assert Counter(row for rows in echo.batches for row in rows) == given
    assert result.batches == len(echo.batches)
    assert (len(echo.batches) < 200) == (batching is not None)
    assert max(map(len, echo.batches)) <= (9 if batching else 7)


def test_queries_are_merged_in_their_order_and_never_split() -> None:
    """Everything is due at once, so that which queries share a batch is known."""
    echo = Echo()
    with bmp.LoadGenerator(echo, MIX, batching=bmp.Dynamic(9, 30.0)) as gen:
        gen.run(bmp.Offline(), queries=20)
    expected: list[list[int]] = [[]]
    for query in range(20):
        if len(expected[-1]) + len(own_rows(query)) > 9:
            expected.append([])
        expected[-1] += own_rows(query)
    assert echo.batches == expected


class SlowFirst:
    """Takes half a second for the first batch that it gets, and no time for the others."""

    def __init__(self) -> None:
        self.first = threading.Lock()

    def __call__(self, feeds: Feeds) -> None:
        if self.first.acquire(blocking=False):
            time.sleep(0.5)


def test_a_query_that_had_no_room_goes_to_whichever_instance_is_free() -> None:
    """The instance that took it from the queue is busy for long with the batch that was full."""
    mix = bmp.mix_queries({"x": X}, {2: 1.0}, count=8)
    batching = bmp.Dynamic(3, 0.001)
    with bmp.LoadGenerator(SlowFirst(), mix, instances=2, batching=batching) as gen:
        result = gen.run(bmp.Offline(), queries=8)
    assert result.stamps is not None
    latencies = np.sort(result.stamps["stamps"]["completed"] - result.stamps["stamps"]["intended"])
    assert latencies[-1] > 490_000_000
    assert latencies[-2] < 250_000_000


def test_a_simulated_device_takes_as_long_as_the_samples_say() -> None:
    device = bmp.SimulatedDevice(bmp.Table({1: 1e-3, 2: 2e-3, 7: 7e-3}))
    with bmp.LoadGenerator(device, MIX, clock="virtual") as gen:
        result = gen.run(bmp.ClosedLoop(), queries=100)
    assert result.stamps is not None
    times = result.stamps["stamps"]
    for query, ns in zip(
        result.stamps["query"], times["completed"] - times["entered"], strict=True
    ):
        assert ns == 1_000_000 * len(own_rows(int(query)))
    assert result.samples_per_second == pytest.approx(1000.0)


def test_what_a_mix_does_not_go_with_is_refused() -> None:
    with pytest.raises(bmp.UsageError, match="leave out batch_size=4"):
        bmp.LoadGenerator(print, MIX, batch_size=4)
    with pytest.raises(bmp.UsageError, match="max_samples 6 is below the 7 samples"):
        bmp.LoadGenerator(print, MIX, batching=bmp.Dynamic(6, 0.1))


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
