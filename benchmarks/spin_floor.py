"""The schedule lag of a native run beside that of a loop that only reads the clock.

``python benchmarks/spin_floor.py [--pairs 15]``     (g++)

Runs are short, so that a stall of the host spoils few of them and not the p99 of all.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

import loadgen_peer
from against_loadgen import ours
from pairs import Row, main, table

RATE = 100_000
SECONDS = 0.2


def floor(busy: int) -> float:
    """The p99 lag in ns of a loop that only reads the clock until the next deadline, while
    ``busy`` other threads keep their cores busy."""
    done = subprocess.run(
        [_program(), str(RATE), str(SECONDS), str(busy)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[1])


@functools.cache
def _program() -> str:
    program = Path(tempfile.mkdtemp(prefix="spin-")) / "spin_floor"
    csrc = Path(__file__).parents[1] / "csrc"
    subprocess.run(
        ["g++", "-std=c++20", "-O2", f"-I{csrc}", "-o", str(program),
         str(loadgen_peer.NATIVE / "spin_floor.cpp"), str(csrc / "core/clock.cpp"),
         "-lpthread"],
        check=True,
    )  # fmt: skip
    return str(program)


def measure(pairs: int) -> str:
    what = f"native null, Poisson {RATE:,}/s, p99 lag"
    busy = Row(what, "bare spin loop, a second thread busy as the backend's is", "ns", "<= 1.5")
    alone = Row(what, "bare spin loop, alone on the host", "ns")
    for _ in range(pairs):
        lag = ours("native", 1, RATE, SECONDS)["p99"]
        busy.add(lag, floor(busy=1))
        alone.add(lag, floor(busy=0))
    return table([busy, alone])


if __name__ == "__main__":
    main(__doc__, measure)
