from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

_TYPES = {"tensor(int64)": np.int32, "tensor(float)": np.float32, "tensor(int32)": np.int32}


class DeviceManager:
    present = True

    def ipu_hardware_version(self) -> str:
        if not self.present:
            raise RuntimeError("no device is attached")
        return "ipu21"


class RuntimeConfig:
    pass


@dataclass
class Description:
    name: str
    shape: list[int]
    kind: type

    def numpy_data_type(self) -> type:
        return self.kind


class Future:
    def __init__(self) -> None:
        self._done = threading.Event()
        self.error: BaseException | None = None

    def wait(self) -> None:
        assert self._done.wait(30), "never computed"
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        self._done.set()


class Runner:
    """Computes on a thread of its own, as the device does; outputs are garbage until then."""

    def __init__(self, path: str, config: RuntimeConfig) -> None:
        assert isinstance(config, RuntimeConfig)
        proto = onnx.load(path)
        notes = {p.key: p.value for p in proto.metadata_props}
        self._batch = int(notes["batch"])
        self._half = notes["precision"] == "fp16"
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self._device = ThreadPoolExecutor(1)

    def get_model_inputs(self) -> list[Description]:
        return [Description(i.name, i.shape, _TYPES[i.type]) for i in self._session.get_inputs()]

    def get_model_outputs(self) -> list[Description]:
        kind = np.float16 if self._half else np.float32
        found = []
        for output in self._session.get_outputs():
            shape = [self._batch if isinstance(d, str) else d for d in output.shape]
            shape = [self._batch, *shape[1:]]
            found.append(Description(output.name, shape, kind))
        return found

    def execute(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        self.executeAsync(inputs, outputs).wait()

    def executeAsync(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> Future:
        self._check("input", self.get_model_inputs(), inputs)
        self._check("output", self.get_model_outputs(), outputs)
        for name, array in outputs.items():
            assert array.flags.writeable, f"{name} cannot be written"
            array[...] = np.nan  # not before the device is done
        future = Future()
        self._device.submit(self._compute, inputs, outputs, future)
        return future

    @staticmethod
    def _check(what: str, descriptions: list[Description], given: dict[str, Any]) -> None:
        assert {d.name for d in descriptions} == set(given), f"{what}s: {sorted(given)}"
        for d in descriptions:
            array = given[d.name]
            assert array.dtype == d.numpy_data_type(), f"{what} {d.name}: dtype {array.dtype}"
            assert list(array.shape) == list(d.shape), f"{what} {d.name}: shape {array.shape}"
            assert array.flags.c_contiguous, f"{what} {d.name}: not contiguous"

    def _compute(self, inputs: dict[str, Any], outputs: dict[str, Any], future: Future) -> None:
        kinds = {i.name: i.type for i in self._session.get_inputs()}
        try:
            wide = {
                name: a.astype(np.int64) if kinds[name] == "tensor(int64)" else a
                for name, a in inputs.items()
            }
            found = self._session.run(list(outputs), wide)
            for name, value in zip(outputs, found, strict=True):
                outputs[name][...] = value
        except Exception as error:  # noqa: BLE001 - handed on
            future.error = error
        future.finish()
