"""Three clients on three instances of a callable that computes 60 us in pure Python.

``python benchmarks/gil.py [--pairs 15]``

Only one of them can compute at a time. What the others lose has to stand in the GIL wait, not in
the service time, and no client may starve.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from pairs import Row, main, table

import bytemlperf as bmp

SECONDS = 1.0
CALL_S = 60e-6


def callable_of(seconds: float) -> tuple[object, float]:
    """A loop that takes ``seconds`` on this host, and what it took."""
    rounds = 1000

    def compute(feeds: object) -> None:
        total = 0
        for i in range(rounds):
            total += i

    for _ in range(5):
        start = time.perf_counter()
        for _ in range(200):
            compute(None)
        took = (time.perf_counter() - start) / 200
        rounds = max(1, round(rounds * seconds / took))
    return compute, took


def run(backend: object, clients: int) -> bmp.Result:
    with bmp.LoadGenerator(backend, instances=clients) as generator:
        return generator.run(bmp.ClosedLoop(clients), duration=SECONDS, warmup=0.1)


def worst_share(result: bmp.Result, clients: int) -> float:
    """The share of the client that is farthest from 1 / clients, in units of that."""
    assert result.stamps is not None
    shares = np.bincount(result.stamps["client"], minlength=clients) / len(result.stamps)
    return float(max(shares * clients, key=lambda share: abs(share - 1)))


def measure(pairs: int) -> str:
    backend, took = callable_of(CALL_S)
    rate = Row("three clients", "one client", "queries/s", ">= 0.75")
    service = Row("service time p99, three clients", "one client", "us", "about 1")
    excess = Row("GIL wait p99, three clients", "latency p99 beyond one client's", "us", "about 1")
    rare = Row(
        "GIL wait p99.9, three clients", "latency p99.9 beyond one client's", "us", "about 1"
    )
    shares = Row("share of the client farthest from its own", "1 / clients", "", "0.8 .. 1.2")
    for _ in range(pairs):
        three, one = run(backend, 3), run(backend, 1)
        rate.add(three.queries_per_second, one.queries_per_second)
        service.add(1e6 * three.service_time.p99, 1e6 * one.service_time.p99)
        excess.add(1e6 * three.gil_wait.p99, 1e6 * (three.latency.p99 - one.latency.p99))
        rare.add(1e6 * three.gil_wait.p999, 1e6 * (three.latency.p999 - one.latency.p999))
        shares.add(worst_share(three, 3), 1.0)
    worst = statistics.median(ours for ours, _ in shares.pairs)
    return (
        table([rate, service, excess, rare, shares])
        + f"\n\nThe callable alone takes {1e6 * took:.1f} us; worst share {worst:.3f}."
    )


if __name__ == "__main__":
    main(__doc__, measure)
