"""Several hardware types on one task: measured and simulated apart, then one sentence for a buyer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bytemlperf.report.schema import Performance, Report


def compare_hardware(
    console: Console,
    title: str,
    reports: Sequence[Report],
    failed: Sequence[str],
    slo_ms: float | None,
) -> None:
    """Print a table of the measured, one of the simulated, what failed, and the sentence."""
    console.print()
    for simulated, heading in (
        (False, "measured on this host"),
        (True, "[yellow]SIMULATED by device models: not measurements"),
    ):
        group = [report for report in reports if report.simulated is simulated]
        if group:
            console.print(_table(heading, group, slo_ms))
    for name in failed:
        console.print(f"[red]no result[/]: {escape(name)}", soft_wrap=True)
    console.print(escape(sentence(title, reports, slo_ms)), soft_wrap=True)


def _table(heading: str, reports: Sequence[Report], slo_ms: float | None) -> Table:
    table = Table(title=heading, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("hardware")
    for name in (
        "best QPS\n(samples/s)",
        "at BS",
        "avg ms",
        "p99 ms",
        "precision",
        "max |diff|",
        "",
    ):
        table.add_column(name, justify="right")
    for report in reports:
        row = best_row(report, slo_ms)
        compiled, accuracy = report.graph_compile, report.accuracy
        difference = accuracy.max_diff if accuracy else None
        table.add_row(
            report.backend,
            *(
                ("n/a",) * 4
                if row is None
                else (
                    f"{row.qps:,.1f}",
                    str(row.bs),
                    f"{row.avg_latency:.4g}",
                    f"{row.p99_latency:.4g}",
                )
            ),
            compiled.compile_precision if compiled else "n/a",
            "n/a" if difference is None else f"{difference:.3g}",
            "" if report.valid else "[red]invalid[/]",
        )
    return table


def best_row(report: Report, slo_ms: float | None) -> Performance | None:
    """Return the fastest batch size whose p99 meets the objective, where there is one."""
    rows = [row for row in report.performance if slo_ms is None or row.p99_latency <= slo_ms]
    return max(rows, key=lambda row: row.qps, default=None)


def sentence(title: str, reports: Sequence[Report], slo_ms: float | None) -> str:
    """Return what a buyer needs of it, in one sentence. No figure crosses between the groups."""
    measured = _answers([r for r in reports if not r.simulated], slo_ms)
    modelled = _answers([r for r in reports if r.simulated], slo_ms)
    bound = f" with p99 within {slo_ms:g} ms" if slo_ms is not None else ""
    said = []
    if measured:
        said.append(f"measured on this host, {measured}")
    if modelled:
        said.append(f"device models, which are no measurement, expect that {modelled}")
    if not said:
        return f"For {title}{bound}, there is no result."
    return f"For {title}{bound}: {'; '.join(said)}."


def _answers(reports: Sequence[Report], slo_ms: float | None) -> str:
    """Return the group's answers, the fastest first; each slower one as a share of it."""
    rows = [(report, row) for report in reports if (row := best_row(report, slo_ms)) is not None]
    rows.sort(key=lambda pair: pair[1].qps, reverse=True)
    said: list[str] = []
    for report, row in rows:
        text = (
            f"{report.backend} answers {_number(row.qps)} samples a second at batch {row.bs}, 99 % of "
            f"queries within {row.p99_latency:.4g} ms"
        )
        if said:
            text += f" ({rows[0][1].qps / row.qps:.2g} times slower than {rows[0][0].backend})"
        if (error := _median_error(report)) is not None:
            text += f" (such a model is off by {error:.0%} in the median)"
        if not report.valid:
            text += " (an invalid run: do not rely on it)"
        said.append(text)
    said += [
        f"{report.backend} does not meet it at any batch size"
        for report in reports
        if report.performance and best_row(report, slo_ms) is None
    ]
    return ", ".join(said)


def _median_error(report: Report) -> float | None:
    """How far a device model's predictions of speed were off; None of what was measured."""
    compiled = report.details.compile
    found = compiled.notes.get("service_time_median_error") if compiled else None
    return None if found is None else float(found)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
