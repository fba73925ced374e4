"""Run on Moffett's S30 with its inference library, or on its device model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend
from bytemlperf.completion import Done, answer
from bytemlperf.errors import BackendError
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.simulate import SimulatedRuntime

from .sdk import missing


class SparsertRuntime(RuntimeBackend):
    """One model on the device; batches are handed over with a callback and overlap there.

    Preparing a request and reading a response are the SDK's own work and part of the latency.
    """

    instance_count = 1
    max_in_flight = 4
    _model: Any = None
    _batch_size = 0

    def version(self) -> str:
        return "sparsert"

    def load(self, batch_size: int) -> None:
        from inference import ModelFactory

        if batch_size not in self.compiled.artifact:
            sizes = ", ".join(map(str, self.compiled.artifact))
            raise BackendError(f"no program for batch {batch_size} (compiled: {sizes})")
        self.unload()
        card = self.model.card
        self._layout = {
            "chunk_size": batch_size,
            "model_input": [
                {"name": tensor.name, "input_order": order}
                for order, tensor in enumerate(card.inputs)
            ],
        }
        self._model = ModelFactory(
            {
                "model": card.name,
                "model_path": str(self.compiled.artifact[batch_size]),
                "batch_size": batch_size,
                "framework": "sparsert",
                "model_precision": self.compiled.optimizations["model_precision"],
            }
        )
        self._model.device_num = self.compiled.device_count
        self._model.load_model()
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        request, info, rows = self._request(feeds)
        return self._outputs(self._model.inference(request), info, rows)

    def submit(self, feeds: Feeds, done: Done) -> None:
        """Hand the batch over; the device's thread calls back when its response is there."""
        request, info, rows = self._request(feeds)
        self._model.inference(
            request, lambda response: answer(done, partial(self._outputs, response, info, rows))
        )

    def unload(self) -> None:
        if self._model is not None:
            self._model.destroy()
            self._model = None

    def _request(self, feeds: Feeds) -> tuple[Any, Any, int]:
        filled, rows = fill(feeds, self.model.card, self._batch_size)
        request, info = self._model.preprocess(dict(filled), self._layout)
        return request, info, rows

    def _outputs(self, response: Any, info: Any, rows: int) -> Outputs:
        values = self._model.postprocess(response, info)
        names = self.model.card.outputs
        named = values if isinstance(values, dict) else dict(zip(names, values, strict=True))
        return cut({name: np.asarray(named[name]) for name in names}, rows)


Runtime = SimulatedRuntime if missing() else SparsertRuntime
