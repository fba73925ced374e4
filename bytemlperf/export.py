"""Each query of a run as a table or as a trace, for other tools."""

from __future__ import annotations

import gzip
import heapq
import json
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.extras import require

# (name, first stamp, last stamp): they follow each other and sum to the latency.
_PARTS = (
    ("schedule lag", "intended", "submitted"),
    ("queue wait", "submitted", "ready"),
    ("gil wait", "ready", "entered"),
    ("service", "entered", "completed"),
)
_QUERIES, _INSTANCES = 1, 2  # process numbers of the trace


def frame(stamps: Array | None) -> Any:
    """Return a pandas.DataFrame of one row a query: query, client, instance and the five stamps, int64 ns.

    Raises:
        UsageError: where the run kept no stamps.
        MissingExtra: where pandas is not installed.
    """
    pandas = require("pandas", extra="report", purpose="a table of queries")
    kept = _kept(stamps)
    times = kept["stamps"]
    columns = {name: kept[name] for name in ("query", "client", "instance")}
    return pandas.DataFrame(columns | {name: times[name] for name in times.dtype.names or ()})


def save_queries(stamps: Array | None, path: Path) -> None:
    """Write :func:`frame` as ``.csv`` (also ``.csv.gz``) or ``.parquet``.

    Raises:
        UsageError: for another suffix, or where the run kept no stamps.
        MissingExtra: where pandas, or pyarrow for Parquet, is not installed.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        frame(stamps).to_csv(path, index=False)
    elif name.endswith(".parquet"):
        require("pyarrow", extra="report", purpose="Parquet")
        frame(stamps).to_parquet(path, index=False)
    else:
        raise UsageError(f"{path}: queries are written as .csv, .csv.gz or .parquet")


def save_trace(stamps: Array | None, path: Path, first: int, limit: int) -> None:
    """Write queries ``first`` to ``first + limit`` (by intended time) as a Chrome trace.

    The format is the Trace Event Format's JSON object, which Perfetto and chrome://tracing read.
    One process shows each query with its four intervals, on as few rows as do not overlap; the
    other shows each instance's calls. ``.gz`` compresses.

    Raises:
        UsageError: without stamps.
    """
    kept = _kept(stamps)
    order = np.argsort(kept["stamps"]["intended"], kind="stable")[first : first + limit]
    chosen = kept[order]
    origin = int(kept["stamps"]["intended"].min()) if kept.size else 0
    events = [
        _meta("process_name", _QUERIES, 0, "queries"),
        _meta("process_name", _INSTANCES, 0, "instances"),
        *_query_events(chosen, origin),
        *_call_events(chosen, origin),
    ]
    document = {
        "displayTimeUnit": "ns",
        "otherData": {"queries": int(chosen.size), "of": int(kept.size), "first": first},
        "traceEvents": events,
    }
    text = json.dumps(document, separators=(",", ":"))
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def _kept(stamps: Array | None) -> Array:
    if stamps is None:
        raise UsageError("this result holds no stamps: run with stamps=<bytes>")
    return stamps


def _query_events(chosen: Array, origin: int) -> list[dict[str, Any]]:
    times = chosen["stamps"]
    events: list[dict[str, Any]] = []
    for i, row in enumerate(_rows(times["intended"], times["completed"])):
        stamp = times[i]
        who = {
            "query": int(chosen["query"][i]),
            "client": int(chosen["client"][i]),
            "instance": int(chosen["instance"][i]),
        }
        whole = (int(stamp["intended"]) - origin, int(stamp["completed"]) - origin)
        events.append(_span(f"query {who['query']}", _QUERIES, row, *whole, who))
        for name, begin, end in _PARTS:
            part = (int(stamp[begin]) - origin, int(stamp[end]) - origin)
            if part[1] > part[0]:
                events.append(_span(name, _QUERIES, row, *part))
    return events


def _call_events(chosen: Array, origin: int) -> list[dict[str, Any]]:
    """One span a batch: its queries share instance, entry and completion."""
    times = chosen["stamps"]
    keys = np.stack([chosen["instance"].astype(np.int64), times["entered"], times["completed"]])
    calls, counts = np.unique(keys, axis=1, return_counts=True)
    events: list[dict[str, Any]] = []
    next_row = 0
    for instance in np.unique(calls[0]):
        mine = calls[0] == instance
        _, entered, completed = calls[:, mine]
        rows = _rows(entered, completed)
        for row in range(max(rows, default=-1) + 1):
            name = f"instance {instance}" + (f", in flight {row + 1}" if row else "")
            events.append(_meta("thread_name", _INSTANCES, next_row + row, name))
        for row, begin, end, count in zip(rows, entered, completed, counts[mine], strict=True):
            part = (int(begin) - origin, int(end) - origin)
            events.append(_span("call", _INSTANCES, next_row + row, *part, {"queries": int(count)}))
        next_row += max(rows, default=-1) + 1
    return events


def _rows(begin: Array, end: Array) -> list[int]:
    """Row of each span, in order of begin, so that none overlaps another on its row."""
    busy: list[tuple[int, int]] = []  # until when, and which row
    free: list[int] = []
    rows: list[int] = []
    for start, stop in zip(begin.tolist(), end.tolist(), strict=True):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (stop, row))
        rows.append(row)
    return rows


def _span(
    name: str,
    process: int,
    row: int,
    begin: int,
    end: int,
    arguments: dict[str, int] | None = None,
) -> dict[str, Any]:
    """A complete event; the format counts in microseconds."""
    event: dict[str, Any] = {
        "ph": "X",
        "name": name,
        "pid": process,
        "tid": row,
        "ts": begin / 1e3,
        "dur": (end - begin) / 1e3,
    }
    return event | ({"args": arguments} if arguments else {})


def _meta(kind: str, process: int, row: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": row, "args": {"name": name}}
