"""Run on Graphcore's C600 with PopRT, or on its device model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds, Outputs, RuntimeBackend
from bytemlperf.completion import Completions, Done
from bytemlperf.errors import BackendError
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.simulate import SimulatedRuntime

from .sdk import missing


class PopRTRuntime(RuntimeBackend):
    """One PopRT runner on the device, with batches queued ahead of it.

    Every batch has output buffers of its own, so that no two of them can share one.
    """

    instance_count = 1
    max_in_flight = 4
    _completions: Completions | None = None
    _batch_size = 0

    def version(self) -> str:
        import poprt

        return f"poprt {poprt.__version__}"

    def load(self, batch_size: int) -> None:
        from poprt.runtime import Runner, RuntimeConfig

        if batch_size not in self.compiled.artifact:
            sizes = ", ".join(map(str, self.compiled.artifact))
            raise BackendError(f"no executable for batch {batch_size} (compiled: {sizes})")
        self._runner = Runner(str(self.compiled.artifact[batch_size]), RuntimeConfig())
        self._inputs = {d.name: d.numpy_data_type() for d in self._runner.get_model_inputs()}
        self._outputs = [
            (d.name, tuple(d.shape), d.numpy_data_type()) for d in self._runner.get_model_outputs()
        ]
        self._batch_size = batch_size
        self._completions = self._completions or Completions()

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        given, taken, rows = self._buffers(feeds)
        self._runner.execute(given, taken)
        return _host(taken, rows)

    def submit(self, feeds: Feeds, done: Done) -> None:
        """Queue the batch; ``done`` is called when the device has filled its outputs."""
        if self._completions is None:
            raise BackendError("submit() before load()")
        given, taken, rows = self._buffers(feeds)
        future = self._runner.executeAsync(given, taken)
        self._completions.add(partial(_collect, future, given, taken, rows), done)

    def unload(self) -> None:
        if self._completions is not None:
            self._completions.close()
            self._completions = None
            del self._runner

    def _buffers(self, feeds: Feeds) -> tuple[dict[str, Array], dict[str, Any], int]:
        filled, rows = fill(feeds, self.model.card, self._batch_size)
        # PopRT narrows some types (int64 to int32) and may drop inputs that nothing reads.
        given = {
            name: np.ascontiguousarray(filled[name].astype(dtype, copy=False))
            for name, dtype in self._inputs.items()
        }
        taken = {name: np.empty(shape, dtype) for name, shape, dtype in self._outputs}
        return given, taken, rows


def _collect(future: Any, _given: dict[str, Array], taken: dict[str, Any], rows: int) -> Outputs:
    """Wait for the device, which reads ``_given`` until then."""
    future.wait()
    return _host(taken, rows)


def _host(taken: dict[str, Any], rows: int) -> Outputs:
    """Half-precision results are compared and scored in float32."""
    return cut(
        {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in taken.items()
        },
        rows,
    )


Runtime = SimulatedRuntime if missing() else PopRTRuntime
