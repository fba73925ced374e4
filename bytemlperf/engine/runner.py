"""Runs the steps of a task in order; whatever happens, what was measured is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bytemlperf.engine.checking import (
    choose_data,
    compute_outputs,
    score_accuracy,
    score_numeric,
)
from bytemlperf.engine.compiling import build_model, compile_model
from bytemlperf.engine.estimate import describe_plan
from bytemlperf.engine.measuring import measure_loads, measure_performance
from bytemlperf.engine.proving import check_backend
from bytemlperf.engine.reference import compute_reference
from bytemlperf.engine.task import Request, Task
from bytemlperf.errors import BytemlperfError
from bytemlperf.screen import Screen, Step


class StepFailed(BytemlperfError):
    """A step failed; the report with what came before lies on disk."""

    def __init__(self, task: Task, step: str, cause: BaseException) -> None:
        if isinstance(cause, BytemlperfError):
            self.exit_code = cause.exit_code
            reason = str(cause)
        else:
            reason = f"{type(cause).__name__}: {cause}"
        super().__init__(f"{step}: {reason}")
        self.task = task


@dataclass(frozen=True)
class _Step:
    name: str
    run: Callable[[Task, Step], str]
    needed: Callable[[Task], bool]


def _always(task: Task) -> bool:
    return True


def _runs(task: Task) -> bool:
    return not task.workload.compile_only


def _checks(task: Task) -> bool:
    return _runs(task) and (task.workload.test_accuracy or task.workload.test_numeric)


STEPS = (
    _Step("model", build_model, _always),
    # Before the compiler, which may calibrate with it.
    _Step("data", choose_data, _checks),
    _Step("compile", compile_model, _always),
    _Step("reference", compute_reference, lambda t: _runs(t) and t.workload.test_numeric),
    _Step("outputs", compute_outputs, _checks),
    _Step("accuracy", score_accuracy, lambda t: _runs(t) and t.workload.test_accuracy),
    _Step("numeric", score_numeric, lambda t: _runs(t) and t.workload.test_numeric),
    _Step("honesty", check_backend, _runs),
    _Step("performance", measure_performance, lambda t: _runs(t) and t.workload.test_perf),
    _Step("loads", measure_loads, lambda t: _runs(t) and bool(t.workload.loads)),
)


def run_task(request: Request, screen: Screen, version: str) -> Task:
    """Run a task to its report.

    Raises:
        StepFailed: naming the step and its cause; the report says it too.
        KeyboardInterrupt: on Ctrl-C, after what was measured has been saved.
    """
    task = Task(request, screen, version)
    for line in describe_plan(task):
        screen.say(line)
    for step in STEPS:
        if step.needed(task):
            _run(task, step)
    task.report.details.status = "complete"
    task.save()
    return task


def prepare(request: Request, screen: Screen, version: str) -> Task:
    """Do what a task does until the model is compiled, and no more: there is no report."""
    task = Task(request, screen, version)
    for step in STEPS:
        if step.needed(task):
            with screen.step(step.name) as view:
                view.outcome = step.run(task, view)
        if step.run is compile_model:
            break
    return task


def _run(task: Task, step: _Step) -> None:
    start = time.perf_counter()
    try:
        with task.screen.step(step.name) as view:
            outcome = step.run(task, view)
            view.outcome = outcome
    except KeyboardInterrupt:
        task.report.details.status = "interrupted"
        task.note(step.name, time.perf_counter() - start, "interrupted")
        task.save()
        raise Interrupted(task) from None
    except Exception as error:
        failure = StepFailed(task, step.name, error)
        task.report.details.status = "failed"
        task.report.details.failure = str(failure)
        task.note(step.name, time.perf_counter() - start, "failed")
        task.save()
        raise failure from error
    task.note(step.name, time.perf_counter() - start, outcome)
    task.save()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the task's report holds what was measured."""

    def __init__(self, task: Task) -> None:
        super().__init__("interrupted")
        self.task = task
