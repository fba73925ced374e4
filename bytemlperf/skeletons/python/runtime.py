"""Run on ACME. ONNX Runtime stands in for your runtime: put yours in its place."""

from __future__ import annotations

import onnxruntime

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend


class Runtime(RuntimeBackend):
    """One loaded copy of the model, built and called on a thread of its own."""

    def version(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def load(self, batch_size: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.compiled.notes["threads_per_instance"]
        self._session = onnxruntime.InferenceSession(str(self.compiled.artifact), options)
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        names = list(self.model.card.outputs)
        found = self._session.run(names, dict(feeds))
        return {name: found[i] for i, name in enumerate(names)}

    def unload(self) -> None:
        del self._session
