"""Energy of a load, where the host's counters can be read: RAPL of the processors, NVML of GPUs.

Counters are read by a thread, ten times a second, never on a query's way.
"""

from __future__ import annotations

import bisect
import importlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

POWERCAP = Path("/sys/class/powercap")
_PERIOD_S = 0.1
_IDLE_S = 1.0


class Meter(Protocol):
    """A counter of energy that only grows."""

    name: str

    def joules(self) -> float:
        """Energy since some fixed time."""


class Rapl:
    """One package domain of Linux's powercap tree; its counter wraps around and is unwrapped."""

    def __init__(self, folder: Path) -> None:
        self.name = f"RAPL {(folder / 'name').read_text().strip()}"
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = self._read()
        self._total = 0

    def joules(self) -> float:
        now = self._read()
        self._total += (now - self._last) % (self._range + 1)
        self._last = now
        return 1e-6 * self._total

    def _read(self) -> int:
        return int(self._counter.read_text())


class Nvml:
    """Total energy of one NVIDIA GPU."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.name = f"NVML GPU {index}"
        self.joules()

    def joules(self) -> float:
        return 1e-3 * float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def find_meters(powercap: Path = POWERCAP) -> tuple[list[Meter], str]:
    """Return the meters that can be read here, and why there are none where there are none."""
    meters: list[Meter] = []
    reasons = []
    domains = sorted(powercap.glob("intel-rapl:*")) if powercap.is_dir() else []
    packages = [d for d in domains if d.name.count(":") == 1 and (d / "energy_uj").exists()]
    if not packages:
        reasons.append("the kernel shows no RAPL counters")
    for folder in packages:
        try:
            meters.append(Rapl(folder))
        except OSError as error:
            reasons.append(f"{folder / 'energy_uj'}: {error.strerror}")
    try:
        meters += _nvidia()
    except _NoNvml as error:
        reasons.append(str(error))
    return meters, "; ".join(reasons)


class _NoNvml(Exception):
    """Why GPUs' energy cannot be read."""


def _nvidia() -> list[Meter]:
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        raise _NoNvml("pynvml is not installed") from None
    try:
        nvml.nvmlInit()
        return [Nvml(nvml, i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        raise _NoNvml(f"NVML: {error}") from error


@dataclass(frozen=True)
class Energy:
    """What a window cost.

    Attributes:
        sources: names of the counters.
        joules: their sum over the window.
        idle_watts: power before the load, measured.
        net_joules: joules - idle_watts x window, not below 0.
        window_s: its length.
    """

    sources: tuple[str, ...]
    joules: float
    idle_watts: float
    net_joules: float
    window_s: float


class Recording:
    """The sum of all meters over time, from before a run until after it."""

    def __init__(
        self,
        meters: Sequence[Meter],
        period_s: float = _PERIOD_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._meters, self._period_s, self._clock = tuple(meters), period_s, clock
        self._times: list[float] = []
        self._joules: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="power", daemon=True)

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Read every meter once."""
        joules = sum(meter.joules() for meter in self._meters)
        self._times.append(self._clock())
        self._joules.append(joules)

    def energy(self, start: float, end: float, idle_watts: float) -> Energy:
        """Return the energy between two times of the clock, interpolated between readings."""
        joules = self._at(end) - self._at(start)
        net = max(0.0, joules - idle_watts * (end - start))
        names = tuple(meter.name for meter in self._meters)
        return Energy(names, joules, idle_watts, net, end - start)

    def _at(self, moment: float) -> float:
        i = min(max(bisect.bisect_left(self._times, moment), 1), len(self._times) - 1)
        (t0, t1), (e0, e1) = self._times[i - 1 : i + 1], self._joules[i - 1 : i + 1]
        share = min(max((moment - t0) / (t1 - t0), 0.0), 1.0) if t1 > t0 else 1.0
        return e0 + share * (e1 - e0)

    def _work(self) -> None:
        while not self._end.wait(self._period_s):
            self.look()


def idle_watts(meters: Sequence[Meter]) -> float:
    """Measure the power of the host while nothing is loaded on it by us."""
    with Recording(meters) as recording:
        start = time.perf_counter()
        time.sleep(_IDLE_S)
        end = time.perf_counter()
    return recording.energy(start, end, 0.0).joules / (end - start)
