"""What the load generator costs, beside physical floors measured in the same run.

``python benchmarks/overhead.py [--pairs 15]``

Each pair times the generator and its floor one after the other (A B A B ...), so that drift of the
host meets both; the medians and the median of the pairwise ratios are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Comparison:
    """The generator beside its floor."""

    what: str
    floor: str
    measured: Callable[[], float]
    floor_of: Callable[[], float]


COMPARISONS = (
    Comparison(
        "native null backend, closed loop, one client",
        "two clock_gettime reads",
        lambda: nanoseconds_a_query(bmp.NullBackend()),
        two_clock_reads,
    ),
    Comparison(
        "Python no-op, closed loop, one client",
        "tightest Python timing loop",
        lambda: nanoseconds_a_query(no_op),
        python_timing_loop,
    ),
)


def virtual_queries_per_second() -> tuple[float, float]:
    """M/D/1 at rho 0.8 on the virtual clock: (queries a second of real time, mean / service)."""
    service = 1e-3
    with bmp.LoadGenerator(
        bmp.SimulatedDevice(bmp.Deterministic(service)), clock="virtual"
    ) as generator:
        start = time.perf_counter()
        result = generator.run(bmp.Poisson(0.8 / service), queries=2_000_000, stamps=0)
        elapsed = time.perf_counter() - start
    return result.completed / elapsed, result.latency.mean / service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    print(f"median of {pairs} interleaved pairs, ns a query\n")
    print("| generator | ns | floor | ns | ratio |\n|---|---|---|---|---|")
    for comparison in COMPARISONS:
        measured, floors = [], []
        for _ in range(pairs):
            measured.append(comparison.measured())
            floors.append(comparison.floor_of())
        ratio = statistics.median(m / f for m, f in zip(measured, floors, strict=True))
        print(
            f"| {comparison.what} | {statistics.median(measured):.1f} | {comparison.floor} | "
            f"{statistics.median(floors):.1f} | {ratio:.2f} |"
        )
    rates = [virtual_queries_per_second() for _ in range(5)]
    rate = statistics.median(r for r, _ in rates)
    mean = statistics.median(m for _, m in rates)
    print(f"\nvirtual clock, M/D/1 at rho 0.8: {rate:,.0f} queries/s; mean {mean:.3f} S (theory 3)")


if __name__ == "__main__":
    main()
