"""Run on Graphcore's C600 with PopRT, or on its device model."""

from __future__ import annotations

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend
from bytemlperf.completion import Completions, Done
from bytemlperf.errors import BackendError
from bytemlperf.simulate import SimulatedRuntime

from .runners import PackedSamples, WholeBatches
from .sdk import missing


class PopRTRuntime(RuntimeBackend):
    """One PopRT runner on the device, with batches queued ahead of it."""

    instance_count = 1
    max_in_flight = 4
    _completions: Completions | None = None
    _batch_size = 0

    def version(self) -> str:
        import poprt

        return f"poprt {poprt.__version__}"

    def load(self, batch_size: int) -> None:
        if batch_size not in self.compiled.artifact:
            sizes = ", ".join(map(str, self.compiled.artifact))
            raise BackendError(f"no executable for batch {batch_size} (compiled: {sizes})")
        executable, card = self.compiled.artifact[batch_size], self.model.card
        options = self.compiled.optimizations
        self._runner: PackedSamples | WholeBatches = (
            PackedSamples(executable, card, options)
            if options["pack"]
            else WholeBatches(executable, card, batch_size)
        )
        self._batch_size = batch_size
        self._completions = self._completions or Completions()

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        return self._runner.launch(feeds)()

    def submit(self, feeds: Feeds, done: Done) -> None:
        """Queue the batch; ``done`` is called when the device has filled its outputs."""
        if self._completions is None:
            raise BackendError("submit() before load()")
        self._completions.add(self._runner.launch(feeds), done)

    def unload(self) -> None:
        if self._completions is not None:
            self._completions.close()
            self._completions = None
            del self._runner


Runtime = SimulatedRuntime if missing() else PopRTRuntime
