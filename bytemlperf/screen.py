"""Progress on long work: a live line on a terminal, one plain line a step elsewhere; on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column


class Step:
    """Where one step tells how far it is."""

    def __init__(self, progress: Progress | None, task_id: TaskID | None) -> None:
        self._progress = progress
        self._task = task_id
        self._phase: tuple[float, float] | None = None
        self.outcome = ""

    def update(self, text: str, fraction: float | None = None) -> None:
        """Say what is being done, and how far (0 to 1, or None where that is not known)."""
        if self._progress is None or self._task is None:
            return
        self._progress.update(
            self._task,
            text=text,
            eta=self._eta(fraction),
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give the terminal away while the block runs, e.g. to a question."""
        if self._progress is not None:
            self._progress.stop()
        yield
        if self._progress is not None:
            self._progress.start()

    def _eta(self, fraction: float | None) -> str:
        """Time that is left at the speed since this phase began."""
        if not fraction:
            self._phase = None
            return ""
        now = time.monotonic()
        if self._phase is None or fraction < self._phase[1]:
            self._phase = (now, fraction)
        began, first = self._phase
        if fraction == first:
            return ""
        left = (now - began) * (1.0 - fraction) / (fraction - first)
        return f"eta {left:.0f} s" if left < 600 else f"eta {left / 60:.0f} min"


class Screen:
    """The user's view of a run that goes on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a line as it is: one that names ``bytemlperf[report]`` keeps its brackets."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show one step while the block runs, and its outcome when it has ended."""
        if not self.console.is_terminal:
            step = Step(None, None)
            yield step
        else:
            columns = (
                TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=11)),
                BarColumn(8, table_column=Column(no_wrap=True, min_width=8)),
                TextColumn("{task.fields[eta]}", table_column=Column(no_wrap=True, min_width=9)),
                TextColumn(
                    "{task.fields[text]}",
                    markup=False,
                    table_column=Column(no_wrap=True, ratio=1),
                ),
            )
            with Progress(*columns, console=self.console, transient=True, expand=True) as progress:
                step = Step(progress, progress.add_task(name, total=None, text="", eta=""))
                yield step
        self.say(f"{name:12s} {step.outcome}")
