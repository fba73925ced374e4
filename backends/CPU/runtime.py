"""Run on the host processor."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bytemlperf.backend import Feeds, Outputs, Predict, RuntimeBackend
from bytemlperf.backends.CPU.runner import runner_for
from bytemlperf.zoo import synthetic_feeds

# TorchScript's profiling executor specialises in the first calls and settles after the third.
_WARM_UP_CALLS = 3


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
    #: seconds of the first call after the last load
    first_inference_s: float | None = None

    def version(self) -> str:
        return str(self._notes["runtime"])

    @property
    def _notes(self) -> Mapping[str, Any]:
        return self.compiled.notes

    def load(self, batch_size: int) -> None:
        card = self.model.card
        if self._key is None:
            self._key = (Path(self.compiled.artifact), int(self._notes["threads_per_instance"]))
            with self._lock:
                if self._key not in self._shared:
                    self._shared[self._key] = runner_for(card).load(card, *self._key)
                self._users[self._key] = self._users.get(self._key, 0) + 1
                self._predict = self._shared[self._key]
        self._batch_size = batch_size
        feeds = synthetic_feeds(card, range(batch_size), seed=0)
        start = time.perf_counter()
        self._predict(feeds)
        self.first_inference_s = time.perf_counter() - start
        for _ in range(_WARM_UP_CALLS - 1):
            self._predict(feeds)

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        return self._predict(feeds)

    def unload(self) -> None:
        if self._key is None:
            return
        with self._lock:
            self._users[self._key] -= 1
            if self._users[self._key] == 0:
                del self._shared[self._key], self._users[self._key]
        self._key = None
