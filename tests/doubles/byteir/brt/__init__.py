"""ByteIR's runtime, as far as its interface goes: arguments by address, a strict order of calls.

It computes with XLA from and into the addresses that were bound.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.zoo.stablehlo import portable, signature
from bytemlperf.zoo.xla import compile_module, enable_x64


class DType:
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype

    def numpy(self) -> np.dtype[Any]:
        return self._dtype


class Session:
    def __init__(self, device: str = "CUDA", alloc_func: Any = None, free_func: Any = None) -> None:
        assert device == "CPU", f"this double has no {device}"
        assert alloc_func is None
        assert free_func is None

    def load(self, path: str, format: str = "byre") -> None:
        module = Path(json.loads(Path(path).read_text())["module"])
        current = module.with_suffix(f".{id(self)}.mlirbc")  # sessions load at once
        current.write_bytes(portable(module))
        self.executable = compile_module(current, None)
        found = signature(current.read_bytes())
        self.arguments = (*found.inputs, *found.outputs)
        self.inputs = len(found.inputs)

    def get_input_arg_offsets(self) -> list[int]:
        return list(range(self.inputs))

    def get_output_arg_offsets(self) -> list[int]:
        return list(range(self.inputs, len(self.arguments)))

    def get_static_shape(self, offset: int) -> list[int]:
        return list(self.arguments[offset][0])

    def get_data_type(self, offset: int) -> DType:
        return DType(self.arguments[offset][1])

    def new_request_context(self, stream: int | None = None) -> RequestContext:
        assert stream is None, "the host has no stream"
        return RequestContext(self)


class RequestContext:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._addresses: dict[int, int] = {}
        self._state = "binding"

    def bind_arg(self, offset: int, ptr: int) -> None:
        assert 0 <= offset < len(self._session.arguments)
        assert ptr
        self._addresses[offset] = ptr
        self._state = "binding"

    def finish_io_binding(self) -> None:
        missing = set(range(len(self._session.arguments))) - set(self._addresses)
        assert not missing, f"arguments {sorted(missing)} were never bound"
        self._state = "bound"

    def run(self) -> None:
        assert self._state == "bound", "run() before finish_io_binding()"
        arrays = [self._array(i) for i in range(len(self._session.arguments))]
        inputs = self._session.inputs
        with enable_x64():
            results = self._session.executable(*arrays[:inputs])
        self._results = list(zip(arrays[inputs:], results, strict=True))
        self._state = "running"

    def sync(self) -> None:
        assert self._state == "running", "sync() before run()"
        for array, result in self._results:  # not there before the device has finished
            array[...] = np.asarray(result)
        self._state = "bound"

    def _array(self, offset: int) -> np.ndarray[Any, np.dtype[Any]]:
        shape, dtype = self._session.arguments[offset]
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(self._addresses[offset])
        return np.frombuffer(memory, dtype).reshape(shape)
