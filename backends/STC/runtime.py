"""Run on Stream Computing's P920 with its engine, or on its device model."""

from __future__ import annotations

from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend
from bytemlperf.errors import BackendError
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.simulate import SimulatedRuntime

from .sdk import missing


class EngineRuntime(RuntimeBackend):
    """An engine an instance: clients submit at once, and each waits for its own batch."""

    _engine: Any = None
    _batch_size = 0

    def version(self) -> str:
        return "run_engine"

    def load(self, batch_size: int) -> None:
        import run_engine

        if batch_size not in self.compiled.artifact:
            sizes = ", ".join(map(str, self.compiled.artifact))
            raise BackendError(f"not compiled for batch {batch_size} (but for {sizes})")
        folder = self.compiled.artifact[batch_size]
        self._engine = run_engine.engine(str(folder), self.compiled.notes["threads"])
        # The engine may name a tensor "x:0" that the card calls "x".
        self._inputs = {name.removesuffix(":0"): name for name in self._engine.get_inputs()}
        self._outputs = [name.removesuffix(":0") for name in self._engine.get_output_names()]
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        card = self.model.card
        filled, rows = fill(feeds, card, self._batch_size)
        given = {
            self._inputs[tensor.name.removesuffix(":0")]: np.ascontiguousarray(
                filled[tensor.name].astype(tensor.dtype, copy=False)
            )
            for tensor in card.inputs
        }
        found = self._engine.run(given)
        values = (
            [found[name] for name in self._engine.get_output_names()]
            if isinstance(found, dict)
            else found
        )
        named = dict(zip(self._outputs, values, strict=True))
        wanted = {name: np.asarray(named[name.removesuffix(":0")]) for name in card.outputs}
        return cut(wanted, rows)

    def unload(self) -> None:
        self._engine = None


Runtime = SimulatedRuntime if missing() else EngineRuntime
