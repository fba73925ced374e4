"""One line of the self-test, and what the lines share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import bytemlperf as bmp
from bytemlperf.host import available_cores

SEEDS = range(20)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Line:
    """A claim, what was expected of it and what was seen.

    Attributes:
        name: of what is claimed.
        ok: whether it holds.
        expected, measured: for a reader.
        remedy: what to do where it does not hold.
        figures: every number behind ``measured``, JSON-ready.
    """

    name: str
    ok: bool
    expected: str
    measured: str
    remedy: str = "this build computes something else than the published one: please report it"
    figures: dict[str, Any] = field(default_factory=dict)


Check = Callable[[], Line]


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``function`` of each item in their order; virtual runs hold no GIL."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(function, items))


def virtual_run(
    device: bmp.SimulatedDevice, pattern: bmp.Poisson | bmp.Constant, **settings: Any
) -> bmp.Result:
    """Run one load on the virtual clock."""
    with bmp.LoadGenerator(device, clock="virtual") as generator:
        return generator.run(pattern, **settings)
