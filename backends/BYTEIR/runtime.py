"""Run compiled modules with ByteIR's runtime, or with XLA in its place."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from bytemlperf.backend import Feeds, Outputs, Predict, RuntimeBackend
from bytemlperf.zoo import xla

from . import sdk
from .session import Session


class Runtime(RuntimeBackend):
    """One session of ByteIR an instance; XLA's executable has no state and serves all instances."""

    _shared: ClassVar[WeakValueDictionary[Path, xla.Executable]] = WeakValueDictionary()
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _batch_size = 0
    _predict: Predict | None = None

    def version(self) -> str:
        return str(self.compiled.notes["compiler"])

    def load(self, batch_size: int) -> None:
        if sdk.installed():
            self._predict = Session(
                self.model.card,
                self.model.path,
                self.compiled.artifact / f"batch-{batch_size}.mlir",
                batch_size,
                self.compiled.notes["target"],
            )
        else:
            self._predict = executable = self._executable()
            executable.prepare(batch_size)
        self._batch_size = batch_size

    def _executable(self) -> xla.Executable:
        cache = self.compiled.artifact
        with self._lock:
            found = self._shared.get(cache)
            if found is None:
                found = xla.Executable(self.model.card, self.model.path, cache)
                self._shared[cache] = found
            return found

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        if self._predict is None:
            raise RuntimeError("load() comes before predict()")
        return self._predict(feeds)

    def unload(self) -> None:
        self._predict = None
