"""``--task all`` and lists of tasks: one after another, each in a process of its own, then a table.

A process takes its model's memory with it when it ends, and its crash is one row of the table.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.errors import BytemlperfError

if TYPE_CHECKING:
    from bytemlperf.report.matrix import Row

ALL = "all"
INTERRUPTED = 130

#: (flags of one task) -> (its row, before its exit code is known; raises what a task raises)
Main = Callable[[Mapping[str, Any]], "Row"]


def is_many(task: str) -> bool:
    """True where ``--task`` names more than one task."""
    return task == ALL or "," in task


def task_names(flags: Mapping[str, Any]) -> list[str]:
    """Return the tasks that ``--task`` names; each is read, so that a wrong one ends it at once."""
    from bytemlperf.workload import Workload, list_workloads

    folder = flags["workload_dir"]
    if flags["task"] == ALL:
        return list_workloads(folder)
    names = list(dict.fromkeys(name.strip() for name in flags["task"].split(",") if name.strip()))
    for name in names:
        Workload.load(name, folder)
    return names


def run_many(flags: Mapping[str, Any], hardware_type: str, main: Main) -> int:
    """Run every task on one backend and print the table; returns the first failure's exit code.

    Ctrl-C ends the task that runs, which saves what it has measured; the table shows what is done.
    """
    from bytemlperf.commands.tables import table_console
    from bytemlperf.registry import find_backend
    from bytemlperf.report.matrix import FILE, Matrix, show_matrix

    names = task_names(flags)
    backend = find_backend(hardware_type, flags["backend_dir"])
    simulated = backend.compile_class().simulated
    folder = f"{backend.name}-simulated" if simulated else backend.name
    path = Path(flags["output_dir"]) / folder / FILE
    matrix = Matrix(backend=backend.name, simulated=simulated, compile_only=flags["compile_only"])
    for number, name in enumerate(names, 1):
        click.echo(f"\n== {name} on {backend.name} ({number} of {len(names)})", err=True)
        row = _in_process({**flags, "task": name, "hardware_type": hardware_type}, main)
        matrix.rows.append(row)
        matrix.save(path)
        if row.exit_code == INTERRUPTED:
            break
    show_matrix(table_console(), matrix, path)
    codes = [row.exit_code for row in matrix.rows if row.exit_code]
    return INTERRUPTED if INTERRUPTED in codes else next(iter(codes), 0)


def _in_process(flags: Mapping[str, Any], main: Main) -> Row:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(dict(flags), main, sender))
    start = time.perf_counter()
    process.start()
    sender.close()
    interrupted = _wait(process)
    seconds = time.perf_counter() - start
    try:
        row: Row = receiver.recv()
        return row.model_copy(update={"seconds": seconds})
    except EOFError:
        code = process.exitcode or 1
    finally:
        receiver.close()
    from bytemlperf.report.matrix import Row

    died = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    memory = "; was memory short?" if code == -signal.SIGKILL else ""
    return Row(
        task=flags["task"],
        status="interrupted" if interrupted else "failed",
        seconds=seconds,
        exit_code=INTERRUPTED if interrupted else 1,
        reason="interrupted" if interrupted else f"the process died ({died}{memory})",
    )


def _wait(process: BaseProcess) -> bool:
    """Wait for the end; hand Ctrl-C on to the task. Returns whether there was one."""
    interrupted = False
    while True:
        try:
            process.join()
        except KeyboardInterrupt:
            interrupted = True
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)
        else:
            return interrupted


def _child(flags: Mapping[str, Any], main: Main, sender: Connection) -> None:
    """Run one task and send its row. Ctrl-C comes from the parent only: once, not twice."""
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    name = flags["task"]
    try:
        row = main(flags)
    except KeyboardInterrupt:
        row = _without_report(name, "interrupted", INTERRUPTED, "interrupted")
    except BytemlperfError as error:
        row = _without_report(name, "failed", error.exit_code, str(error))
    except Exception as error:  # noqa: BLE001 - the other tasks have their turn
        traceback.print_exc()
        row = _without_report(name, "failed", 1, f"{type(error).__name__}: {error}")
    if row.exit_code not in (0, INTERRUPTED):
        click.echo(f"error: {row.reason}", err=True)
    with suppress(BrokenPipeError):  # of a parent that was killed: the report is on disk
        sender.send(row)


def _end_with_parent() -> None:
    """A parent that was killed hands no Ctrl-C on: its task would go on alone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGINT)


def _without_report(task: str, status: str, exit_code: int, reason: str) -> Row:
    from bytemlperf.report.matrix import Row

    return Row(task=task, status=status, seconds=0.0, exit_code=exit_code, reason=reason)
