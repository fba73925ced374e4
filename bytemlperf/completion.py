"""For asynchronous backends whose SDK hands out futures: waits for them, and tells who submitted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from bytemlperf.backend import Outputs


class Done(Protocol):
    """What the load generator gives to ``submit``: called once, from any thread."""

    def __call__(
        self, outputs: Outputs | None = None, *, error: BaseException | None = None
    ) -> Any:
        """Tell that the batch has its outputs, or why it has none."""


def answer(done: Done, wait: Callable[[], Outputs]) -> None:
    """Call ``done`` with what ``wait`` returns, or with the error that it raises."""
    try:
        outputs = wait()
    except Exception as error:  # noqa: BLE001 - it is handed on, and counted by its class
        done(error=error)
    else:
        done(outputs)


class Completions:
    """Waits for batches in the order of their submission, on a thread of its own."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Outputs], Done] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="completions", daemon=True)
        self._thread.start()

    def add(self, wait: Callable[[], Outputs], done: Done) -> None:
        """Call ``done`` with what ``wait`` returns, or with the error that it raises."""
        self._waiting.put((wait, done))

    def close(self) -> None:
        """Wait for what was added, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._waiting.get()) is not None:
            wait, done = batch
            answer(done, wait)
