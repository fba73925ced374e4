"""Criteo Kaggle, an evaluation part as CSV: click or not, from numbers and hashed categories."""

from __future__ import annotations

import csv
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric, proportion
from bytemlperf.datasets.prepared import cache_folder, cores, identity
from bytemlperf.datasets.scores import area_under_roc, log_loss
from bytemlperf.datasets.sources import CRITEO
from bytemlperf.datasets.squad_features import Report
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card

NUMBERS, CATEGORIES = 13, 26
_COLUMNS = 1 + NUMBERS + CATEGORIES
# A block is parsed by one process; a file of one block is not worth a second process.
_BLOCK_BYTES = 8 << 20
# Raise it where rows are parsed in another way.
_SCHEMA = 1


@lru_cache(maxsize=1 << 18)
def bucket(category: str, buckets: int) -> int:
    """FarmHash Fingerprint64 of the UTF-8 text, modulo ``buckets`` (TensorFlow's fast bucket)."""
    farmhash = require("farmhash", extra="data", purpose="the hashes of the Criteo data set")
    return int(farmhash.fingerprint64(category)) % buckets


@dataclass(frozen=True)
class Rows:
    """Parsed lines: labels uint8 [n], numbers float32 [n, 13], buckets int32 [n, 26]."""

    labels: Array
    numbers: Array
    buckets: Array


