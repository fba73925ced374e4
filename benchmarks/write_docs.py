"""Runs the benchmarks of the generator and writes ``docs/benchmarks.md`` from what they print, and
the last section of ``docs/isolation.md``.

``python benchmarks/write_docs.py [--pairs 15] [--only gil.py]``      half an hour on an idle host
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
ISOLATION = HERE.parent / "docs" / "isolation.md"
SECTIONS = (  # title, program, times as many pairs: a ratio near 1, or of tails, needs more pairs
    ("What the generator costs", "overhead.py", 1),
    ("Beside MLPerf LoadGen", "against_loadgen.py", 1),
    ("Schedule lag beside a bare spin loop", "spin_floor.py", 5),
    ("Python backends that compute under the GIL", "gil.py", 1),
    ("A real model", "model_cost.py", 20),
    ("Memory of long runs", "memory.py", 0),
)
HEAD = """# Benchmarks

Written by `python benchmarks/write_docs.py`. The two sides of a row are measured in turns (A B A B ...).
'Wanted' is what the project asks of itself; where a row misses it, it stands here all the same.
"""


def section(title: str, *command: str) -> str:
    """One benchmark's output under its title, the command that repeats it, and its host."""
    done = subprocess.run(
        [sys.executable, str(HERE / command[0]), *command[1:]],
        stdout=subprocess.PIPE, text=True, check=True, cwd=HERE,
    )  # fmt: skip
    print(f"{title}: done", flush=True)
    shown = " ".join(("benchmarks/" + command[0], *command[1:]))
    facts = host.environment()
    return (
        f"## {title}\n\n`python {shown}`, {time.strftime('%Y-%m-%d')}, {facts['cpu']}, "
        f"{facts['cores']} cores, {facts['system'].partition('-')[0]}, Python {facts['python']}\n\n"
        f"{done.stdout.strip()}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument(
        "--only", action="append", help="measure this program anew and keep the other sections"
    )
    options = parser.parse_args()
    if not options.only or "isolation.py" in options.only:
        head = ISOLATION.read_text(encoding="utf-8").partition("## Measured\n")[0]
        measured = section("Measured", "isolation.py", "--pairs", str(options.pairs))
        ISOLATION.write_text(head + measured, encoding="utf-8")
    kept = PAGE.read_text(encoding="utf-8").split("## ")[1:] if options.only else []
    page = {part.partition("\n")[0]: "## " + part.rstrip() + "\n" for part in kept}
    for title, program, times in SECTIONS:
        if not options.only or program in options.only:
            pairs = ("--pairs", str(times * options.pairs)) if times else ()
            page[title] = section(title, program, *pairs)
    parts = [page[title] for title, *_ in SECTIONS if title in page]
    PAGE.write_text("\n".join((HEAD, *parts)), encoding="utf-8")


if __name__ == "__main__":
    main()
