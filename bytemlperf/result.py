"""What a run measured: distributions, counts, verdicts, and enough to repeat it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bytemlperf import _core, export
from bytemlperf.backend import Array
from bytemlperf.distribution import Distribution
from bytemlperf.errors import UsageError
from bytemlperf.windows import Windows

SCHEMA = "bytemlperf.result/2"
_READ = (SCHEMA, "bytemlperf.result/1")  # without windows, overhead, severity
INTERVALS = ("latency", "service_time", "schedule_lag", "queue_wait", "gil_wait")
_FIRST_AND_LAST_STAMP = {
    "latency": ("intended", "completed"),
    "service_time": ("entered", "completed"),
    "schedule_lag": ("intended", "submitted"),
    "queue_wait": ("submitted", "ready"),
    "gil_wait": ("ready", "entered"),
}


@dataclass(frozen=True)
class Verdict:
    """One judgement of a run; ``remedy`` says what to change where it is not ok. ``advice`` leaves
    the run valid: its figures are right, and something about them is worth knowing.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    severity: Literal["invalid", "advice"] = "invalid"

    @property
    def fatal(self) -> bool:
        """The run's figures cannot be trusted."""
        return not self.ok and self.severity == "invalid"


@dataclass(frozen=True)
class Overhead:
    """The harness beside the figures; seconds.

    Attributes:
        per_query: of a thread that answers, when queries follow each other at once: window times
            instances that answer in parallel, divided by queries.
        floor: the least latency that a run reports for a backend that answers at once; with the
            median way into its process for an isolated one.
        turnaround: in this run, from an answer to the next query where that one could follow at
            once (see :func:`bytemlperf.attribution.turnaround`), or None.
    """

    per_query: float
    floor: float
    turnaround: float | None = None


@dataclass(frozen=True)
class ErrorClass:
    """Queries that failed in one way: how many, and the first one's message."""

    count: int
    first: str


@dataclass(frozen=True)
class TimelineBin:
    """Completions in ``[start, start + width)`` seconds since the window began."""

    start: float
    width: float
    completed: int
    errors: int
    latency_mean: float
    latency_max: float


