"""A report on the screen: what was measured, what came out, whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bytemlperf.report.result_table import harness
from bytemlperf.report.schema import Report, RunDetail, VerdictDetail
from bytemlperf.report.units import seconds

# Of what _figures() returns.
_HEADINGS = (
    "QPS\n(samples/s)", "avg ms", "p50 ms", "p99 ms", "95 % of p99", "queries\ndone of asked", "",
)  # fmt: skip


def simulated_banner(console: Console, backend: str) -> None:
    """Say that no hardware was measured."""
    console.rule(
        f"[bold yellow]SIMULATED: {backend} is a device model, not hardware", style="yellow"
    )


def show(console: Console, report: Report, path: Path) -> None:
    """Print the summary of a report that lies at ``path``."""
    details = report.details
    console.print()
    if report.simulated:
        simulated_banner(console, report.backend)
    where = "a device model, run on " if report.simulated else ""
    host = f"{where}{report.host_info}, {details.environment['cores']} cores"
    console.print(f"[bold]{report.model} on {report.backend}[/]  ({escape(host)})")
    _facts(console, report)
    _conformance(console, report)
    if details.performance:
        console.print(_performance(details.performance))
        _generation(console, details.performance)
    if details.loads:
        console.print(_loads(details.loads))
    _energy(console, report)
    for detail in (*details.performance, *details.loads)[:1]:
        if detail.overhead:
            console.print(f"harness  {harness(detail.overhead)}", soft_wrap=True)
    _verdicts(console, report)
    if details.status == "interrupted":
        console.print("[bold yellow]interrupted[/]: what was measured until then is in the report")
    if details.failure:
        console.print(f"[bold red]failed[/]: {escape(details.failure)}")
    console.print(f"report   {escape(str(path))}", soft_wrap=True)
    if report.simulated:
        simulated_banner(console, report.backend)


def _facts(console: Console, report: Report) -> None:
    details = report.details
    if report.weights:
        parameters = f"{details.parameters:,} parameters, " if details.parameters else ""
        console.print(f"weights  {parameters}{escape(report.weights)}", soft_wrap=True)
    if report.graph_compile and details.compile:
        compiled = report.graph_compile
        first, peak = details.compile.first_inference_s, details.compile.peak_memory_mib
        what = "of the device model " if report.simulated else ""
        console.print(
            f"compile  {what}{seconds(compiled.compile_duration)}, {compiled.compile_precision}, "
            f"{compiled.subgraph_coverage:.1f} % of {details.compile.operators} operators"
            + (f", first inference {seconds(max(first.values()))}" if first else "")
            + (f", peak {peak:,.0f} MiB" if peak is not None else ""),
            soft_wrap=True,
        )
        for shown in ("stand_in", "caveat"):
            if said := details.compile.notes.get(shown):
                console.print(f"         [bold yellow]{escape(str(said))}[/]", soft_wrap=True)
        for kind, count in details.compile.fallback_operators.items():
            console.print(f"         fell back to the host: {kind} ({count})")
        _model_of_speed(console, details.compile.notes)
    if details.accuracy_skipped:
        console.print(f"accuracy skipped: {escape(details.accuracy_skipped)}", soft_wrap=True)
    if details.accuracy:
        for name, metric in details.accuracy.metrics.items():
            console.print(
                f"accuracy {name} [bold]{metric['value']:.4g}[/] "
                f"[{metric['low']:.4g}, {metric['high']:.4g}] at 95 %, n = {metric['n']:.0f}, "
                f"{escape(details.accuracy.dataset)}",
                soft_wrap=True,
            )
        if details.accuracy.meaning:
            console.print(f"         [yellow]{escape(details.accuracy.meaning)}[/]", soft_wrap=True)
    if details.numeric and report.accuracy:
        numeric = details.numeric
        verdict = "[green]within[/]" if numeric.within_tolerance else "[yellow]outside[/]"
        relative = " of each output's RMS" if "mean(r**2)" in numeric.tolerance_definition else ""
        console.print(
            f"numeric  max |diff| {report.accuracy.max_diff:.3g}, mean "
            f"{report.accuracy.mean_diff:.3g}: {verdict} tolerance {numeric.tolerance:g}{relative} "
            f"({numeric.samples} samples against {escape(numeric.reference)})",
            soft_wrap=True,
        )


def _model_of_speed(console: Console, notes: Mapping[str, Any]) -> None:
    """Where a device model's times come from, and how far such a prediction was off."""
    if "service_time_error" not in notes:
        return
    if host_s := notes.get("host_segments_s"):
        taken = ", ".join(f"{seconds(s)} at batch {size}" for size, s in host_s.items())
        console.print(f"         on the host: {taken}, in the service time", soft_wrap=True)
    if (published_s := notes.get("published_compile_s")) is not None:
        console.print(f"         published for the device: compiled in {published_s:g} s")
    console.print(
        f"speed    a fit of published results; its errors, {notes['service_time_error']}",
        soft_wrap=True,
    )


