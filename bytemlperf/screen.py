"""Progress on long work: a live line on a terminal, one plain line a step elsewhere; on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Step:
    """Where one step tells how far it is."""

    def __init__(self, progress: Progress | None, task_id: int | None) -> None:
        self._progress = progress
        self._task = task_id
        self.outcome = ""

    def update(self, text: str, fraction: float | None = None) -> None:
        """Say what is being done, and how far (0 to 1, or None where that is not known)."""
        if self._progress is None or self._task is None:
            return
        from rich.progress import TaskID

        self._progress.update(
            TaskID(self._task),
            text=text,
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
        )


class Screen:
    """The user's view of a run that goes on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show one step while the block runs, and its outcome when it has ended."""
        if not self.console.is_terminal:
            step = Step(None, None)
            yield step
        else:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description:12s}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                step = Step(progress, progress.add_task(name, total=None, text=""))
                yield step
        self.say(f"{name:12s} {step.outcome}")
