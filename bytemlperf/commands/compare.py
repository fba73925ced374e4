"""``bytemlperf compare``: what changed between two results or two reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.errors import Regression, RunInvalid, UsageError

if TYPE_CHECKING:
    from bytemlperf.comparison import Change, Comparison
    from bytemlperf.result import Result

_FILE = click.Path(path_type=Path, dir_okay=False)
_CONDITION = re.compile(
    r"\s*(?P<metric>[a-z][a-z0-9.]*)\s*(?P<sign>[<>])\s*(?P<bound>[+-]?\d+(\.\d+)?)\s*%\s*"
)


@dataclass(frozen=True)
class Condition:
    """``p99>+5%``: the change of a metric beyond a bound."""

    metric: str
    above: bool
    bound: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one condition.

        Raises:
            UsageError: naming what is expected.
        """
        from bytemlperf.comparison import METRICS

        match = _CONDITION.fullmatch(text.lower())
        if match is None:
            raise UsageError(f"--fail-if {text!r}: expected e.g. 'p99>+5%' or 'qps<-3%'")
        metric = match["metric"]
        if metric not in METRICS:
            raise UsageError(f"--fail-if {text!r}: {metric!r} is not one of {', '.join(METRICS)}")
        bound = float(match["bound"]) / 100
        above = match["sign"] == ">"
        if (bound < 0) if above else (bound > 0):
            raise UsageError(
                f"--fail-if {text!r}: no change at all would fail it; write > with +, < with -"
            )
        return cls(metric, above, bound, text.strip())

    def holds(self, change: Change) -> bool:
        """The measured change lies beyond the bound, and it is more than noise."""
        if change.change is None or not change.detected:
            return False
        return change.change > self.bound if self.above else change.change < self.bound


@click.command()
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@click.option(
    "--fail-if",
    "--fail_if",
    "conditions",
    multiple=True,
    metavar="METRIC>+N%",
    help="Exit with 5 where it holds, e.g. 'p99>+5%' or 'qps<-3%'. Repeatable.",
)
@click.option(
    "--confidence", type=float, default=0.99, show_default=True, help="Of everything together."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(
    before: Path, after: Path, conditions: tuple[str, ...], confidence: float, as_json: bool
) -> None:
    """Say what changed from BEFORE to AFTER, and whether it is more than noise.

    Each is a saved result (Result.save, or runs/*.json beside a report) or a whole report, whose
    runs are then matched by load and batch size.

    A condition of --fail-if holds where the measured change is beyond its bound and is not noise.
    Exit codes: 0 none holds, 5 one holds, 3 the data cannot say, 2 usage.
    """
    from bytemlperf.comparison import DEFAULT_METRICS, METRICS, compare_all

    asked = [Condition.parse(text) for text in conditions]
    wanted = {*DEFAULT_METRICS, *(condition.metric for condition in asked)}
    runs = _matched(_results(before), _results(after), before, after)
    comparisons = compare_all(
        [(a, b) for _, a, b in runs],
        metrics=[metric for metric in METRICS if metric in wanted],
        confidence=confidence,
    )
    named = [(name, c) for (name, *_), c in zip(runs, comparisons, strict=True)]
    if as_json:
        click.echo(json.dumps([{"run": name, **c.to_dict()} for name, c in named], indent=1))
    else:
        _show(named)
    invalid = [name for name, a, b in runs if not (a.valid and b.valid)]
    _judge(named, asked, invalid)


def _results(path: Path) -> dict[str, Result]:
    """The runs of a file by name: of a result one, of a report those that lie beside it."""
    from bytemlperf.result import load_result

    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot read a result: {error}") from error
    if not isinstance(data, dict) or "Details" not in data:
        return {"": load_result(path)}
    from bytemlperf.report.schema import Report

    details = Report.load(path).details
    found = {
        f"{run.load}, batch {run.batch_size}": load_result(path.parent / run.result_file)
        for run in (*details.performance, *details.loads)
        if run.result_file
    }
    if not found:
        raise UsageError(f"{path}: the report holds no measured run")
    return found


def _matched(
    before: dict[str, Result], after: dict[str, Result], first: Path, second: Path
) -> list[tuple[str, Result, Result]]:
    if len(before) == len(after) == 1:
        name = next(iter(before))
        return [(name, before[name], next(iter(after.values())))]
    runs = [(name, run, after[name]) for name, run in before.items() if name in after]
    if not runs:
        raise UsageError(f"{first} and {second} have no load and batch size in common")
    for name in before.keys() ^ after.keys():
        click.echo(f"only in {first if name in before else second}: {name}", err=True)
    return runs


def _show(named: list[tuple[str, Comparison]]) -> None:
    from rich.console import Console

    from bytemlperf.report.comparison_table import print_comparison

    console = Console(highlight=False)
    for name, comparison in named:
        if name:
            console.print(f"[bold]{name}[/]")
        print_comparison(console, comparison)


def _judge(
    named: list[tuple[str, Comparison]], conditions: list[Condition], invalid: list[str]
) -> None:
    broken = list(_broken(named, conditions))
    if broken:
        raise Regression("; ".join(broken))
    if invalid:
        raise RunInvalid("a run that is compared here is invalid, see the notes")
    for name, comparison in named:
        for condition in conditions:
            change = comparison[condition.metric]
            if change.change is None:
                where = f"{name}: " if name else ""
                raise RunInvalid(f"{where}cannot judge {condition.text!r}: {change.reason}")


def _broken(named: list[tuple[str, Comparison]], conditions: list[Condition]) -> Iterator[str]:
    for name, comparison in named:
        for condition in conditions:
            change = comparison[condition.metric]
            if condition.holds(change):
                where = f"{name}: " if name else ""
                yield f"{where}{condition.metric} changed by {change.change:+.2%} ({condition.text})"
