"""Double of Stream Computing's engine."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

import torch

_KINDS = {"FP32": "float32", "FP16": "float16", "INT64": "int64", "INT32": "int32", "BOOL": "bool"}


class engine:
    def __init__(self, path: str, thread_num: int) -> None:
        assert thread_num >= 1, "threads of the engine"
        folder = Path(path)
        self._layout = json.loads((folder / "layout.json").read_text())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._module = torch.jit.load(str(folder / "node_0.pt"))
        self._thread = threading.get_ident()

    def get_inputs(self) -> dict[str, Any]:
        return {f"{name}:0": None for name in self._layout["inputs"]}

    def get_output_names(self) -> list[str]:
        return [f"{name}:0" for name in self._layout["outputs"]]

    def run(self, feeds: dict[str, Any]) -> list[Any]:
        assert threading.get_ident() == self._thread, "an engine belongs to one thread"
        layout = self._layout
        assert list(feeds) == list(self.get_inputs()), f"inputs: {list(feeds)}"
        for array, shape, kind in zip(
            feeds.values(), layout["shapes"], layout["kinds"], strict=True
        ):
            assert list(array.shape) == shape, f"shape {array.shape}, compiled for {shape}"
            assert array.dtype == _KINDS[kind], f"dtype {array.dtype}, compiled for {kind}"
        with torch.inference_mode():
            found = self._module(*(torch.tensor(array) for array in feeds.values()))
        values = found if isinstance(found, (tuple, list)) else [found]
        return [value.numpy() for value in values]
