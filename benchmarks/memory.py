"""Resident memory over a hundred million queries on the null backend.

``python benchmarks/memory.py [--queries 100000000]``

Once with raw stamps, whose budget fills early, and once without them; each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import bytemlperf as bmp

MIB = 1 << 20


def resident() -> int:
    """Resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(queries: int, stamps: int) -> str:
    """Queries of one run: memory when its stamps are full (or at its start), and at its end."""
    full = stamps // 56
    seen: list[tuple[int, int]] = []

    def progress(now: bmp.Progress) -> None:
        seen.append((now.completed, resident()))

    with bmp.LoadGenerator(bmp.NullBackend()) as generator:
        generator.run(bmp.ClosedLoop(), queries=1000, stamps=0)
        before = resident()
        result = generator.run(bmp.ClosedLoop(), queries=queries, stamps=stamps, progress=progress)
    after_full = [memory for done, memory in seen if done > full]
    first = after_full[0] if stamps else before
    growth = (max(after_full) - first) / MIB
    interval = result.latency.interval(0.99)
    return (
        f"| {stamps // MIB} MiB | {result.completed:,} | {first / MIB:.1f} | "
        f"{max(after_full) / MIB:.1f} | {growth:.1f} | "
        f"{'yes' if interval else result.latency.interval_reason(0.99)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=100_000_000)
    parser.add_argument("--stamps", type=int, help="one run with this many bytes of stamps")
    arguments = parser.parse_args()
    if arguments.stamps is not None:
        print(run(arguments.queries, arguments.stamps))
        return
    print("| stamps | queries | resident, MiB | at most | growth | interval of p99 |")
    print("|---|---|---|---|---|---|")
    for stamps in (64 * MIB, 0):
        command = [sys.executable, __file__, "--queries", str(arguments.queries)]
        subprocess.run([*command, "--stamps", str(stamps)], check=True)


if __name__ == "__main__":
    main()
