"""``bytemlperf check-backend``: what a backend promises, tried check by check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.commands.flags import flag, model_flags, option_flags, preset_flag, request
from bytemlperf.errors import BytemlperfError

if TYPE_CHECKING:
    from rich.table import Table

    from bytemlperf.report.schema import Conformance

# The smallest of the zoo; a backend that takes other models names one in its device.json.
_TASK = "digits-onnx-fp32"
_STYLES = {"passed": "green", "not applicable": "dim", "not run": "yellow"}


@click.command("check-backend")
@click.argument("name", metavar="BACKEND")
@flag("task", help="Task whose model is used. [default: the backend's check_task]")
@preset_flag("tiny")
@flag("check", "only", multiple=True, metavar="NAME", help="Only this check. Repeatable.")
@flag("json", "json_file", type=click.Path(path_type=Path), help="Write the result here too.")
@flag("check_seconds", type=float, default=60.0, show_default=True, help="Then a check hangs.")
@flag("leak_seconds", type=float, default=60.0, show_default=True, help="Bound of the leak check.")
@flag("leak_calls", type=int, default=10_000, show_default=True, help="Calls of the leak check.")
@model_flags
@option_flags
def check_backend(
    name: str,
    task: str | None,
    only: tuple[str, ...],
    json_file: Path | None,
    check_seconds: float,
    leak_seconds: float,
    leak_calls: int,
    **flags: Any,
) -> None:
    """Try what a backend promises: one row a check, in a child process.

    A crash or a hang of the backend is a row. Later reports of the same files repeat the result.
    """
    from bytemlperf import __version__
    from bytemlperf.conformance import Interrupted, Limits
    from bytemlperf.conformance import check_backend as check
    from bytemlperf.registry import find_backend
    from bytemlperf.screen import Screen

    if task is None:
        task = find_backend(name, flags["backend_dir"]).device().get("check_task", _TASK)
    asked = request(task, name, flags)
    limits = Limits(check_seconds, leak_seconds, leak_calls)
    screen = Screen()
    try:
        with screen.step("check-backend") as step:
            found = check(asked, __version__, limits, only, step.update)
            step.outcome = f"{found.passed} of {len(found.checks)} checks passed or do not apply"
    except Interrupted as stop:
        _show(stop.found, json_file)
        raise
    _show(found, json_file)
    if found.failed:
        raise BytemlperfError(f"{found.backend} failed: {', '.join(found.failed)}")


def _show(found: Conformance, json_file: Path | None) -> None:
    from rich.console import Console

    from bytemlperf.report.terminal import simulated_banner

    console = Console(highlight=False)
    if found.simulated:
        simulated_banner(console, found.backend)
    console.print(_table(found))
    if json_file is not None:
        json_file.write_text(found.model_dump_json(indent=1), encoding="utf-8")


def _table(found: Conformance) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{found.backend} with {found.task} ({found.preset})",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    table.add_column("check", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("seen", overflow="fold")
    table.add_column("s", justify="right")
    for row in found.checks:
        style = _STYLES.get(row.outcome, "bold red")
        table.add_row(
            row.name, f"[{style}]{row.outcome}[/]", escape(row.detail), f"{row.seconds:.1f}"
        )
    return table
