"""Run on an NVIDIA GPU."""

from __future__ import annotations

from typing import Any

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend
from bytemlperf.completion import Completions, Done
from bytemlperf.errors import BackendError

from . import onnx_runtime, torch_cuda
from .sdk import require_gpu

require_gpu()


class Runtime(RuntimeBackend):
    """One model on the device with batches in flight; both frameworks are driven alike.

    ``launch`` starts a batch and returns what waits for its outputs. ONNX Runtime computes in the
    wait, on the completions' thread; torch has put its work on a stream by then.
    """

    instance_count = 1
    max_in_flight = 4
    _model: Any = None
    _completions: Completions | None = None
    _batch_size = 0

    def version(self) -> str:
        return str(self.compiled.notes["runtime"])

    def load(self, batch_size: int) -> None:
        if self._model is None:
            kind = torch_cuda if self.model.card.format == "torchscript" else onnx_runtime
            self._model = kind.load(self.compiled, self.model.card)
            self._completions = Completions()
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        outputs: Outputs = self._model.launch(feeds)()
        return outputs

    def submit(self, feeds: Feeds, done: Done) -> None:
        """Start the batch; ``done`` is called when its outputs lie on the host."""
        if self._completions is None:
            raise BackendError("submit() before load()")
        self._completions.add(self._model.launch(feeds), done)

    def unload(self) -> None:
        if self._completions is not None:
            self._completions.close()
        self._completions = self._model = None
