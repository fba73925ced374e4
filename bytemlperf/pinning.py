"""Which processors the threads of a run are bound to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bytemlperf import _core
from bytemlperf.errors import UsageError

Cores = int | Sequence[int]


@dataclass(frozen=True)
class Pin:
    """Binds the i-th client and the i-th instance thread to entry ``i % len`` of these.

    An entry is a processor or several. Threads that a backend starts from its instance's thread
    inherit its processors. Where a client is its own instance (closed loop, an instance for each
    client), ``instances`` holds. An empty sequence leaves the choice to the system.

    Raises:
        UsageError: for a processor that this process may not run on.
    """

    clients: Sequence[Cores] = ()
    instances: Sequence[Cores] = ()

    def __post_init__(self) -> None:
        allowed = _core.available_cores()
        for core in {core for cores in self._sets() for core in cores}:
            if core not in allowed:
                raise UsageError(f"pin: no processor {core!r} here; there are {allowed}")

    def _sets(self) -> list[list[int]]:
        return [_as_list(cores) for cores in (*self.clients, *self.instances)]

    def to_core(self) -> _core.Pinning:
        return _core.Pinning(
            [_as_list(cores) for cores in self.clients],
            [_as_list(cores) for cores in self.instances],
        )


def _as_list(cores: Cores) -> list[int]:
    return [cores] if isinstance(cores, int) else list(cores)
