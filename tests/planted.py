"""Backends that misbehave, for processes of their own: imports no more than they need."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

BAD = 3.0  # the sample that a planted backend cannot stand


def double(feeds: Any) -> dict[str, np.ndarray]:
    return {"y": feeds["x"] * 2}


class Planted:
    """Doubles its input, and does ``deed`` where the first sample is BAD."""

    def __init__(self, deed: str = "nothing") -> None:
        self.deed = deed

    def load(self, batch_size: int) -> None:
        if self.deed == "fail to load":
            raise RuntimeError("no device")
        if self.deed == "die in load":
            os.kill(os.getpid(), signal.SIGBUS)

    def predict(self, feeds: Any) -> Any:
        if feeds["x"][0, 0] == BAD:
            return getattr(self, self.deed)(feeds)
        return double(feeds)

    def nothing(self, feeds: Any) -> Any:
        return double(feeds)

    def read_null(self, feeds: Any) -> None:
        ctypes.string_at(0)

    def abort(self, feeds: Any) -> None:
        print("the device is on fire", file=sys.stderr, flush=True)
        os.abort()

    def leave(self, feeds: Any) -> None:
        os._exit(7)

    def hang(self, feeds: Any) -> None:
        threading.Event().wait()

    def hold_gil(self, feeds: Any) -> None:
        ctypes.PyDLL(None).sleep(100)

    def fail(self, feeds: Any) -> None:
        raise ValueError("planted")

    def shape(self, feeds: Any) -> Any:
        return {"y": np.zeros((7, 1))}

    def foreign(self, feeds: Any) -> Any:
        return {"y": Foreign()}

    def write_to_inputs(self, feeds: Any) -> None:
        ctypes.memset(feeds["x"].ctypes.data, 0, 4)


class Foreign:
    def __dlpack__(self) -> None:
        raise NotImplementedError


class Pooled:
    """Asynchronous: answers from the threads of a pool, out of order."""

    max_in_flight = 4

    def __init__(self, deed: str = "nothing") -> None:
        self.planted = Planted(deed)
        self.pool = ThreadPoolExecutor(4)

    def load(self, batch_size: int) -> None: ...

    def submit(self, feeds: Any, done: Any) -> None:
        self.pool.submit(self._run, feeds, done)

    def _run(self, feeds: Any, done: Any) -> None:
        time.sleep(0.002 if feeds["x"][0, 0] % 2 else 0.0)
        try:
            outputs = self.planted.predict(feeds)
        except ValueError as error:
            done(error=error)
        else:
            done(outputs)

    def unload(self) -> None:
        self.pool.shutdown()


class Twice(Pooled):
    def submit(self, feeds: Any, done: Any) -> None:
        done(double(feeds))
        done(double(feeds))


def everything(feeds: Any) -> Any:
    x = feeds["x"]
    return {"x": x, "list": [x, "text"], "tuple": (None, 1.5), "scalar": x.max()}


def add_bias(feeds: Any) -> Any:
    return {"y": feeds["x"] + feeds["bias"]}


def zeros(feeds: Any) -> Any:
    return {"y": np.zeros(feeds["n"].item(), np.int8)}
