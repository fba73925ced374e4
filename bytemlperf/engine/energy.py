"""What the measured loads cost in energy, where this host has counters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bytemlperf.engine.task import Task
from bytemlperf.power import Meter, Recording, find_meters, idle_watts
from bytemlperf.report.schema import EnergyDetail
from bytemlperf.result import Result


class PowerWatch:
    """The meters of this host and its idle power, measured once, before the first load."""

    def __init__(self, meters: list[Meter], reason: str) -> None:
        self._meters = meters
        self._idle_watts = idle_watts(meters) if meters else 0.0
        names = ", ".join(meter.name for meter in meters)
        self.said = f"{names}, idle {self._idle_watts:.1f} W" if meters else f"n/a: {reason}"

    @classmethod
    def of(cls, task: Task) -> PowerWatch:
        if task.simulated:
            return cls([], "a device model uses no power of its own")
        return cls(*find_meters())

    @contextmanager
    def run(self, warmup_s: float) -> Iterator[Watched]:
        """Record while the block runs the load whose warm-up takes ``warmup_s``."""
        if not self._meters:
            yield Watched(None, 0.0, 0.0)
            return
        with Recording(self._meters) as recording:
            start = time.perf_counter() + warmup_s
            yield Watched(recording, start, self._idle_watts)


class Watched:
    """One load that was recorded."""

    def __init__(self, recording: Recording | None, start: float, idle: float) -> None:
        self._recording, self._start, self._idle = recording, start, idle

    def energy(self, result: Result) -> EnergyDetail | None:
        """Return the energy over the result's window; None where nothing was recorded.

        The counters are read ten times a second, so a window of s seconds is known to about
        0.1/s of its energy.
        """
        samples = result.samples_per_second * result.duration
        if self._recording is None or not samples:
            return None
        self._recording.look()
        found = self._recording.energy(self._start, self._start + result.duration, self._idle)
        return EnergyDetail(
            sources=list(found.sources),
            joules=found.joules,
            idle_watts=found.idle_watts,
            net_joules=found.net_joules,
            net_joules_per_sample=found.net_joules / samples,
            average_watts=found.joules / found.window_s,
        )
