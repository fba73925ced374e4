"""Timestamps from a file: CSV, JSON or JSON lines, also gzipped."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import UsageError, did_you_mean

# Columns or keys that hold the time, and their unit in ns. `intended` is what a result's queries
# are saved with, so that a run can be replayed.
_UNITS = {
    "timestamp": 1_000_000_000,
    "timestamp_s": 1_000_000_000,
    "timestamp_ms": 1_000_000,
    "timestamp_us": 1_000,
    "timestamp_ns": 1,
    "intended": 1,
}


def read_timestamps(path: Path) -> tuple[Array, int]:
    """Read the timestamps of a trace.

    ``.csv``: a column ``timestamp`` or ``timestamp_s`` (seconds), ``timestamp_ms``, ``_us`` or
    ``_ns``, or ``intended`` (ns, as :meth:`Result.save_queries` writes it); without a heading the
    first column, in seconds. ``.jsonl``: a number a line, or an object with one of these keys.
    ``.json``: a list of either. Each also with ``.gz``.

    Returns:
        The numbers (int64 or float64, shape [n]) and their unit in ns.

    Raises:
        UsageError: with file, line and what is wrong.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    readers = {".csv": _from_csv, ".json": _from_json, ".jsonl": _from_lines}
    if kind not in readers:
        raise UsageError(f"{path}: a trace is a file .csv, .json or .jsonl (or with .gz)")
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            items = list(readers[kind](path, file))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the trace: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file: {error}") from error
    units = {unit for _, unit in items}
    if len(units) > 1:
        raise UsageError(f"{path}: timestamps of different units in one file")
    return np.array([number for number, _ in items]), units.pop() if units else 1


def _from_csv(path: Path, file: Any) -> Iterator[tuple[float, int]]:
    rows = csv.reader(file)
    column, unit = 0, _UNITS["timestamp"]
    for row in rows:
        if not row:
            continue
        if rows.line_num == 1 and not _is_number(row[0]):
            names = [name.strip() for name in row]
            column, unit = _column(f"{path}:1", names)
            continue
        try:
            yield _number(row[column].strip()), unit
        except (IndexError, ValueError):
            raise UsageError(f"{path}:{rows.line_num}: no timestamp in {','.join(row)!r}") from None


def _column(where: str, names: list[str]) -> tuple[int, int]:
    for name, unit in _UNITS.items():
        if name in names:
            return names.index(name), unit
    guess = next((did_you_mean(n, _UNITS) for n in names if did_you_mean(n, _UNITS)), "")
    raise UsageError(f"{where}: no column of {', '.join(_UNITS)} among {', '.join(names)}{guess}")


def _from_lines(path: Path, file: Any) -> Iterator[tuple[float, int]]:
    for line_number, line in enumerate(file, 1):
        if not line.strip():
            continue
        where = f"{path}:{line_number}"
        try:
            item = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{where}: not JSON: {error}") from error
        yield _item(where, item)


def _from_json(path: Path, file: Any) -> Iterator[tuple[float, int]]:
    try:
        items = json.load(file)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    if not isinstance(items, list):
        raise UsageError(f"{path}: a trace in JSON is a list of numbers or objects")
    for n, item in enumerate(items):
        yield _item(f"{path}: item {n + 1}", item)


def _item(where: str, item: Any) -> tuple[float, int]:
    """Return the number and its unit of one item of JSON."""
    if isinstance(item, dict):
        names = list(item)
        column, unit = _column(where, names)
        item = item[names[column]]
    else:
        unit = _UNITS["timestamp"]
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        raise UsageError(f"{where}: a timestamp is a number, not {item!r}")
    return item, unit


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _is_number(text: str) -> bool:
    try:
        _number(text.strip())
    except ValueError:
        return False
    return True
