"""Double of CUDA under torch and ONNX Runtime: streams, events, pinned memory, providers."""

from __future__ import annotations

import ctypes.util
import threading
from contextlib import contextmanager
from typing import Any, ClassVar

import onnxruntime
import torch
from torch_device import Device, DeviceTensor, plain

DEVICE = Device("cuda")
_current = threading.local()


class Stream:
    def __init__(self) -> None:
        self.recorded = 0


class Event:
    def __init__(self) -> None:
        self._stream: Stream | None = None

    def record(self, stream: Stream) -> None:
        self._stream = stream
        stream.recorded += 1

    def synchronize(self) -> None:
        assert self._stream is not None, "an event that was never recorded"
        HostTensor.ready.add(id(self._stream))


class HostTensor(torch.Tensor):
    """A copy that is on its way to the host: not to be read before its stream's event."""

    ready: ClassVar[set[int]] = set()
    stream: Stream

    def numpy(self, *, force: bool = False) -> Any:
        assert id(self.stream) in self.ready, "read before the copy to the host was done"
        return plain(self).numpy()


@contextmanager
def stream(chosen: Stream) -> Any:
    _current.stream = chosen
    yield
    _current.stream = None


def install(patch: Any, *, torch_has_it: bool = True, providers: tuple[str, ...] = ()) -> None:
    """Make this host a GPU host for torch, for ONNX Runtime, or for both."""
    HostTensor.ready.clear()
    patch.setattr(torch.cuda, "is_available", lambda: torch_has_it)
    patch.setattr(torch.cuda, "get_device_name", lambda: "double")
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "Event", Event)
    patch.setattr(torch.cuda, "stream", stream)
    patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    DEVICE.install(patch)
    to = torch.Tensor.to

    def copying(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if isinstance(tensor, DeviceTensor) and args[:1] == ("cpu",):
            assert _current.stream is not None, "a copy outside of a stream"
            arriving = plain(tensor).as_subclass(HostTensor)
            arriving.stream = _current.stream
            return arriving
        return to(tensor, *args, **kwargs)

    patch.setattr(torch.Tensor, "to", copying)
    _install_providers(patch, providers)


def _install_providers(patch: Any, providers: tuple[str, ...]) -> None:
    there = [*providers, "CPUExecutionProvider"]
    patch.setattr(onnxruntime, "get_available_providers", lambda: there)
    patch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so")
    session = onnxruntime.InferenceSession

    class Session(session):  # type: ignore[misc,valid-type]
        def __init__(self, path: Any, options: Any = None, *, providers: list[Any]) -> None:
            names = [p if isinstance(p, str) else p[0] for p in providers]
            for name, settings in (p for p in providers if not isinstance(p, str)):
                allowed = {"device_id"} | (
                    {"trt_engine_cache_enable", "trt_engine_cache_path", "trt_fp16_enable"}
                    if name.startswith("Tensorrt")
                    else set()
                )
                assert settings.keys() <= allowed, f"{name}: {settings}"
            self._names = [name for name in names if name in there] + ["CPUExecutionProvider"]
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self._names

    patch.setattr(onnxruntime, "InferenceSession", Session)
