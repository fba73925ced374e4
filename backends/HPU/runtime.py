"""Run on Habana's Gaudi2 with its PyTorch bridge, or on its device model."""

from __future__ import annotations

from typing import Any

import numpy as np

from bytemlperf.backend import Feeds, Outputs, RuntimeBackend
from bytemlperf.errors import BackendError
from bytemlperf.simulate import SimulatedRuntime
from bytemlperf.zoo.torch_build import import_torch, tensors
from bytemlperf.zoo.torchscript import load_on_device

from .sdk import missing


class BridgeRuntime(RuntimeBackend):
    """The model in BF16 on the device, replayed as one captured graph.

    Captured graphs belong to one stream, so one instance serves all clients.
    """

    instance_count = 1
    _graph: Any = None
    _batch_size = 0

    def version(self) -> str:
        return "habana_frameworks"

    def load(self, batch_size: int) -> None:
        import habana_frameworks.torch.core as htcore
        from habana_frameworks.torch.hpu import wrap_in_hpu_graph

        torch = import_torch()
        if self._graph is None:
            self._core, self._device = htcore, torch.device("hpu")
            self._graph = wrap_in_hpu_graph(load_on_device(self.compiled.artifact, "hpu"))
        self._batch_size = batch_size

    def get_loaded_batch_size(self) -> int:
        return self._batch_size

    def predict(self, feeds: Feeds) -> Outputs:
        if self._graph is None:
            raise BackendError("predict() before load()")
        torch, card = import_torch(), self.model.card
        with torch.inference_mode():
            given = [
                (x.to(torch.bfloat16) if x.is_floating_point() else x).to(
                    self._device, non_blocking=True
                )
                for x in tensors(feeds, card)
            ]
            found = self._graph(*given)
            self._core.mark_step()
            self._core.hpu.default_stream().synchronize()
            if isinstance(found, dict):
                found = [found[name] for name in card.outputs]
            values = found if isinstance(found, (tuple, list)) else [found]
            return {
                name: np.ascontiguousarray(_host(torch, value))
                for name, value in zip(card.outputs, values, strict=True)
            }

    def unload(self) -> None:
        self._graph = None


def _host(torch: Any, value: Any) -> Any:
    value = value.to("cpu")
    return (value.to(torch.float32) if value.dtype == torch.bfloat16 else value).numpy()


Runtime = SimulatedRuntime if missing() else BridgeRuntime
