"""A :class:`~bytemlperf.Comparison` as a table for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bytemlperf.report.units import seconds

if TYPE_CHECKING:
    from rich.console import Console

    from bytemlperf.comparison import Change, Comparison


def render(comparison: Comparison) -> str:
    """Return the table as plain text."""
    from rich.console import Console

    file = io.StringIO()
    print_comparison(Console(file=file, width=110, color_system=None), comparison)
    return file.getvalue().rstrip()


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table, the verdict and the notes."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", min_width=4)
    interval = f"{comparison.confidence:.4%}".rstrip("0%").rstrip(".") + " % interval"
    for heading in ("before", "after", "change", interval, "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for change in comparison.changes:
        table.add_row(*_row(change))
    console.print(table)
    judged = [change for change in comparison.changes if change.change is not None]
    if judged and not comparison.detected:
        console.print(
            "[bold]no detectable difference[/]; a change beyond the bounds shown is ruled out"
        )
    for change in comparison.changes:
        if change.reason:
            console.print(f"{change.metric}: cannot say: {escape(change.reason)}", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"[yellow]note[/]: {escape(note)}", soft_wrap=True)


def _row(change: Change) -> list[str]:
    show = (lambda x: f"{x:,.1f}/s") if change.metric == "qps" else seconds
    label = "QPS" if change.metric == "qps" else change.metric
    row = [label, show(change.before), show(change.after)]
    if change.change is None or change.interval is None or change.p_value is None:
        return [*row, "n/a", "", "", ""]
    low, high = change.interval
    p_value = f"{change.p_value:.3f}" if change.p_value >= 0.001 else "< 0.001"
    verdict = (
        f"[bold]{'up' if change.change > 0 else 'down'}[/]"
        if change.detected
        else f"noise (< ±{_percent(change.bound or 0.0).lstrip('+')} %)"
    )
    interval = f"{_percent(low)} .. {_percent(high)} %"
    return [*row, f"{change.change:+.2%}", interval, p_value, verdict]


def _percent(share: float) -> str:
    """With its sign; two decimals where they mean something."""
    return f"{100 * share:+.2f}" if abs(share) < 0.1 else f"{100 * share:+.0f}"
