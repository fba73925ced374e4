"""Live figures of a run, for whoever draws them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bytemlperf import _core

_EVERY_S = 0.25


@dataclass(frozen=True)
class Progress:
    """What ``progress`` is called with, about four times a second.

    Attributes:
        phase: ``load``, ``warmup``, ``measure`` or ``drain``.
        elapsed: seconds in the window.
        fraction: how far, 0 to 1, or None where it is not known.
        completed: queries that have ended, failed ones included.
        planned: queries of the whole run, or None.
        queries_per_second: mean since the window began.
        p99: latency so far in seconds, or None before the first answer.
    """

    phase: str
    elapsed: float
    fraction: float | None
    completed: int
    planned: int | None
    queries_per_second: float
    p99: float | None


ProgressCallback = Callable[[Progress], None]


class Watch:
    """Turns a run's live figures into calls of the user's progress function."""

    def __init__(
        self, callback: ProgressCallback | None, queries: int | None, bound_ns: int | None
    ) -> None:
        self._callback = callback
        self._queries = queries
        self._bound_ns = bound_ns
        self._next = 0.0

    def look(self, run: _core.Run) -> None:
        """Call the user's function, if it is time to."""
        now = time.monotonic()
        if self._callback is None or now < self._next:
            return
        self._next = now + _EVERY_S
        live = run.live()
        if live.phase == _core.Phase.done:
            return
        elapsed = live.elapsed * 1e-9
        done = live.completed + live.errors
        shares = []
        if self._queries:
            shares.append(done / self._queries)
        if self._bound_ns:
            shares.append(live.elapsed / self._bound_ns)
        self._callback(
            Progress(
                phase=live.phase.name,
                elapsed=elapsed,
                fraction=min(1.0, max(shares)) if shares else None,
                completed=done,
                planned=self._queries,
                queries_per_second=live.completed / elapsed if elapsed > 0 else 0.0,
                p99=live.p99 * 1e-9 if live.completed else None,
            )
        )
