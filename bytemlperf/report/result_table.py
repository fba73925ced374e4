"""A :class:`~bytemlperf.Result` as a table for a terminal or a notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bytemlperf.report.units import seconds

if TYPE_CHECKING:
    from rich.console import Console

    from bytemlperf.distribution import Distribution
    from bytemlperf.result import Result


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


def _print(console: Console, result: Result) -> None:
    from rich.table import Table

    console.print(
        f"{result.pattern}, {result.batch_size} sample{'s' * (result.batch_size > 1)} a query, "
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
    for verdict in result.verdicts:
        if not verdict.ok:
            console.print(f"[bold red]invalid[/] ({verdict.name}): {verdict.detail}")
            console.print(f"  -> {verdict.remedy}")


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
