"""One batch size of a model in ByteIR's runtime: arguments are bound by address."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array, Feeds, Outputs
from bytemlperf.errors import BytemlperfError
from bytemlperf.fixed_batch import cut, fill
from bytemlperf.zoo import Card
from bytemlperf.zoo.stablehlo import Modules

from . import sdk


class Session:
    """A loaded module with its weights bound; called from one thread.

    The last, smaller batch of a data set is filled up.
    """

    def __init__(
        self, card: Card, modules: Path, compiled: Path, batch_size: int, target: str
    ) -> None:
        self._card, self._batch_size = card, batch_size
        self._memory = _HostMemory() if target == "cpu" else _DeviceMemory()
        brt = sdk.runtime()
        self._session = brt.Session(device=target.upper(), **self._memory.allocator())
        self._session.load(str(compiled))
        self._request = self._session.new_request_context(self._memory.stream())
        offsets = self._session.get_input_arg_offsets()
        weights = Modules.read(modules).load_weights()
        if len(offsets) != len(card.inputs) + len(weights):
            raise BytemlperfError(
                f"{compiled}: takes {len(offsets)} arguments, not the model's "
                f"{len(card.inputs)} inputs and {len(weights)} weights"
            )
        self._inputs = offsets[: len(card.inputs)]
        self._outputs = self._session.get_output_arg_offsets()
        self._weights = [
            self._bound(o, w) for o, w in zip(offsets[len(card.inputs) :], weights, strict=True)
        ]

    def __call__(self, feeds: Feeds) -> Outputs:
        filled, rows = fill(feeds, self._card, self._batch_size)
        inputs = [
            self._bound(offset, filled[t.name])
            for offset, t in zip(self._inputs, self._card.inputs, strict=True)
        ]
        outputs = [self._bound(offset, self._empty(offset)) for offset in self._outputs]
        self._request.finish_io_binding()
        self._request.run()
        self._request.sync()
        del inputs  # they had to live until here
        arrays = (self._memory.fetch(output) for output in outputs)
        return cut(dict(zip(self._card.outputs, arrays, strict=True)), rows)

    def _empty(self, offset: int) -> Array:
        dtype = self._session.get_data_type(offset).numpy()
        return np.empty(self._session.get_static_shape(offset), dtype)

    def _bound(self, offset: int, array: Array) -> Any:
        """Put an array where the device reads it, bind its address, and return what keeps it."""
        held = self._memory.put(array)
        self._request.bind_arg(offset, self._memory.address(held))
        return held


class _HostMemory:
    """Arrays as they are."""

    def allocator(self) -> dict[str, Any]:
        return {}

    def stream(self) -> int | None:
        return None

    def put(self, array: Array) -> Any:
        return np.ascontiguousarray(array)

    def address(self, held: Any) -> int:
        return int(held.ctypes.data)

    def fetch(self, held: Any) -> Array:
        found: Array = held
        return found


class _DeviceMemory:
    """Tensors of torch on its current CUDA stream, which ByteIR's runtime shares."""

    def __init__(self) -> None:
        self._torch: Any = importlib.import_module("torch")
        if not self._torch.cuda.is_available():
            raise BytemlperfError("--set target=cuda needs a torch with CUDA and a device")

    def allocator(self) -> dict[str, Any]:
        memory = self._torch.cuda.memory
        return {
            "alloc_func": memory.caching_allocator_alloc,
            "free_func": memory.caching_allocator_delete,
        }

    def stream(self) -> int | None:
        return int(self._torch.cuda.current_stream().cuda_stream)

    def put(self, array: Array) -> Any:
        return self._torch.tensor(array, device="cuda")

    def address(self, held: Any) -> int:
        return int(held.data_ptr())

    def fetch(self, held: Any) -> Array:
        found: Array = held.cpu().numpy()
        return found
