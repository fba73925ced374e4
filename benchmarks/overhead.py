"""What the load generator costs, beside physical floors measured in the same run.

``python benchmarks/overhead.py [--pairs 15]``
"""

from __future__ import annotations

import statistics
import time

from pairs import Row, main, table

import bytemlperf as bmp
from bytemlperf import _core

WINDOW_S = 0.2


def no_op(feeds: object) -> None:
    """The callable that costs nothing."""


def nanoseconds_a_query(backend: object) -> float:
    """Closed loop, one client: the window divided by its queries."""
    with bmp.LoadGenerator(backend) as generator:
        result = generator.run(bmp.ClosedLoop(), duration=WINDOW_S, warmup=0.02)
    return 1e9 / result.queries_per_second


def two_clock_reads() -> float:
    """Two reads of clock_gettime(CLOCK_MONOTONIC), natively: the least that timing can cost."""
    return 2 * _core.Clock.monotonic().cost_ns


def python_timing_loop() -> float:
    """The tightest timing loop that Python can write, a call."""
    f, x, clock = no_op, None, time.perf_counter_ns
    calls = 100_000
    start = clock()
    for _ in range(calls):
        t0 = clock()
        f(x)
        clock() - t0
    return (clock() - start) / calls


def virtual_queries_per_second() -> tuple[float, float]:
    """M/D/1 at rho 0.8 on the virtual clock: (queries a second of real time, mean / service)."""
    service = 1e-3
    device = bmp.SimulatedDevice(bmp.Deterministic(service))
    with bmp.LoadGenerator(device, clock="virtual") as generator:
        start = time.perf_counter()
        result = generator.run(bmp.Poisson(0.8 / service), queries=2_000_000, stamps=0)
        elapsed = time.perf_counter() - start
    return result.completed / elapsed, result.latency.mean / service


def measure(pairs: int) -> str:
    native = Row("native null, one client", "two clock_gettime reads", "ns a query", "<= 1.5")
    python = Row("Python no-op, one client", "tightest Python timing loop", "ns a query")
    for _ in range(pairs):
        native.add(nanoseconds_a_query(bmp.NullBackend()), two_clock_reads())
        python.add(nanoseconds_a_query(no_op), python_timing_loop())
    rates = [virtual_queries_per_second() for _ in range(5)]
    rate = statistics.median(r for r, _ in rates)
    mean = statistics.median(m for _, m in rates)
    return (
        table([native, python])
        + f"\n\nVirtual clock, M/D/1 at rho 0.8: {rate:,.0f} queries a second of real time; mean "
        f"sojourn {mean:.3f} service times (theory 3)."
    )


if __name__ == "__main__":
    main(__doc__, measure)
