"""This generator beside MLPerf LoadGen, both driving a backend that does nothing.

``python benchmarks/against_loadgen.py [--pairs 15]``     (pip install mlcommons-loadgen; g++)

Every run has a process of its own, so that neither inherits the other's threads. LoadGen's latency
for a backend that takes no time is its own lateness; beside it stands our schedule lag.
"""

from __future__ import annotations

import bisect
import json
import subprocess
import sys
from collections.abc import Callable

import loadgen_peer
from pairs import Row, main, table

SECONDS = 1.0
_LADDER = [50_000 * 1.25**i for i in range(23)]  # queries a second that may be tried
_HELD_SHARE = 0.99  # of the rate, completed inside the window
_HELD_LAG_NS = 1e6  # p99
_TRIES = 3  # of a rate: a stall of the host is not the generator's

_OURS = """
import json, sys
import bytemlperf as bmp
kind, clients, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
backend = bmp.NullBackend() if kind == "native" else lambda feeds: None
with bmp.LoadGenerator(backend, instances=clients) as generator:
    pattern = bmp.Poisson(rate) if rate else bmp.ClosedLoop(clients)
    result = generator.run(pattern, duration=seconds, warmup=0.05)
lag = result.schedule_lag
print(json.dumps({"qps": result.queries_per_second, "p50": 1e9 * lag.p50, "p99": 1e9 * lag.p99}))
"""


def ours(kind: str, clients: int, rate: float, seconds: float = SECONDS) -> dict[str, float]:
    """Closed loop, or Poisson where a rate is given: queries/s, p50 and p99 lag in ns."""
    done = subprocess.run(
        [sys.executable, "-c", _OURS, kind, str(clients), str(rate), str(seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def highest_rate_held(run: Callable[[float], dict[str, float]]) -> float:
    """The highest rate of the ladder at which the load was what was asked for, by bisection."""

    def missed(rate: float) -> bool:
        seen = (run(rate) for _ in range(_TRIES))
        return not any(s["qps"] >= _HELD_SHARE * rate and s["p99"] <= _HELD_LAG_NS for s in seen)

    held = bisect.bisect_left(_LADDER, True, key=missed)
    return _LADDER[held - 1] if held else 0.0


def measure(pairs: int) -> str:
    single = Row("Python no-op, one client", "LoadGen SingleStream", "queries/s", ">= 20")
    native = Row("native null, one client", "LoadGen SingleStream, C++", "queries/s", ">= 15")
    three = Row("Python no-op, three clients", "one client", "queries/s", ">= 0.75")
    p50 = Row("Python no-op, Poisson 50,000/s, p50 lag", "LoadGen Server", "ns", "<= 0.2")
    p99 = Row("Python no-op, Poisson 50,000/s, p99 lag", "LoadGen Server", "ns", "<= 0.2")
    for _ in range(pairs):
        one = ours("python", 1, 0)
        single.add(one["qps"], loadgen_peer.python("SingleStream", 1, SECONDS)["qps"])
        three.add(ours("python", 3, 0)["qps"], one["qps"])
        native.add(
            ours("native", 1, 0)["qps"], loadgen_peer.native("SingleStream", 1, SECONDS)["qps"]
        )
        lag, theirs = (
            ours("python", 1, 50_000),
            loadgen_peer.python("Server", 50_000, SECONDS),
        )
        p50.add(lag["p50"], theirs["p50"])
        p99.add(lag["p99"], theirs["p99"])
    return table([single, native, three, p50, p99])


def measure_rates(pairs: int) -> str:
    python = Row("Python no-op, highest rate held", "LoadGen Server", "queries/s", ">= 4")
    native = Row("native null, highest rate held", "LoadGen Server, C++", "queries/s", ">= 4")
    for _ in range(pairs):
        python.add(
            highest_rate_held(lambda rate: ours("python", 1, rate)),
            highest_rate_held(lambda rate: loadgen_peer.python("Server", rate, SECONDS)),
        )
        native.add(
            highest_rate_held(lambda rate: ours("native", 1, rate)),
            highest_rate_held(lambda rate: loadgen_peer.native("Server", rate, SECONDS)),
        )
    return table([python, native])


if __name__ == "__main__":
    main(__doc__, lambda pairs: measure(pairs) + "\n\n" + measure_rates(pairs))
