"""One task from start to report."""

from __future__ import annotations

from bytemlperf.engine.runner import StepFailed, run_task
from bytemlperf.engine.task import ProcessOptions, Request, Task

__all__ = ["ProcessOptions", "Request", "StepFailed", "Task", "run_task"]