def _conformance(console: Console, report: Report) -> None:
    found = report.details.conformance
    if found is None:
        said = f"no: bytemlperf check-backend {report.backend} does it"
    else:
        said = (
            f"{found.passed} of {len(found.checks)} checks, {found.date} with {found.task} "
            f"({found.backend_version})"
        )
        if found.failed:
            said += f"; [yellow]failed: {', '.join(found.failed)}[/]"
    console.print(f"checked  {said}", soft_wrap=True)


def _isolation(run: RunDetail) -> str:
    if run.isolation is None:
        return ""
    hop = run.isolation.hop_p50_us
    return ", isolated" if hop is None else f", isolated: {hop:.1f} us a query for the bridge"


def _performance(runs: list[RunDetail]) -> Table:
    first = runs[0]
    threads = f" of {first.threads_per_instance} thread(s)" if first.threads_per_instance else ""
    table = _table(f"{first.load}; {first.instances} instance(s){threads}{_isolation(first)}")
    for heading in ("BS", *_HEADINGS):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(str(run.batch_size), *_figures(run))
    return table


def _generation(console: Console, runs: list[RunDetail]) -> None:
    for run in runs:
        if (tokens := run.generation) is not None:
            further = "" if tokens.tpot_ms is None else f", each further {tokens.tpot_ms:,.1f} ms"
            console.print(
                f"tokens   batch {run.batch_size}, {tokens.input_tokens} in, "
                f"{tokens.output_tokens} out: first after {tokens.ttft_ms:,.1f} ms{further}; "
                f"{tokens.output_tokens_per_second:.3g} tokens/s",
                soft_wrap=True,
            )


def _loads(runs: list[RunDetail]) -> Table:
    table = _table("open loop: latency counts from when each query was due")
    table.add_column("load")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(run.load.removeprefix("open loop, "), *_figures(run))
    return table


def _energy(console: Console, report: Report) -> None:
    details = report.details
    if details.power is None:
        return
    said = [
        f"{run.energy.net_joules_per_sample:.3g} J at batch {run.batch_size}"
        for run in details.performance
        if run.energy is not None
    ]
    text = f"{', '.join(said)} a sample, idle power subtracted ({details.power})" if said else ""
    console.print(f"energy   {escape(text or details.power)}", soft_wrap=True)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        caption_justify="left",
        box=None,
        pad_edge=False,
    )


def _figures(run: RunDetail) -> list[str]:
    done = f"{run.completed} of {run.planned}"
    if not run.intervals:
        return ["", "", "", "", "", done, "[red]no answer[/]"]
    latency = run.intervals["latency"]
    interval = latency.p99_interval_ms
    return [
        _short(run.samples_per_second),
        _short(latency.mean_ms),
        _short(latency.p50_ms),
        f"[bold]{_short(latency.p99_ms)}[/]",
        f"{_short(interval[0])}..{_short(interval[1])}" if interval else "n/a",
        done,
        "" if run.valid else "[red]invalid[/]",
    ]


def _short(value: float) -> str:
    """Four significant digits, without an exponent for the sizes that occur."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value >= 1e-3 else f"{value:.2g}"


def _verdicts(console: Console, report: Report) -> None:
    details = report.details
    for verdict in details.verdicts:
        if not verdict.ok:
            console.print(
                f"{_mark(verdict)} {escape(verdict.name)}: {escape(verdict.detail)} -> "
                f"{escape(verdict.remedy)}",
                soft_wrap=True,
            )
    runs = [*details.performance, *details.loads]
    for named in _alike(runs):
        (run, verdict), *others = named
        more = f" (and batch {', '.join(str(r.batch_size) for r, _ in others)})" if others else ""
        console.print(
            f"{_mark(verdict)} {run.load}, batch {run.batch_size}: {escape(verdict.detail)}{more} "
            f"-> {escape(verdict.remedy)}",
            soft_wrap=True,
        )
    for run in runs:
        for kind, first in run.error_types.items():
            console.print(f"         {kind}: {escape(first)}", soft_wrap=True)
    lacking = {r.intervals["latency"].p99_interval_reason for r in runs if r.intervals} - {""}
    if lacking:
        console.print(f"n/a: {min(lacking)}", soft_wrap=True)


def _alike(runs: Sequence[RunDetail]) -> list[list[tuple[RunDetail, VerdictDetail]]]:
    """Verdicts that are not ok; those of one name and load in one group, said once."""
    groups: dict[tuple[str, str, bool], list[tuple[RunDetail, VerdictDetail]]] = {}
    for run in runs:
        for verdict in run.verdicts:
            if not verdict.ok:
                groups.setdefault((run.load, verdict.name, verdict.fatal), []).append(
                    (run, verdict)
                )
    return list(groups.values())


def _mark(verdict: VerdictDetail) -> str:
    return "[red]invalid[/]" if verdict.fatal else "[yellow]note[/]"
