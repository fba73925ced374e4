"""Backends of known behaviour: one that costs nothing, and a device whose times are a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, Protocol

from bytemlperf import _core
from bytemlperf.errors import UsageError


class ServiceTime(Protocol):
    """How long one batch takes."""

    def to_core(self) -> _core.ServiceTime: ...


class _Checked:
    """Refuses figures that no device can have when they are given, not when they are run."""

    def to_core(self) -> Any:
        raise NotImplementedError

    def __post_init__(self) -> None:
        try:
            self.to_core()
        except ValueError as error:
            raise UsageError(f"{self!r}: {error}") from error
        except (TypeError, AttributeError) as error:
            raise UsageError(f"{self!r}: {self._takes}") from error

    _takes = "times are numbers of seconds"


@dataclass(frozen=True)
class Deterministic(_Checked):
    """Every batch takes ``seconds``."""

    seconds: float

    def to_core(self) -> _core.ServiceTime:
        return _core.DeterministicService(self.seconds)


@dataclass(frozen=True)
class Exponential(_Checked):
    """Exponential service times of the given ``mean`` in seconds."""

    mean: float

    def to_core(self) -> _core.ServiceTime:
        return _core.ExponentialService(self.mean)


@dataclass(frozen=True)
class Lognormal(_Checked):
    """Lognormal service times: ``mean`` in seconds and coefficient of variation ``cv``."""

    mean: float
    cv: float

    def to_core(self) -> _core.ServiceTime:
        return _core.LognormalService(self.mean, self.cv)


@dataclass(frozen=True)
class Table(_Checked):
    """Seconds by samples in the batch; linear between entries, proportional outside them."""

    seconds: Mapping[int, float] = field(hash=False)

    def to_core(self) -> _core.ServiceTime:
        return _core.TableService({int(n): float(s) for n, s in self.seconds.items()})


@dataclass(frozen=True)
class SimulatedDevice(_Checked):
    """A device with ``servers`` slots and modelled service times, first come, first served.

    Args:
        service: how long a batch takes: :class:`Deterministic`, :class:`Exponential`,
            :class:`Lognormal` or :class:`Table`.
        servers: batches that it runs at once.
        stall: ``(at, seconds)``: no service begins in that time, counted from the window's start.

    Raises:
        UsageError: for figures that no device can have.
    """

    service: ServiceTime
    servers: int = 1
    stall: tuple[float, float] | None = None

    _takes = (
        "service is a Deterministic, Exponential, Lognormal or Table, servers a whole number, "
        "stall (at, seconds)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stall is not None and not (self.stall[0] >= 0 and self.stall[1] > 0):
            raise UsageError(f"{self!r}: a stall begins at 0 s or later and lasts more than 0 s")

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
