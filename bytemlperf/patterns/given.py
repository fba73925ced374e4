"""Open loop by given times: a trace that is replayed, or a function of the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf import _core
from bytemlperf.backend import Array
from bytemlperf.errors import UsageError
from bytemlperf.patterns.base import OpenPattern, check_clients
from bytemlperf.patterns.horizon import Horizon

_LONGEST_S = 1e9
_CHUNK = 65_536
_MOST_QUERIES = 100_000_000


@dataclass(frozen=True, eq=False)
class Replay(OpenPattern):
    """Queries at the times of a trace; then the run ends.

    Args:
        timestamps: seconds, ascending (numbers, or numpy's datetime64); or a file of them:
            ``.csv``, ``.json``, ``.jsonl``.
        speed: 2.0 replays twice as fast.
        start: the time at which the window begins; None: at the first timestamp.
        clients: the submitting threads.

    Attributes:
        offsets: from the start of the window, int64 ns, ascending.
        source: the file's name, or nothing.
    """

    timestamps: Sequence[float] | Array | str | os.PathLike[str] = field(repr=False)
    speed: float = 1.0
    start: float | None = None
    clients: int = 1
    offsets: Array = field(init=False, repr=False)
    source: str = field(init=False)

    def __post_init__(self) -> None:
        check_clients(self.clients)
        if not 0 < self.speed < np.inf:
            raise UsageError(f"Replay: speed is a positive number, not {self.speed!r}")
        if isinstance(self.timestamps, (str, os.PathLike)):
            from bytemlperf.patterns.trace_file import read_timestamps

            path = Path(self.timestamps)
            source, where = path.name, str(path)
            times, unit_ns = read_timestamps(path)
        else:
            source, where = "", "Replay"
            times, unit_ns = _numbers(self.timestamps), 1_000_000_000
            if times.dtype.kind == "M":
                times, unit_ns = times.astype("datetime64[ns]").astype(np.int64), 1
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "offsets", self._scaled(where, times, unit_ns))

    def _scaled(self, where: str, times: Array, unit_ns: int) -> Array:
        """Return offsets from the window's start, int64 ns."""
        if not times.size:
            raise UsageError(f"{where}: no timestamps")
        first: Any = times[0] if self.start is None else self.start * (1e9 / unit_ns)
        # Integers stay exact: a double holds the nanoseconds of today's date to 256 only.
        since: Array = times - first
        if unit_ns == 1 and self.speed == 1.0 and since.dtype.kind in "iu":
            offsets: Array = since.astype(np.int64)
        else:
            seconds = since.astype(np.float64) * (unit_ns * 1e-9) / self.speed
            if not np.all(np.abs(seconds) < _LONGEST_S):
                raise UsageError(f"{where}: timestamps must lie within 1e9 s of the start")
            offsets = np.rint(seconds * 1e9).astype(np.int64)
        if offsets[0] < 0:
            raise UsageError(f"{where}: the first timestamp, {times[0]}, lies before the start")
        falls = np.nonzero(np.diff(offsets) < 0)[0]
        if falls.size:
            n = int(falls[0]) + 1
            raise UsageError(
                f"{where}: timestamps must ascend, but number {n + 1}, {times[n]}, is before "
                f"number {n}, {times[n - 1]}: sort them"
            )
        return offsets

    @property
    def length_ns(self) -> int | None:
        return int(self.offsets[-1]) + 1

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        return _core.ReplayArrivals(self.offsets)

    def words(self) -> str:
        name = f" of {self.source}" if self.source else ""
        speed = "" if self.speed == 1.0 else f" at speed {self.speed:g}"
        return f"replay{name}{speed}, {self.offsets.size:,} queries"


def _numbers(timestamps: Any) -> Array:
    try:
        times = np.asarray(timestamps)
    except ValueError as error:
        raise UsageError(f"Replay: timestamps are one row of numbers: {error}") from error
    if times.ndim != 1 or times.dtype.kind not in "iufM":
        shape = f"{times.dtype} of shape {times.shape}"
        raise UsageError(f"Replay: timestamps are one row of numbers, not {shape}")
    return times


@dataclass(frozen=True)
class Arrivals(OpenPattern):
    """Arrivals of your own: ``fn(rng, n)`` returns the next gaps, up to n of them, in seconds.

    ``rng`` is a :class:`numpy.random.Generator` of the run's seed, the same from call to call;
    fewer than n gaps end the plan. The whole plan is made before the run. It is repeatable with
    one version of numpy, not promised across versions.
    """

    fn: Callable[[np.random.Generator, int], Any]
    clients: int = 1

    def __post_init__(self) -> None:
        check_clients(self.clients)
        if not callable(self.fn):
            raise UsageError(f"Arrivals takes a function fn(rng, n) -> gaps, not {self.fn!r}")

    def process(self, horizon: Horizon) -> _core.ArrivalProcess:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(horizon.seed)))
        most = _MOST_QUERIES if horizon.queries is None else horizon.queries
        bound = _LONGEST_S * 1e9 if horizon.bound is None else horizon.bound
        parts: list[Array] = []
        planned, at = 0, 0.0
        while planned < most and at < bound:
            n = min(_CHUNK, most - planned)
            gaps = self._gaps(rng, n)
            times = at + np.cumsum(gaps * 1e9)
            parts.append(times)
            planned += gaps.size
            if gaps.size < n:
                break
            at = float(times[-1])
        if planned == _MOST_QUERIES:
            raise UsageError(f"{self.words()}: more than {_MOST_QUERIES:,} queries in one run")
        offsets: Array = np.concatenate(parts)
        return _core.ReplayArrivals(np.floor(offsets[offsets < bound]).astype(np.int64))

    def planned_in(self, seconds: float) -> float:
        """Queries in so many seconds, about: by the mean of the first gaps that it gives."""
        gaps = self._gaps(np.random.Generator(np.random.Philox(0)), 1_000)
        total = float(gaps.sum())
        few = gaps.size < 1_000 and total < seconds
        return float(gaps.size) if few or total == 0 else seconds * gaps.size / total

    def _gaps(self, rng: np.random.Generator, n: int) -> Array:
        """Ask the function, and check what it says."""
        gaps = np.asarray(self.fn(rng, n))
        if gaps.ndim != 1 or gaps.size > n or gaps.dtype.kind not in "iuf":
            raise UsageError(
                f"{self.words()}: fn(rng, {n}) must return up to {n} gaps in one row, not "
                f"{gaps.dtype} of shape {gaps.shape}"
            )
        wrong = gaps[~((gaps >= 0) & (gaps < _LONGEST_S))]
        if wrong.size:
            raise UsageError(f"{self.words()}: a gap is 0 s or more, not {wrong[0]}")
        return gaps

    def words(self) -> str:
        return f"arrivals of {getattr(self.fn, '__name__', type(self.fn).__name__)}"
