"""A :class:`~bytemlperf.Result` as a table for a terminal or a notebook."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bytemlperf.report.units import seconds

if TYPE_CHECKING:
    from rich.console import Console

    from bytemlperf.distribution import Distribution
    from bytemlperf.report.schema import OverheadDetail
    from bytemlperf.result import Overhead, Result


def render(result: Result) -> str:
    """Return the table as plain text."""
    from rich.console import Console

    file = io.StringIO()
    console = Console(file=file, width=96, color_system=None)
    _print(console, result)
    return file.getvalue().rstrip()


def render_html(result: Result) -> str:
    """Return the table for a notebook."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=96, record=True)
    _print(console, result)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _sizes(result: Result) -> str:
    """Return the samples of a query, of a mix all sizes where they are few."""
    sizes = [str(size) for size, _ in result.mix] or [str(result.batch_size)]
    if len(sizes) > 4:
        return f"{sizes[0]} to {sizes[-1]}"
    return " or ".join([", ".join(sizes[:-1]), sizes[-1]] if len(sizes) > 1 else sizes)


def _print(console: Console, result: Result) -> None:
    from rich.table import Table

    console.print(
        f"{result.pattern}, {_sizes(result)} sample{'s' * (result.batch_size > 1)} a query, "
        f"{result.instances} instance{'s' * (result.instances > 1)}: "
        f"[bold]{result.queries_per_second:,.1f}[/] queries/s, "
        f"{result.samples_per_second:,.1f} samples/s over {result.duration:.3f} s",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("", "mean", "p50", "p90", "p99", "p99 95 % interval", "p99.9", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for label in ("latency", "service_time", "schedule_lag", "queue_wait", "gil_wait"):
        distribution: Distribution = getattr(result, label)
        if distribution.count:
            table.add_row(label.replace("_", " "), *_figures(distribution))
    console.print(table)
    counts = ", ".join(
        f"{getattr(result, name):,} {name}"
        for name in ("planned", "completed", "errors", "timeouts", "unsent")
        if getattr(result, name) or name in ("planned", "completed")
    )
    console.print(counts)
    if shares := result.environment.get("client_shares"):
        console.print(f"clients: {min(shares):.2f} to {max(shares):.2f} of an equal share each")
    if result.overhead:
        console.print(f"harness: {harness(result.overhead)}", soft_wrap=True)
    if result.late_causes:
        console.print(f"above p99 late because of: {causes(result.late_causes)}", soft_wrap=True)
    for verdict in result.verdicts:
        if not verdict.ok:
            mark = "[bold red]invalid[/]" if verdict.fatal else "[yellow]note[/]"
            console.print(f"{mark} ({verdict.name}): {verdict.detail}", soft_wrap=True)
            console.print(f"  -> {verdict.remedy}", soft_wrap=True)


def harness(overhead: Overhead | OverheadDetail) -> str:
    """What the harness takes, in words: ``61 ns a query, adds 10 ns to a latency``."""
    text = f"{seconds(overhead.per_query)} a query, adds {seconds(overhead.floor)} to a latency"
    if overhead.turnaround is not None:
        text += f"; in this run {seconds(overhead.turnaround)} from answer to next query"
    return text


def causes(late: Mapping[str, float]) -> str:
    """Shares by cause, the largest first: ``backend 83 %, queue 17 %``."""
    parts = sorted(late.items(), key=lambda item: -item[1])
    return ", ".join(f"{cause} {100 * share:.0f} %" for cause, share in parts if share >= 0.005)


def _figures(distribution: Distribution) -> list[str]:
    interval = distribution.interval(0.99)
    return [
        seconds(distribution.mean),
        seconds(distribution.p50),
        seconds(distribution.p90),
        seconds(distribution.p99),
        f"{seconds(interval[0])} .. {seconds(interval[1])}" if interval else "n/a",
        seconds(distribution.p999),
        seconds(distribution.max),
    ]
