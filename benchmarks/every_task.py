"""Runs every task on the CPU, tiny, and writes the last section of ``docs/models.md``.

``python benchmarks/every_task.py [--reports FOLDER]``      half an hour on an idle host

With ``--reports``, from a folder whose ``compile_only`` and ``run`` hold the reports of two such
calls; else they are made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bytemlperf import host
from bytemlperf.report.matrix import FILE, Matrix

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
TITLE = "## Every task on the CPU, tiny\n"
COMMAND = ("--task", "all", "--hardware_type", "CPU", "--preset", "tiny")
FLAGS = {"compile_only": ("--compile_only",), "run": ("--quick", "--sample_data")}


def run_all(folder: Path) -> None:
    """Make both calls, with an empty cache before the first."""
    for name, flags in FLAGS.items():
        command = [sys.executable, "-m", "bytemlperf", *COMMAND, *flags]
        environment = os.environ | {"BYTEMLPERF_CACHE": str(folder / "cache")}
        subprocess.run([*command, "--output_dir", folder / name], env=environment, check=False)


def section(compiled: Matrix, run: Matrix) -> str:
    """The table of both calls, and what all of it comes to."""
    facts = host.environment()
    rows = []
    for one, other in zip(compiled.rows, run.rows, strict=True):
        if one.task != other.task:
            raise SystemExit(f"the two calls have other tasks: {one.task} and {other.task}")
        accuracy = ", ".join(f"{name} {value:.4g}" for name, value in other.accuracy.items())
        cells = (
            one.task,
            "" if one.compile_s is None else f"{one.compile_s:.3g}",
            other.status if other.valid else "invalid",
            "random weights" if other.accuracy_meaning else accuracy,
            "" if other.max_diff is None else f"{other.max_diff:.2g}",
            "" if other.best_qps is None else f"{other.best_qps:,.4g} ({other.best_batch})",
            "" if other.p99_ms is None else f"{other.p99_ms:,.4g}",
            f"{one.seconds:.0f}",
            f"{other.seconds:.0f}",
        )
        rows.append("| " + " | ".join(cells) + " |")
    done = sum(row.status == "complete" and row.valid for row in run.rows)
    whole = sum(row.compiled and row.coverage == 100.0 for row in compiled.rows)
    return f"""{TITLE}
`bytemlperf {" ".join(COMMAND)}` with `{" ".join(FLAGS["compile_only"])}` and nothing cached: {whole} of {len(rows)} compiled without an operator on the host, {_minutes(compiled)}.
With `{" ".join(FLAGS["run"])}` after it: {done} of {len(rows)} complete, {_minutes(run)}. On {facts["cpu"]}, {facts["cores"]} cores, which other work may have shared:
the figures show that a task runs, **not** what it can do. `python benchmarks/every_task.py` makes both calls and writes this section.

| task | compile s | run | accuracy | max diff | QPS (batch) | p99 ms | task s, compile only | task s, run |
|---|---|---|---|---|---|---|---|---|
""" + "\n".join(rows)  # fmt: skip


def _minutes(matrix: Matrix) -> str:
    return f"{sum(row.seconds for row in matrix.rows) / 60:.0f} minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reports", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bytemlperf-") as temporary:
        folder = given.reports or Path(temporary)
        if given.reports is None:
            run_all(folder)
        compiled, run = (
            Matrix.model_validate_json((folder / name / "CPU" / FILE).read_text("utf-8"))
            for name in FLAGS
        )
        before = PAGE.read_text(encoding="utf-8").partition(TITLE)[0]
        PAGE.write_text(before + section(compiled, run) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
