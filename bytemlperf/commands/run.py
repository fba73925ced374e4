"""The main job: one task on one hardware type, to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.commands.flags import request
from bytemlperf.commands.many import INTERRUPTED, is_many, run_many, task_names
from bytemlperf.errors import BytemlperfError, ObjectiveMissed, RunInvalid, UsageError

if TYPE_CHECKING:
    from bytemlperf.engine import ProcessOptions, Request, Task
    from bytemlperf.report.matrix import Row
    from bytemlperf.workload import Workload


def run(flags: Mapping[str, Any]) -> None:
    """Do what the top-level flags ask for.

    Raises:
        BytemlperfError: with the exit code that fits.
    """
    if flags["show_task_list"] or flags["show_hardware_list"]:
        _show_lists(flags)
        return
    if not flags["task"]:
        raise UsageError("--task is missing (--show_task_list shows the tasks)")
    if not flags["hardware_type"]:
        raise UsageError("--hardware_type is missing (--show_hardware_list shows the backends)")
    names = dict.fromkeys(name.strip() for name in flags["hardware_type"].split(","))
    if is_many(flags["task"]):
        _run_many(flags, list(names))
        return
    asked = [_request({**flags, "hardware_type": name}) for name in names]
    if flags["dry_run"]:
        for one in asked:
            _dry_run(one)
    elif len(asked) == 1:
        _judge(_run(asked[0]))
    else:
        _run_each(asked)


def _show_lists(flags: Mapping[str, Any]) -> None:
    if flags["show_task_list"]:
        from bytemlperf.commands.tasks import show_tasks

        show_tasks(flags["workload_dir"])
    if flags["show_hardware_list"]:
        from bytemlperf.commands.backends import show_backends

        show_backends(flags["backend_dir"])


def _request(flags: Mapping[str, Any]) -> Request:
    if flags["fetch"] and flags["weights"]:
        raise UsageError("--fetch and --weights both name a checkpoint: give one of them")
    asked = request(flags["task"], flags["hardware_type"], flags)
    return replace(
        asked,
        workload=_with_flags(asked.workload, flags),
        output_dir=flags["output_dir"],
        data_dir=flags["data_dir"],
        sample_data=flags["sample_data"],
        weights=_fetched(asked.workload.model) if flags["fetch"] else asked.weights,
        require_hardware=flags["require_hardware"],
        isolated=_isolated(flags),
    )


def _isolated(flags: Mapping[str, Any]) -> ProcessOptions | None:
    from bytemlperf.engine import ProcessOptions

    python, hang_after = flags["backend_python"], flags["hang_after"]
    if not (flags["isolate"] or python or hang_after):
        return None
    return ProcessOptions(python, hang_after or ProcessOptions.hang_after)


def _fetched(model: str) -> Path:
    from bytemlperf.screen import Screen
    from bytemlperf.zoo import fetch_checkpoint, load_card
    from bytemlperf.zoo.fetch import offline_by_environment

    with Screen().step("fetch") as step:
        return fetch_checkpoint(load_card(model), step.update, offline=offline_by_environment())


# Flags that replace the workload's field of the same name.
_FIELDS = (
    "clients", "iterations", "max_duration_s", "seed", "slo_ms", "data_percent", "verify_percent",
)  # fmt: skip


def _with_flags(workload: Workload, flags: Mapping[str, Any]) -> Workload:
    """A flag wins over the workload's field."""
    from bytemlperf.load import Load

    if flags["quick"]:
        workload = workload.quick()
    changes: dict[str, Any] = {name: flags[name] for name in _FIELDS if flags[name] is not None}
    if flags["max_duration_s"] == 0:
        changes["max_duration_s"] = None
    if flags["compile_only"]:
        changes["compile_only"] = True
    if flags["batch_sizes"]:
        changes["batch_sizes"] = _numbers("--batch_sizes", flags["batch_sizes"])
    if flags["load"]:
        added = [Load.parse(text) for text in flags["load"]]
        changes["load"] = [load.model_dump() for load in (*workload.loads, *added)]
    return workload.with_changes(**changes) if changes else workload


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: expected numbers with commas, e.g. 1,8,64") from error


