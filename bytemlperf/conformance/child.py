"""The process in which checks run: it may crash or hang, and takes nothing else with it."""

from __future__ import annotations

import faulthandler
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from rich.console import Console

from bytemlperf.conformance.bench import Bench, CheckFailed, NotApplicable
from bytemlperf.conformance.checks import CHECKS, COMPILE, Limits
from bytemlperf.engine import Request
from bytemlperf.engine.runner import prepare
from bytemlperf.report.schema import ConformanceCheck
from bytemlperf.screen import Screen


def serve(
    connection: Connection, request: Request, limits: Limits, version: str, trace: Path
) -> None:
    """Run the checks whose names come in, and answer each with its row.

    With the row of the compilation comes what the backend says about itself: its version, and
    whether it is simulated. ``trace`` receives the stack of a crash.
    """
    os.setsid()  # so that it is ended with all processes of its own, and Ctrl-C is not its
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(2, 1)  # what an SDK prints is no part of the result
    with trace.open("w", encoding="utf-8") as file:
        faulthandler.enable(file)
        checks = {check.name: check for check in CHECKS}
        bench: Bench | None = None

        def run(name: str) -> str:
            nonlocal bench
            if bench is None:
                bench = Bench(prepare(request, Screen(Console(quiet=True)), version))
            return checks[name].run(bench, limits)

        while (name := connection.recv()) is not None:
            row = row_of(name, partial(run, name))
            connection.send((row, _about(bench) if name == COMPILE and bench else None))


def row_of(name: str, run: Callable[[], str]) -> ConformanceCheck:
    """Run a check in this process and return its row, whatever the backend raises."""
    start = time.monotonic()
    outcome: Literal["passed", "failed", "not applicable"] = "failed"
    try:
        outcome, detail = "passed", run()
    except NotApplicable as reason:
        outcome, detail = "not applicable", str(reason)
    except CheckFailed as failure:
        detail = str(failure)
    except Exception as error:  # noqa: BLE001 - a vendor's code raises what it likes
        detail = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - start, 3)
    return ConformanceCheck(name=name, outcome=outcome, detail=detail, seconds=seconds)


def _about(bench: Bench) -> tuple[str, bool]:
    detail = bench.task.report.details.compile
    assert detail is not None
    return detail.version, bench.task.simulated
