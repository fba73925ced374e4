"""A device that stalls: what every query that was due meanwhile has to wait is charged."""

from __future__ import annotations

import bytemlperf as bmp
from bytemlperf.selftest.line import Line, virtual_run

_RATE = 1000.0
_SERVICE_S = 1e-4
_LENGTH_S = 30.0
_STALL_S = 1.0
_TOLERANCE = 0.01


def _quantile(q: float) -> float:
    """Exact: latency exceeds x for a share (S - x) / ((1 - rho) T) of the queries."""
    rho = _RATE * _SERVICE_S
    return _STALL_S - (1 - q) * _LENGTH_S * (1 - rho)


def a_stall_is_charged() -> Line:
    """1 s in 30 s at 1000/s: p99 0.730 s and p99.9 0.973 s, beside a service time of 0.1 ms."""
    return _stall("a stall of 1 s in 30 s", at=10.0)


def a_stall_at_the_end_is_charged() -> Line:
    """The same in the last half second: queries in flight at the end are waited for."""
    return _stall("the same at the very end", at=_LENGTH_S - 0.5)


def _stall(name: str, at: float) -> Line:
    device = bmp.SimulatedDevice(bmp.Deterministic(_SERVICE_S), stall=(at, _STALL_S))
    result = virtual_run(device, bmp.Constant(_RATE), duration=_LENGTH_S)
    latency, service = result.latency, result.service_time
    expected = (_quantile(0.99), _quantile(0.999))
    charged = (latency.p99, latency.p999)
    close = all(
        abs(seen - due) <= _TOLERANCE * due for seen, due in zip(charged, expected, strict=True)
    )
    service_close = abs(service.p99 - _SERVICE_S) <= _TOLERANCE * _SERVICE_S
    return Line(
        name=name,
        ok=close and service_close and result.completed == result.planned,
        expected=f"p99 {expected[0]:.3f} s, p99.9 {expected[1]:.3f} s, to 1 %; "
        f"service p99 {_SERVICE_S * 1e3:g} ms",
        measured=f"{charged[0]:.3f} s, {charged[1]:.3f} s; {service.p99 * 1e3:.3g} ms; "
        f"{result.completed:,} of {result.planned:,} answered",
        figures={
            "p99_s": charged[0],
            "p999_s": charged[1],
            "service_p99_s": service.p99,
            "planned": result.planned,
            "completed": result.completed,
        },
    )
