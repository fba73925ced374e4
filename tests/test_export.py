"""Queries as tables and traces, read back by the tools that they are for."""

from __future__ import annotations

import gzip
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas
import pytest

import bytemlperf as bmp


@pytest.fixture(scope="module")
def result() -> bmp.Result:
    """Two servers under dynamic batching, so that calls overlap and hold several queries."""
    device = bmp.SimulatedDevice(bmp.Table({1: 1e-3, 4: 2e-3}), servers=2)
    batching = bmp.Dynamic(4, 1e-3)
    with bmp.LoadGenerator(device, clock="virtual", batching=batching) as gen:
        return gen.run(bmp.Poisson(2500), queries=400, seed=1)


@pytest.mark.parametrize("name", ["queries.csv", "queries.csv.gz", "queries.parquet"])
def test_a_table_holds_every_stamp(result: bmp.Result, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    result.save_queries(path)
    read = pandas.read_parquet(path) if name.endswith("parquet") else pandas.read_csv(path)
    assert result.stamps is not None
    np.testing.assert_array_equal(read["query"], result.stamps["query"])
    for stamp in ("intended", "submitted", "ready", "entered", "completed"):
        np.testing.assert_array_equal(read[stamp], result.stamps["stamps"][stamp])


def test_a_table_of_another_kind_or_without_stamps_is_refused(
    result: bmp.Result, tmp_path: Path
) -> None:
    with pytest.raises(bmp.UsageError, match=r"\.parquet"):
        result.save_queries(tmp_path / "queries.xlsx")
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        bare = gen.run(bmp.ClosedLoop(), queries=10, stamps=0)
    with pytest.raises(bmp.UsageError, match="stamps="):
        bare.save_queries(tmp_path / "queries.csv")
    with pytest.raises(bmp.UsageError, match="stamps="):
        bare.save_trace(tmp_path / "trace.json")


def spans(trace: dict, process: int) -> list[dict]:  # type: ignore[type-arg]
    return [e for e in trace["traceEvents"] if e["ph"] == "X" and e["pid"] == process]


def test_a_trace_holds_each_query_and_each_call(result: bmp.Result, tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    result.save_trace(path)
    trace = json.loads(gzip.decompress(path.read_bytes()))
    whole = [e for e in spans(trace, 1) if e["name"].startswith("query ")]
    assert {e["args"]["query"] for e in whole} == set(range(400))
    assert sum(e["dur"] for e in whole) == pytest.approx(1e6 * result.latency.mean * 400)
    parts = [e for e in spans(trace, 1) if not e["name"].startswith("query ")]
    assert sum(e["dur"] for e in parts) == pytest.approx(sum(e["dur"] for e in whole))
    calls = spans(trace, 2)
    assert len(calls) == result.batches
    assert sum(e["args"]["queries"] for e in calls) == 400


def test_spans_of_a_row_nest_and_never_cross(result: bmp.Result, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    result.save_trace(path)
    trace = json.loads(path.read_text())
    for process, prefix in ((1, "query "), (2, "call")):
        rows: dict[int, list[tuple[float, float]]] = {}
        for event in spans(trace, process):
            if event["name"].startswith(prefix):
                rows.setdefault(event["tid"], []).append((event["ts"], event["dur"]))
        for row in rows.values():
            row.sort()
            for (begin, length), (following, _) in pairwise(row):
                assert begin + length <= following + 1e-6


def test_a_trace_can_be_a_part(result: bmp.Result, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    result.save_trace(path, first=100, limit=7)
    trace = json.loads(path.read_text())
    names = [e["name"] for e in spans(trace, 1) if e["name"].startswith("query ")]
    assert names == [f"query {i}" for i in range(100, 107)]
    assert trace["otherData"] == {"queries": 7, "of": 400, "first": 100}


def test_a_hundred_thousand_queries_are_written_in_seconds(tmp_path: Path) -> None:
    with bmp.LoadGenerator(bmp.NullBackend()) as gen:
        many = gen.run(bmp.ClosedLoop(), queries=100_000)
    start = time.monotonic()
    many.save_trace(tmp_path / "trace.json", limit=100_000)
    assert time.monotonic() - start < 60
