"""Backends of known behaviour: one that costs nothing, and a device whose times are a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, Protocol

from bytemlperf import _core


class ServiceTime(Protocol):
    """How long one batch takes."""

    def to_core(self) -> _core.ServiceTime: ...


@dataclass(frozen=True)
class Deterministic:
    """Every batch takes ``seconds``."""

    seconds: float

    def to_core(self) -> _core.ServiceTime:
        return _core.DeterministicService(self.seconds)


@dataclass(frozen=True)
class Exponential:
    """Exponential service times of the given ``mean`` in seconds."""

    mean: float

    def to_core(self) -> _core.ServiceTime:
        return _core.ExponentialService(self.mean)


@dataclass(frozen=True)
class Lognormal:
    """Lognormal service times: ``mean`` in seconds and coefficient of variation ``cv``."""

    mean: float
    cv: float

    def to_core(self) -> _core.ServiceTime:
        return _core.LognormalService(self.mean, self.cv)


@dataclass(frozen=True)
class Table:
    """Seconds by samples in the batch; linear between entries, proportional outside them."""

    seconds: Mapping[int, float] = field(hash=False)

    def to_core(self) -> _core.ServiceTime:
        return _core.TableService({int(n): float(s) for n, s in self.seconds.items()})


@dataclass(frozen=True)
class SimulatedDevice:
    """A device with ``servers`` slots and modelled service times, first come, first served.

    ``stall=(at, seconds)``: no service begins in that time, counted from the window's start.
    """

    service: ServiceTime
    servers: int = 1
    stall: tuple[float, float] | None = None

    def to_core(self) -> _core.DeviceModel:
        return _core.DeviceModel(self.service.to_core(), self.servers, self.stall)


@dataclass(frozen=True)
class NullBackend:
    """Answers at once, natively: what a run measures is the generator itself."""


@dataclass(frozen=True)
class NativeBackend:
    """A shared library that implements ``bytemlperf/backend.h`` (see :func:`get_include`).

    ``config`` is handed to it as a JSON object. No Python and no GIL is on its path.
    """

    path: str | PathLike[str]
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def as_text(self) -> tuple[str, str]:
        """Return the path and the configuration as the library is given it."""
        return fspath(self.path), json.dumps(dict(self.config))
