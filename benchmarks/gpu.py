"""Every task on the GPU of this machine, checked against what is expected, in one table.

    pip install torch==2.13.0 && pip install -c constraints.txt '.[zoo,report]' nvidia-ml-py
    pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt
    python benchmarks/gpu.py                    every torch and ONNX task, torch CUDA and each provider
    python benchmarks/gpu.py --quick --tasks roberta-torch-fp32,resnet50-torch-fp32

The second line and nvidia-ml-py may be left out: ONNX tasks, or the energy, are then not there. Reports lie in ``--output_dir/<variant>/GPU/<model>/``. Expected of each: it ends, no query fails, every
operator runs on the device or is named, the outputs are within the model's tolerance at that
precision. What was expected and did not come is a row of its own, and the exit code is 1. Without a
GPU it refuses, and says what is missing (exit code 2).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bytemlperf.errors import BytemlperfError
from bytemlperf.registry import find_backend
from bytemlperf.report.buyer import best_row
from bytemlperf.report.schema import Report
from bytemlperf.workload import Workload, list_workloads
from bytemlperf.zoo import load_card

FORMATS = ("torchscript", "onnx")
_LONGEST_S = 3600.0  # of one variant


@dataclass(frozen=True)
class Variant:
    """One way to run one task."""

    task: str
    model: str
    options: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return "-".join(value for _, value in self.options)

    def command(self, output_dir: Path, quick: bool) -> list[str]:
        """The command line of this variant; every run is a process of its own."""
        return [
            *(sys.executable, "-m", "bytemlperf", "--require_hardware"),
            *("--task", self.task, "--hardware_type", "GPU"),
            *("--output_dir", str(output_dir / self.name)),
            *(part for key, value in self.options for part in ("--set", f"{key}={value}")),
            *(["--quick"] if quick else []),
        ]


def variants(tasks: list[str], providers: tuple[str, ...], torch: bool) -> Iterator[Variant]:
    """Yield what can be run: torch in three precisions, ONNX with each provider."""
    for task in tasks:
        card = load_card(Workload.load(task).model)
        if card.format == "torchscript" and torch:
            for precision in ("fp32", "tf32", "fp16"):
                yield Variant(task, card.name, (("precision", precision),))
        if card.format == "onnx":
            for provider in providers:
                for precision in ("fp32", "fp16") if provider == "tensorrt" else ("fp32",):
                    yield Variant(
                        task, card.name, (("provider", provider), ("precision", precision))
                    )


def problems(report: Report) -> list[str]:
    """Return what was expected of a run and did not come."""
    details = report.details
    found = [] if details.status == "complete" else [f"{details.status}: {details.failure}"]
    if report.simulated:
        found.append("it was simulated")
    if not report.valid:
        bad = {v.name for run in details.performance for v in run.verdicts if not v.ok}
        found.append(f"invalid: {', '.join(sorted(bad))}")
    if errors := sum(run.errors for run in details.performance):
        found.append(f"{errors} queries failed")
    if details.numeric is not None and not details.numeric.within_tolerance:
        found.append(f"outputs are outside tolerance {details.numeric.tolerance:g}")
    return found


def row(variant: Variant, report: Report | None, said: list[str]) -> str:
    """One row of the table, in Markdown."""
    cells = [variant.task, variant.name]
    best = best_row(report, None) if report else None
    compiled = report.graph_compile if report else None
    energy = [r.energy for r in report.details.performance if r.energy] if report else []
    cells += (
        [f"{best.qps:,.1f}", str(best.bs), f"{best.avg_latency:.4g}", f"{best.p99_latency:.4g}"]
        if best
        else ["", "", "", ""]
    )
    cells.append(f"{compiled.compile_duration:.3g}" if compiled else "")
    cells.append(f"{compiled.subgraph_coverage:.1f}{on_host(report)}" if compiled else "")
    difference = report.accuracy.max_diff if report and report.accuracy else None
    cells.append("" if difference is None else f"{difference:.3g}")
    cells.append(f"{min(e.net_joules_per_sample for e in energy):.3g}" if energy else "n/a")
    cells.append("; ".join(said) or "as expected")
    return f"| {' | '.join(cells)} |"


def on_host(report: Report | None) -> str:
    """The operators that fell back, named."""
    compiled = report.details.compile if report else None
    named = compiled.fallback_operators.items() if compiled else ()
    return "".join(f", {kind} {count}" for kind, count in named)


HEADINGS = (
    "task", "variant", "best QPS (samples/s)", "BS", "avg ms", "p99 ms", "compile s", "coverage %",
    "max diff", "J a sample", "expectation",
)  # fmt: skip


def run(variant: Variant, output_dir: Path, quick: bool) -> tuple[Report | None, list[str]]:
    """Run one variant; returns its report, and what did not come as expected."""
    folder = output_dir / variant.name / "GPU" / variant.model
    for earlier in folder.glob("result-*.json"):
        earlier.unlink()  # or what dies before its report would show this one
    try:
        done = subprocess.run(
            variant.command(output_dir, quick),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        return None, [f"it was stopped after {_LONGEST_S:g} s"]
    files = list(folder.glob("result-*.json"))
    if not files:
        last = done.stderr.strip().splitlines()
        return None, [last[-1] if last else f"exit code {done.returncode}"]
    report = Report.load(files[0])
    died = [f"it was ended by signal {-done.returncode}"] if done.returncode < 0 else []
    return report, died + problems(report)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", help="names with commas; every torch and ONNX task without it")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes a task")
    parser.add_argument("--output_dir", type=Path, default=Path("reports-gpu"))
    given = parser.parse_args(arguments)
    try:
        find_backend("GPU").compile_class()
        tasks = given.tasks.split(",") if given.tasks else all_tasks()
        for task in tasks:
            Workload.load(task)
    except BytemlperfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from bytemlperf.backends.GPU.sdk import providers, torch_has_gpu

    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}", flush=True)
    bad = 0
    todo = list(variants(tasks, providers(), torch_has_gpu()))
    for number, variant in enumerate(todo, 1):
        print(f"{variant.task} {variant.name}: {number} of {len(todo)}", file=sys.stderr)
        report, said = run(variant, given.output_dir, given.quick)
        print(row(variant, report, said), flush=True)
        bad += bool(said)
    return 1 if bad else 0


def all_tasks() -> list[str]:
    """Return the tasks whose models the GPU backend runs."""
    return [
        task for task in list_workloads() if load_card(Workload.load(task).model).format in FORMATS
    ]


if __name__ == "__main__":
    sys.exit(main())
