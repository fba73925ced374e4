"""``bytemlperf selftest``: proof on this host, line by line."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.errors import RunInvalid

if TYPE_CHECKING:
    from bytemlperf.selftest import Line

_SCHEMA = "bytemlperf-selftest/1"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def selftest(as_json: bool) -> None:
    """Prove the load generator on this host, in under a minute.

    Queueing theory on the virtual clock; clock, hand-over and overhead in wall time; plans and
    intervals. Ends with exit code 3 where a line does not hold.
    """
    from bytemlperf.screen import Screen
    from bytemlperf.selftest import CHECKS

    screen = Screen()
    began = time.monotonic()
    lines: list[tuple[Line, float]] = []
    with screen.step("selftest") as step:
        for number, check in enumerate(CHECKS):
            at = time.monotonic()
            line = check()
            lines.append((line, time.monotonic() - at))
            step.update(line.name, (number + 1) / len(CHECKS))
        failed = [line for line, _ in lines if not line.ok]
        took = time.monotonic() - began
        step.outcome = f"{len(lines) - len(failed)} of {len(lines)} lines hold, {took:.0f} s"
    if as_json:
        click.echo(json.dumps(_document(lines, took), indent=1))
    else:
        _show(lines)
    if failed:
        raise RunInvalid(
            "\n".join(f"{line.name}: {line.measured} -> {line.remedy}" for line in failed)
        )


def _document(lines: list[tuple[Line, float]], took: float) -> dict[str, Any]:
    from bytemlperf import __version__
    from bytemlperf.host import environment

    return {
        "schema": _SCHEMA,
        "version": __version__,
        "ok": all(line.ok for line, _ in lines),
        "seconds": round(took, 2),
        "environment": environment(),
        "lines": [{**line.__dict__, "seconds": round(seconds, 3)} for line, seconds in lines],
    }


def _show(lines: list[tuple[Line, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "claim", "expected", "measured"):
        table.add_column(heading, overflow="fold")
    table.add_column("s", justify="right")
    for line, seconds in lines:
        verdict = "[green]ok[/]" if line.ok else "[bold red]FAILED[/]"
        table.add_row(verdict, line.name, line.expected, line.measured, f"{seconds:.1f}")
    Console(highlight=False).print(table)