def parse(block: tuple[int, bytes], where: str, buckets: int) -> Rows:
    """Parse whole lines; ``block`` holds the number of its first line and their bytes.

    Raises:
        UsageError: naming the line that has a wrong column count, number or label.
    """
    first, data = block
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise UsageError(f"{where}:{line}: not UTF-8 text: {error.reason}") from error
    labels = np.empty(len(lines), np.uint8)
    numbers = np.empty((len(lines), NUMBERS), np.float32)
    hashed = np.empty((len(lines), CATEGORIES), np.int32)
    for i, row in enumerate(csv.reader(lines)):
        if len(row) != _COLUMNS:
            raise UsageError(
                f"{where}:{first + i}: {len(row)} columns instead of {_COLUMNS} (the label, "
                f"{NUMBERS} numbers, {CATEGORIES} categories)"
            )
        try:
            label = float(row[0])
            numbers[i] = [float(x) if x else 0.0 for x in row[1 : 1 + NUMBERS]]
        except ValueError as error:
            raise UsageError(f"{where}:{first + i}: {error}") from error
        if label not in (0.0, 1.0):
            raise UsageError(f"{where}:{first + i}: the label is 0 or 1, not {row[0]!r}")
        labels[i] = label
        hashed[i] = [bucket(x, buckets) for x in row[1 + NUMBERS :]]
    return Rows(labels, numbers, hashed)


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines) of about 8 MiB."""
    line = 1
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            data += file.readline()
            yield line, data
            line += data.count(b"\n")


def read_rows(path: Path, buckets: int, report: Report | None = None) -> Rows:
    """Read the file on all cores into mapped arrays in the cache; memory holds some blocks.

    Raises:
        UsageError: naming the line that is not as the format says.
    """
    folder = cache_folder({"criteo": identity(path), "buckets": buckets, "schema": _SCHEMA})
    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            _write(path, buckets, temporary, report)
            with suppress(OSError):  # another process was first
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Rows(
        np.memmap(folder / "labels", np.uint8, "r"),
        np.memmap(folder / "numbers", np.float32, "r").reshape(-1, NUMBERS),
        np.memmap(folder / "buckets", np.int32, "r").reshape(-1, CATEGORIES),
    )


def _write(path: Path, buckets: int, folder: Path, report: Report | None) -> None:
    work = partial(parse, where=str(path), buckets=buckets)
    size, done = path.stat().st_size, 0
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f.name).open("wb")) for f in fields(Rows)]
        for data, rows in _parsed(work, path, size):
            for file, column in zip(files, fields(Rows), strict=True):
                file.write(getattr(rows, column.name).tobytes())
            done += data
            if report is not None:
                report(done / size)
    if not done:
        raise UsageError(f"{path}: holds no rows")


def _parsed(
    work: Callable[[tuple[int, bytes]], Rows], path: Path, size: int
) -> Iterator[tuple[int, Rows]]:
    """Yield (bytes, rows) of each block in order, with two blocks a process under way."""
    if size <= _BLOCK_BYTES:
        for block in blocks(path):
            yield len(block[1]), work(block)
        return
    pending: deque[tuple[int, Future[Rows]]] = deque()
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        try:
            for block in blocks(path):
                pending.append((len(block[1]), pool.submit(work, block)))
                if len(pending) > 2 * cores():
                    length, future = pending.popleft()
                    yield length, future.result()
            for length, future in pending:
                yield length, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


class Criteo:
    """Top-1, area under the ROC curve and log-loss of the probability of a click.

    A missing number is 0, a missing category the empty text. Numbers are scaled by the card's
    ``minimum`` and ``maximum`` (13 each, of the training data); where it has none, by the
    file's own. Categories are ``(column, bucket)`` pairs, columns from 0, or buckets alone, as the
    card's integer input is shaped.
    """

    labelled = True

    def __init__(
        self, card: Card, folder: Path, *, sample_data: bool, report: Report | None = None
    ) -> None:
        self.sample_data = sample_data
        settings = card.preprocessing
        self._rows = read_rows(folder / CRITEO.files[0][0], settings.get("buckets", 1000), report)
        numeric = [t for t in card.inputs if t.shape == (NUMBERS,)]
        hashed = [t for t in card.inputs if t.shape in ((CATEGORIES, 2), (CATEGORIES,))]
        if len(numeric) != 1 or len(hashed) != 1:
            raise UsageError(
                f"{card.name}: needs an input of shape [{NUMBERS}] and one of [{CATEGORIES}, 2] or "
                f"[{CATEGORIES}]"
            )
        self._numeric, self._hashed = numeric[0], hashed[0]
        numbers = self._rows.numbers
        self._low = _thirteen(card, "minimum", numbers.min(axis=0))
        self._range = _thirteen(card, "maximum", numbers.max(axis=0)) - self._low

    @property
    def name(self) -> str:
        extent = f"{len(self)} rows"
        if self.sample_data:
            return f"Criteo format, sample of our own of {extent}"
        return f"{CRITEO.title}, {extent}"

    def __len__(self) -> int:
        return len(self._rows.labels)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        rows = list(samples)
        numbers = (self._rows.numbers[rows] - self._low) / np.where(self._range, self._range, 1.0)
        hashed = self._rows.buckets[rows]
        if len(self._hashed.shape) == 2:
            columns = np.broadcast_to(np.arange(CATEGORIES, dtype=np.int32), hashed.shape)
            hashed = np.stack([columns, hashed], axis=2)
        return {
            self._hashed.name: hashed.astype(self._hashed.dtype),
            self._numeric.name: numbers.astype(self._numeric.dtype),
        }

    def select(self, percent: float, seed: int) -> list[int]:
        return seeded_subset(len(self), percent, seed)

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Of the first output: probabilities of no click and click, [n, 2], or of click, [n]."""
        found = next(iter(outputs.values())).reshape(len(samples), -1)
        if found.shape[1] not in (1, 2):
            raise UsageError(f"the model gives {found.shape[1]} values for a row: 1 or 2 wanted")
        clicks = found[:, -1]
        # A tie says no click, as argmax of the two does.
        guesses = found[:, 1] > found[:, 0] if found.shape[1] == 2 else clicks > 0.5
        labels = self._rows.labels[list(samples)]
        return {
            "Top-1": proportion(int((guesses == (labels == 1)).sum()), len(labels)),
            "AUC": area_under_roc(clicks, labels),
            "Log Loss": log_loss(clicks, labels),
        }


def _thirteen(card: Card, key: str, default: Array) -> Array:
    found = np.asarray(card.preprocessing.get(key, default), np.float32)
    if found.shape != (NUMBERS,):
        raise UsageError(f"{card.name}: preprocessing: {key}: expected {NUMBERS} numbers")
    return found
