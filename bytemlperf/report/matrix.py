"""Many tasks on one backend: what compiled and how much of it, what ran and how well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bytemlperf.report.schema import Report

FILE = "matrix.json"


class Row(BaseModel):
    """One task, from its report; a task that never had one has the reason alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    status: str = Field(description="complete, failed or interrupted")
    compiled: bool = False
    coverage: float | None = Field(default=None, description="operators on the device, percent")
    fallback_operators: dict[str, int] = Field(default_factory=dict)
    compile_s: float | None = Field(default=None, description="cold")
    seconds: float = Field(description="the whole task, in its own process")
    accuracy: dict[str, float] = Field(default_factory=dict)
    accuracy_meaning: str = ""
    max_diff: float | None = None
    within_tolerance: bool | None = None
    best_batch: int | None = None
    best_qps: float | None = Field(default=None, description="samples/s")
    p99_ms: float | None = Field(default=None, description="at the best batch")
    valid: bool = True
    exit_code: int = 0
    reason: str = Field(default="", description="why it failed, or why it cannot be trusted")
    report: str | None = Field(default=None, description="path of the report")

    @classmethod
    def of(cls, task: str, report: Report, path: Path, seconds: float) -> Self:
        """Return the row of a report."""
        details, compiled = report.details, report.graph_compile
        best = max(report.performance, key=lambda row: row.qps, default=None)
        return cls(
            task=task,
            status=details.status,
            compiled=compiled is not None,
            coverage=compiled.subgraph_coverage if compiled else None,
            fallback_operators=details.compile.fallback_operators if details.compile else {},
            compile_s=compiled.compile_duration if compiled else None,
            seconds=seconds,
            accuracy={k: m["value"] for k, m in details.accuracy.metrics.items()}
            if details.accuracy
            else {},
            accuracy_meaning=details.accuracy.meaning if details.accuracy else "",
            max_diff=report.accuracy.max_diff if report.accuracy else None,
            within_tolerance=details.numeric.within_tolerance if details.numeric else None,
            best_batch=best.bs if best else None,
            best_qps=best.qps if best else None,
            p99_ms=best.p99_latency if best else None,
            valid=report.valid,
            reason=details.failure or "",
            report=str(path),
        )


class Matrix(BaseModel):
    """All tasks of one call on one backend."""

    model_config = ConfigDict(extra="forbid")

    backend: str
    simulated: bool
    compile_only: bool
    rows: list[Row] = Field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write JSON; a reader sees the old matrix or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        temporary.replace(path)


def show_matrix(console: Console, matrix: Matrix, path: Path) -> None:
    """Print the table, and what all of it comes to."""
    rows = matrix.rows
    simulated = ", SIMULATED" if matrix.simulated else ""
    table = Table(
        title=f"{len(rows)} task(s) on {matrix.backend}{simulated}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    headings = _COMPILED if matrix.compile_only else _RUN
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*(_compiled_cells(row) if matrix.compile_only else _run_cells(row)))
    console.print()
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(f"[red]{escape(row.task)}[/]: {escape(row.reason)}", soft_wrap=True)
    compiled = [row for row in rows if row.compiled]
    covered = [row for row in compiled if row.coverage == 100.0]
    done = sum(row.status == "complete" for row in rows)
    console.print(
        f"{done} of {len(rows)} done; {len(compiled)} compiled, {len(covered)} of them without an "
        "operator on the host"
    )
    console.print(f"matrix   {escape(str(path))}", soft_wrap=True)


_COMPILED = ("task", "compiled", "coverage %", "fell back", "compile s", "task s")
_RUN = ("task", "status", "coverage %", "accuracy", "max diff", "QPS (BS)", "p99 ms", "task s")


def _compiled_cells(row: Row) -> list[str]:
    fell_back = ", ".join(f"{kind} ({n})" for kind, n in row.fallback_operators.items())
    return [
        row.task,
        "[green]yes[/]" if row.compiled else "[red]no[/]",
        _number(row.coverage, ".1f"),
        escape(fell_back),
        _number(row.compile_s, ".3g"),
        f"{row.seconds:.1f}",
    ]


def _run_cells(row: Row) -> list[str]:
    color = "green" if row.status == "complete" and row.valid else "red"
    accuracy = ", ".join(f"{name} {value:.4g}" for name, value in row.accuracy.items())
    difference = _number(row.max_diff, ".3g")
    return [
        row.task,
        f"[{color}]{row.status if row.valid else 'invalid'}[/]",
        _number(row.coverage, ".1f"),
        "random weights" if row.accuracy_meaning else accuracy,
        difference if row.within_tolerance is not False else f"[yellow]{difference}[/]",
        f"{row.best_qps:,.4g} ({row.best_batch})" if row.best_qps is not None else "",
        _number(row.p99_ms, ",.4g"),
        f"{row.seconds:.1f}",
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
