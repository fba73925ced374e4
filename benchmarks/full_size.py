"""Measures the models at full size and writes the table of ``docs/models.md``, row after row.

``python benchmarks/full_size.py [NAME ...]``      all: half an hour on an idle host, 5 GB of disk

Each is built from nothing in a process and a cache of its own, which is removed after. Rows that
are not measured stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bytemlperf.zoo import list_cards, load_card

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
HEAD = (
    "| task | parameters | file | build, export, verify | batch 1 | max difference, export vs source "
    "| other work |"
)


def measured(name: str) -> dict[str, Any]:
    """The row of ``bytemlperf models verify``, and the cores that other processes had meanwhile."""
    start, busy, own = time.monotonic(), _host_busy_s(), _children_busy_s()
    with tempfile.TemporaryDirectory(prefix="bytemlperf-") as cache:
        done = subprocess.run(
            [sys.executable, "-m", "bytemlperf", "models", "verify", name, "--json"],
            env=os.environ | {"BYTEMLPERF_CACHE": cache},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    (row,) = json.loads(done.stdout)
    if row["failure"]:
        raise SystemExit(f"{name}: {row['failure']}")
    others = (_host_busy_s() - busy) - (_children_busy_s() - own)
    return {**row, "others": max(0.0, others / (time.monotonic() - start))}


def _host_busy_s() -> float:
    """Seconds that all cores computed since boot: user, nice, system, irq, softirq, steal."""
    user, nice, system, _idle, _iowait, *rest = map(
        int, Path("/proc/stat").read_text("ascii").partition("\n")[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _children_busy_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cells(row: dict[str, Any]) -> str:
    """A measured row as the table has it."""
    difference = row["max_difference"]
    return (
        f"| {row['model']} | {row['parameters']:,} | {row['artifact_bytes'] / 1e6:.1f} MB "
        f"| {row['build_s']:.1f} s | {_milliseconds(row['latency_ms'])} "
        f"| {'none' if difference is None else f'{difference:.2g}'} | {row['others']:.1f} cores |"
    )


def _milliseconds(value: float) -> str:
    return f"{value:,.1f} ms" if value >= 10 else f"{value:.2g} ms"


def with_row(page: str, row: dict[str, Any]) -> str:
    """The page with this row in its place, by name, in the table."""
    before, head, after = page.partition(HEAD)
    if not head:
        raise SystemExit(f"{PAGE}: has no table '{HEAD}'")
    table, _, rest = after.partition("\n\n")
    ruler, *rows = table.strip().splitlines()
    kept = [line for line in rows if line.split()[1] != row["model"]]
    return "\n".join((before + head, ruler, *sorted([*kept, cells(row)]))) + "\n\n" + rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    # Models that are built in memory have no export.
    names = given.names or [name for name in list_cards() if load_card(name).format != "eager"]
    for name in names:
        row = measured(name)
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_row(page, row), encoding="utf-8")
        print(cells(row), flush=True)


if __name__ == "__main__":
    main()
