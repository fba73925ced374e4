"""Double of Moffett's compiler: a builder whose subclass describes the calibration data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx


class SparsertBaseBuilder:
    def __init__(
        self,
        onnx_path: str,
        dump_dir: str,
        dataset_dir: str,
        dataset_cfg: dict[str, Any],
        dtype: str,
        batch_size: int,
        verify: bool,
    ) -> None:
        assert dtype in ("INT8", "MixInt8bf16"), dtype
        assert isinstance(batch_size, int)
        assert isinstance(verify, bool)
        self._model = onnx.load(onnx_path)
        self._onnx_path, self._dump = onnx_path, Path(dump_dir)
        self._dtype, self._batch_size = dtype, batch_size
        self.config = SimpleNamespace()
        self.input_shape_dict: dict[str, list[int]] = {}

    def set_dataset_config(self) -> None:
        raise AssertionError("set_dataset_config() is for the subclass to define")

    def builder(self) -> dict[str, str]:
        self.set_dataset_config()
        names = [i.name for i in self._model.graph.input]
        config = vars(self.config)
        for wanted in ("dataloader", "calib_batch", "input_dict", "do_kl", "opt_level"):
            assert wanted in config, f"config.{wanted} is not set"
        assert set(self.input_shape_dict) == set(names), "input_shape_dict names other inputs"
        assert set(config["input_dict"]) == set(names), "input_dict names other inputs"
        for name in names:
            shape = self.input_shape_dict[name]
            assert shape[0] == self._batch_size, f"{name}: {shape} at batch {self._batch_size}"
        seen = 0
        for batch in config["dataloader"]:
            for name in names:
                value = batch[config["input_dict"][name]]
                assert list(value.shape) == self.input_shape_dict[name], f"{name}: {value.shape}"
            seen += 1
        assert seen == config["calib_batch"], f"{seen} batches to calibrate with"
        shutil.copy(self._onnx_path, self._dump / "program.onnx")
        program = {"batch": self._batch_size, "dtype": self._dtype, "inputs": names}
        (self._dump / "program.json").write_text(json.dumps(program))
        return {"sparsity_ratio": "0.9375"}
