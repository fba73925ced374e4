"""Runs the benchmarks of the generator and writes ``docs/benchmarks.md`` from what they print.

``python benchmarks/write_docs.py [--pairs 15]``      half an hour on an idle host
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bytemlperf import host

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SECTIONS = (  # title, program, times as many pairs: a ratio near 1 needs more
    ("What the generator costs", "overhead.py", 1),
    ("Beside MLPerf LoadGen", "against_loadgen.py", 1),
    ("Python backends that compute under the GIL", "gil.py", 1),
    ("A real model", "model_cost.py", 3),
)


def section(title: str, *command: str) -> str:
    """One benchmark's output under its title and the command that repeats it."""
    done = subprocess.run(
        [sys.executable, str(HERE / command[0]), *command[1:]],
        stdout=subprocess.PIPE, text=True, check=True, cwd=HERE,
    )  # fmt: skip
    print(f"{title}: done", flush=True)
    shown = " ".join(("benchmarks/" + command[0], *command[1:]))
    return f"## {title}\n\n`python {shown}`\n\n{done.stdout.strip()}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    facts = host.environment()
    parts = [section(title, name, "--pairs", str(n * pairs)) for title, name, n in SECTIONS]
    parts.append(section("Memory of long runs", "memory.py"))
    PAGE.write_text(
        "# Benchmarks\n\n"
        "Written by `python benchmarks/write_docs.py`; every figure is from that one run.\n"
        "The two sides of a row are measured in turns (A B A B ...). 'Wanted' is what the project\n"
        "asks of itself; where a row misses it, it stands here all the same.\n\n"
        f"Host: {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
        f"{facts['system']}, Python {facts['python']}; {time.strftime('%Y-%m-%d')}.\n\n"
        + "\n".join(parts),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
