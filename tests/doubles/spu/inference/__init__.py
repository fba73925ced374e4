"""Double of Moffett's inference library."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_KEYS = {"model", "model_path", "batch_size", "framework", "model_precision"}


class ModelFactory:
    def __init__(self, config: dict[str, Any]) -> None:
        assert config.keys() == _KEYS, f"configuration: {sorted(config)}"
        assert config["framework"] == "sparsert"
        folder = Path(config["model_path"])
        self._program = json.loads((folder / "program.json").read_text())
        assert config["batch_size"] == self._program["batch"], "built for another batch size"
        assert config["model_precision"] == self._program["dtype"], "built in another precision"
        self._folder = folder
        self._session: Any = None
        self._destroyed = False
        self.device_num = 0
        self._pool = ThreadPoolExecutor(1)
        self._lock = threading.Lock()

    def load_model(self) -> None:
        assert self._session is None, "load_model() twice"
        assert self.device_num >= 1, "device_num is set before load_model()"
        self._session = onnxruntime.InferenceSession(
            str(self._folder / "program.onnx"), providers=["CPUExecutionProvider"]
        )

    def preprocess(self, feeds: dict[str, Any], layout: dict[str, Any]) -> tuple[Any, Any]:
        self._must_be_loaded()
        assert layout["chunk_size"] == self._program["batch"], "chunk_size is the batch size"
        order = sorted(layout["model_input"], key=lambda i: i["input_order"])
        names = [i["name"] for i in order]
        assert names == self._program["inputs"], f"inputs in another order: {names}"
        kinds = {i.name: i.type for i in self._session.get_inputs()}
        request = {}
        for name in names:
            array = feeds[name]
            wanted = {"tensor(int64)": "int64", "tensor(float)": "float32"}[kinds[name]]
            assert array.dtype == wanted, f"{name}: dtype {array.dtype}"
            assert len(array) == self._program["batch"], f"{name}: {len(array)} rows"
            request[name] = np.array(array)
        return request, {"rows": self._program["batch"]}

    def inference(self, request: Any, callback: Callable[[Any], None] | None = None) -> Any:
        self._must_be_loaded()
        assert set(request) == set(self._program["inputs"]), "not a request of preprocess()"
        if callback is None:
            return self._run(request)
        self._pool.submit(lambda: callback(self._run(request)))
        return None

    def postprocess(self, response: Any, info: Any) -> list[Any]:
        assert isinstance(response, _Response), "not a response of inference()"
        assert info == {"rows": self._program["batch"]}, "info of another request"
        return response.values

    def destroy(self) -> None:
        self._must_be_loaded()
        self._pool.shutdown()
        self._destroyed = True

    def _run(self, request: Any) -> _Response:
        return _Response(self._session.run(None, request))

    def _must_be_loaded(self) -> None:
        assert self._session is not None, "before load_model()"
        assert not self._destroyed, "after destroy()"


class _Response:
    def __init__(self, values: list[Any]) -> None:
        self.values = values
