"""Run on the host processor."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bytemlperf.backend import Feeds, Outputs, Predict, RuntimeBackend
from bytemlperf.zoo.generation import Generator

from .runner import runner_for


class Runtime(RuntimeBackend):
    """Instances of one process share one loaded model: its weights are read-only.

    Each instance calls it from its own thread, with ``threads_per_instance`` threads inside.
    """

    _shared: ClassVar[dict[tuple[Path, int], Predict]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[dict[tuple[Path, int], int]] = {}

    _key: tuple[Path, int] | None = None
    _predict: Predict
    _batch_size = 0

    def version(self) -> str:
        return str(self._notes["runtime"])

    @property
    def _notes(self) -> Mapping[str, Any]:
        return self.compiled.notes

    def load(self, batch_size: int) -> None:
        if self._key is None:
            self._key = (Path(self.compiled.artifact), int(self._notes["threads_per_instance"]))
            with self._lock:
                if self._key not in self._shared:
                    card = self.model.card
                    self._shared[self._key] = runner_for(card).load(card, *self._key)
                self._users[self._key] = self._users.get(self._key, 0) + 1
                self._predict = self._shared[self._key]
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        if isinstance(self._predict, Generator):
            outputs, times = self._predict.generate(feeds, self.workload.output_tokens or 1)
            self.token_log.append(times)
            return outputs
        return self._predict(feeds)

    def unload(self) -> None:
        if self._key is None:
            return
        with self._lock:
            self._users[self._key] -= 1
            if self._users[self._key] == 0:
                del self._shared[self._key], self._users[self._key]
        self._key = None