def _dry_run(asked: Request) -> None:
    from bytemlperf.engine.estimate import describe_plan
    from bytemlperf.engine.task import Task
    from bytemlperf.screen import Screen

    for line in describe_plan(Task(asked, Screen(), _version())):
        click.echo(line)
    click.echo("dry run: nothing was done")


def _version() -> str:
    from bytemlperf import __version__

    return __version__


def _run_each(asked: Sequence[Request]) -> None:
    """Run the task on each hardware type, then compare; the first failure's exit code counts."""
    from rich.console import Console

    from bytemlperf.report.buyer import compare_hardware

    tasks: list[Task] = []
    failed: dict[str, BytemlperfError] = {}
    for one in asked:
        try:
            tasks.append(_run(one))
            _judge(tasks[-1])
        except BytemlperfError as error:
            failed[one.backend.name] = error
            click.echo(f"error: {one.backend.name}: {error}", err=True)
    done = {task.request.backend.name for task in tasks}
    compare_hardware(
        Console(highlight=False),
        (tasks[0].card.title if tasks else asked[0].workload.model)
        + (" at the tiny preset" if asked[0].preset == "tiny" else ""),
        [task.report for task in tasks],
        [f"{name}: {error}" for name, error in failed.items() if name not in done],
        asked[0].workload.slo_ms,
    )
    if failed:
        raise click.exceptions.Exit(next(iter(failed.values())).exit_code)


def _run_many(flags: Mapping[str, Any], hardware_types: Sequence[str]) -> None:
    """Run several tasks on each hardware type; the first failure's exit code counts."""
    if flags["dry_run"]:
        for task in task_names(flags):
            for name in hardware_types:
                _dry_run(_request({**flags, "task": task, "hardware_type": name}))
        return
    codes = []
    for name in hardware_types:
        codes.append(run_many(flags, name, _row))
        if codes[-1] == INTERRUPTED:
            break
    if failed := [code for code in codes if code]:
        raise click.exceptions.Exit(failed[-1] if failed[-1] == INTERRUPTED else failed[0])


def _row(flags: Mapping[str, Any]) -> Row:
    """Run one task, print its report, and return its row."""
    from bytemlperf.engine import StepFailed
    from bytemlperf.engine.runner import Interrupted
    from bytemlperf.report.matrix import Row

    exit_code, reason = 0, ""
    try:
        task = _run(_request(flags))
        _judge(task)
    except StepFailed as failure:
        task, exit_code = failure.task, failure.exit_code
    except Interrupted as stop:
        task, exit_code = stop.task, INTERRUPTED
    except (RunInvalid, ObjectiveMissed) as verdict:
        exit_code, reason = verdict.exit_code, str(verdict)
    row = Row.of(flags["task"], task.report, task.report_file, 0.0)
    return row.model_copy(update={"exit_code": exit_code, "reason": row.reason or reason})


def _run(asked: Request) -> Task:
    from rich.console import Console

    from bytemlperf.engine import StepFailed, run_task
    from bytemlperf.engine.runner import Interrupted
    from bytemlperf.report.terminal import show, simulated_banner
    from bytemlperf.screen import Screen

    screen = Screen()
    if asked.backend.compile_class().simulated and not asked.require_hardware:
        simulated_banner(screen.console, asked.backend.name)
    output = Console(highlight=False)
    try:
        task = run_task(asked, screen, _version())
    except StepFailed as failure:
        show(output, failure.task.report, failure.task.report_file)
        raise
    except Interrupted as stop:
        show(output, stop.task.report, stop.task.report_file)
        click.echo(f"interrupted: saved to {stop.task.report_file}", err=True)
        raise
    show(output, task.report, task.report_file)
    return task


def _judge(task: Task) -> None:
    """Turn the verdict on the whole task into an exit code."""
    if not task.report.valid:
        raise RunInvalid(
            f"the figures of this run cannot be trusted, see its verdicts: {task.report_file}"
        )
    slo = task.workload.slo_ms
    missed = [row for row in task.report.performance if slo is not None and row.p99_latency > slo]
    if missed:
        sizes = ", ".join(str(row.bs) for row in missed)
        raise ObjectiveMissed(f"p99 is above slo_ms {slo:g} at batch {sizes}")
