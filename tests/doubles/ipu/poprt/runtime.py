from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

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


class PackAlgorithm(Enum):
    first_fit = 0
    next_fit = 1


class PackRunnerConfig:
    """Only fields that exist can be set; Runner refuses what is left unset."""

    __slots__ = (
        "algorithm",
        "dynamic_input_name",
        "mask",
        "max_valid_num",
        "others",
        "single_row",
        "timeout_microseconds",
    )

    def __init__(self) -> None:
        self.mask = self.single_row = None
        self.others: list[str] = []

    def enable_input_single_row_mode(self, name: str) -> None:
        self.single_row = name

    def enable_padding_remove_mode(self, mask: str, others: list[str]) -> None:
        self.mask, self.others = mask, others


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

    def __init__(self, path: str, config: RuntimeConfig | PackRunnerConfig) -> None:
        assert isinstance(config, (RuntimeConfig, PackRunnerConfig))
        proto = onnx.load(path)
        notes = {p.key: p.value for p in proto.metadata_props}
        self._batch = int(notes["batch"])
        self._half = notes["precision"] == "fp16"
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self._device = ThreadPoolExecutor(1)
        self._packer = None
        if isinstance(config, PackRunnerConfig):
            assert "insert_attention_mask" in notes["passes"], "samples of a row would mix"
            self._packer = Packer(self, config, self._batch)

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
        alone = self._packer is not None
        self._check("input", self.get_model_inputs(), inputs, alone)
        self._check("output", self.get_model_outputs(), outputs, alone)
        if self._packer is not None:
            return self._packer.add(inputs, outputs)
        for name, array in outputs.items():
            assert array.flags.writeable, f"{name} cannot be written"
            array[...] = np.nan  # not before the device is done
        future = Future()
        self._device.submit(self._compute, inputs, outputs, future)
        return future

    @staticmethod
    def _check(
        what: str, descriptions: list[Description], given: dict[str, Any], alone: bool
    ) -> None:
        assert {d.name for d in descriptions} == set(given), f"{what}s: {sorted(given)}"
        for d in descriptions:
            array = given[d.name]
            assert array.dtype == d.numpy_data_type(), f"{what} {d.name}: dtype {array.dtype}"
            shape = [1, *d.shape[1:]] if alone else list(d.shape)
            assert list(array.shape) == shape, f"{what} {d.name}: shape {array.shape}"
            assert array.flags.c_contiguous, f"{what} {d.name}: not contiguous"

    def compute(self, inputs: dict[str, Any], names: list[str]) -> list[Any]:
        """One call of the device, whatever the number of rows."""
        kinds = {i.name: i.type for i in self._session.get_inputs()}
        wide = {
            name: a.astype(np.int64) if kinds[name] == "tensor(int64)" else a
            for name, a in inputs.items()
        }
        return list(self._session.run(names, wide))

    def _compute(self, inputs: dict[str, Any], outputs: dict[str, Any], future: Future) -> None:
        try:
            for name, value in zip(outputs, self.compute(inputs, list(outputs)), strict=True):
                outputs[name][...] = value
        except Exception as error:  # noqa: BLE001 - handed on
            future.error = error
        future.finish()


class Packer:
    """Gathers samples for a while and puts them into rows, first fit.

    What PopRT's pass makes of a row is what its samples are apart; apart they are computed here.
    """

    #: (samples, rows) of each call of the device
    calls: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, runner: Runner, config: PackRunnerConfig, rows: int) -> None:
        known = {d.name: d.shape for d in runner.get_model_inputs()}
        assert config.mask in known, f"no input {config.mask} to remove padding by"
        assert config.single_row == config.mask, "the mask counts the samples of a row"
        assert {config.mask, *config.others} == set(known), "padding stays in some inputs"
        assert config.dynamic_input_name in known, config.dynamic_input_name
        assert config.algorithm is PackAlgorithm.first_fit
        assert "position_ids" in known, "positions would go on from sample to sample"
        self._runner, self._mask = runner, config.mask
        self._rows, self._length = rows, known[config.mask][1]
        self._most, self._wait_s = config.max_valid_num, 1e-6 * config.timeout_microseconds
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> Future:
        mask = inputs[self._mask][0] != 0
        kept = {name: array[:, mask] for name, array in inputs.items()}
        positions = kept["position_ids"][0]
        assert (positions == np.arange(len(positions))).all(), "positions count from 0"
        future = Future()
        self._waiting.put((kept, outputs, future))
        return future

    def _work(self) -> None:
        held: list[Any] = []
        while True:
            batch, free = held or [self._waiting.get()], [self._length] * self._rows
            held = []
            for kept, *_ in batch:
                self._fits(free, kept)
            end = time.monotonic() + self._wait_s
            while len(batch) < self._most:
                try:
                    sample = self._waiting.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    break
                if not self._fits(free, sample[0]):
                    held = [sample]
                    break
                batch.append(sample)
            self.calls.append((len(batch), sum(left < self._length for left in free)))
            for first in range(0, len(batch), self._rows):
                self._compute(batch[first : first + self._rows])

    def _fits(self, free: list[int], kept: dict[str, Any]) -> bool:
        length = kept[self._mask].shape[1]
        for row, left in enumerate(free):
            if length <= left:
                free[row] -= length
                return True
        return False

    def _compute(self, batch: list[Any]) -> None:
        rows = {
            name: np.zeros((self._rows, self._length), array.dtype)
            for name, array in batch[0][0].items()
        }
        lengths = [kept[self._mask].shape[1] for kept, *_ in batch]
        for row, (kept, *_) in enumerate(batch):
            for name, array in kept.items():
                rows[name][row, : lengths[row]] = array[0]
        names = list(batch[0][1])
        try:
            found = self._runner.compute(rows, names)
            for row, (_, outputs, _) in enumerate(batch):
                for name, value in zip(names, found, strict=True):
                    outputs[name][0, : lengths[row]] = value[row, : lengths[row]]
        except Exception as error:  # noqa: BLE001 - handed on
            for _, _, future in batch:
                future.error = error
        for _, _, future in batch:
            future.finish()