@dataclass(frozen=True)
class Result:
    """One run. Times in seconds, rates per second; ``planned = completed + errors + timeouts +
    unsent``. Throughput is what was completed inside the window divided by its length; in closed
    loop a query that the end of the window cuts counts by its share inside.
    ``batch_size`` is the samples of a query, the largest of a ``mix``: (samples, queries) of each
    size in it. ``late_causes`` are shares of the queries above p99, by what made them late: ``client``,
    ``queue``, ``GIL``, ``backend`` (empty without stamps).
    """

    latency: Distribution
    service_time: Distribution
    schedule_lag: Distribution
    queue_wait: Distribution
    gil_wait: Distribution
    pattern: str
    batch_size: int
    instances: int
    seed: int
    duration: float
    planned: int
    completed: int
    errors: int
    timeouts: int
    unsent: int
    late: int
    batches: int
    queries_per_second: float
    samples_per_second: float
    plan_hash: str | None
    error_types: Mapping[str, ErrorClass]
    timeline: tuple[TimelineBin, ...]
    verdicts: tuple[Verdict, ...]
    environment: Mapping[str, Any]
    interrupted: bool = False
    mix: tuple[tuple[int, int], ...] = ()
    overhead: Overhead | None = None
    late_causes: Mapping[str, float] = field(default_factory=dict)
    windows: Windows | None = field(default=None, repr=False, compare=False)
    stamps: Array | None = field(default=None, repr=False, compare=False)
    outputs: list[Any] | dict[int, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def valid(self) -> bool:
        """True where no verdict is fatal."""
        return not any(verdict.fatal for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; without stamps and outputs."""
        data = {
            name: value
            for name, value in self.__dict__.items()
            if name not in {"stamps", "outputs", "windows", *INTERVALS}
        }
        return {
            "schema": SCHEMA,
            **data,
            "valid": self.valid,
            "error_types": {k: asdict(v) for k, v in self.error_types.items()},
            "timeline": [asdict(b) for b in self.timeline],
            "verdicts": [asdict(v) for v in self.verdicts],
            "environment": dict(self.environment),
            "late_causes": dict(self.late_causes),
            "overhead": None if self.overhead is None else asdict(self.overhead),
            "distributions": {name: getattr(self, name).to_dict() for name in INTERVALS},
            "windows": None if self.windows is None else self.windows.to_dict(),
        }

    def save(self, path: str | Path) -> None:
        """Write JSON, a few 100 kB whatever the length of the run: histograms and windows, no
        stamps. A reader sees the old file or the new one, never half of it.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self.to_dict(), separators=(",", ":")), encoding="utf-8")
        temporary.replace(path)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame, one row a query: its number, client and instance, and the five
        stamps, int64 ns.

        Raises:
            UsageError: where the run kept no stamps.
            MissingExtra: where pandas is not installed.
        """
        return export.frame(self.stamps)

    def save_queries(self, path: str | Path) -> None:
        """Write :meth:`to_pandas` as ``.csv``, ``.csv.gz`` or ``.parquet``; raises as it does, and
        UsageError for another suffix.
        """
        export.save_queries(self.stamps, Path(path))

    def save_trace(self, path: str | Path, *, first: int = 0, limit: int = 20_000) -> None:
        """Write ``limit`` queries from the ``first`` on as a trace for Perfetto or Chrome
        (``.json`` or ``.json.gz``): each query's intervals, and each instance's calls.
        """
        export.save_trace(self.stamps, Path(path), first, limit)

    def __str__(self) -> str:
        from bytemlperf.report.result_table import render

        return render(self)

    def _repr_html_(self) -> str:
        from bytemlperf.report.result_table import render_html

        return render_html(self)


def interval_series(stamps: Array | None, name: str) -> Array | None:
    """Return one interval of every query in the order of intended time, seconds."""
    if stamps is None:
        return None
    first, last = _FIRST_AND_LAST_STAMP[name]
    times = stamps["stamps"]
    order = np.argsort(times["intended"], kind="stable")
    return np.asarray((times[last] - times[first])[order] * 1e-9)


def distributions(data: _core.RunData, stamps: Array | None) -> dict[str, Distribution]:
    """Return the five intervals of a run by name."""
    return {
        name: Distribution.from_core(
            data.histogram(_core.Interval[name]),
            partial(interval_series, stamps, name),
            data.latency_windows if name == "latency" else tuple,
        )
        for name in INTERVALS
    }


def timeline(data: _core.RunData) -> tuple[TimelineBin, ...]:
    """Return the bins up to the last one in which anything happened."""
    width = data.timeline_bin_ns * 1e-9
    bins = [
        TimelineBin(
            i * width,
            width,
            completed,
            errors,
            latency_sum * 1e-9 / completed if completed else 0.0,
            latency_max * 1e-9,
        )
        for i, (completed, errors, latency_sum, latency_max) in enumerate(data.timeline())
    ]
    while bins and not bins[-1].completed and not bins[-1].errors:
        bins.pop()
    return tuple(bins)


def load_result(path: str | Path) -> Result:
    """Read what :meth:`Result.save` wrote.

    Raises:
        UsageError: where the file cannot be read, or is not a result of this schema.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot read a result: {error}") from error
    if not isinstance(data, dict) or data.get("schema") not in _READ:
        raise UsageError(f"{path}: not a result: expected a JSON object with schema {SCHEMA!r}")
    data.pop("schema")
    data.pop("valid")
    parts: dict[str, Any] = {
        name: Distribution.from_dict(part) for name, part in data.pop("distributions").items()
    }
    data["error_types"] = {k: ErrorClass(**v) for k, v in data["error_types"].items()}
    data["timeline"] = tuple(TimelineBin(**b) for b in data["timeline"])
    data["verdicts"] = tuple(Verdict(**v) for v in data["verdicts"])
    data["mix"] = tuple((size, count) for size, count in data.get("mix", ()))
    overhead = data.get("overhead")
    data["overhead"] = None if overhead is None else Overhead(**overhead)
    windows = data.get("windows")
    data["windows"] = None if windows is None else Windows.from_dict(windows)
    return Result(**parts, **data)
