"""A device that torch on the CPU does not have: tensors that say they lie there, and refuse the host.

Installed for a test by patching ``Tensor.to`` and ``jit.load``, as a vendor's bridge adds its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bytemlperf.zoo.torchscript import device_constants


class DeviceTensor(torch.Tensor):
    """Lies on the device: no numpy(), and no way to the host before its work has been waited for."""

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert a device tensor to numpy: copy it to the host first")

    def cpu(self, *args: Any, **kwargs: Any) -> Any:
        return self.to("cpu")


def on_device(tensor: torch.Tensor) -> DeviceTensor:
    return tensor.detach().as_subclass(DeviceTensor)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor)


class Device:
    """One device of ``kind`` with a queue of work.

    Attributes:
        pending: work was launched that nobody has waited for.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pending = False

    def is_here(self, target: Any) -> bool:
        return isinstance(target, (str, torch.device)) and torch.device(target).type == self.kind

    def install(self, patch: Any) -> None:
        """Teach torch the device; ``patch`` is pytest's monkeypatch, which takes it back."""
        patch.setattr(torch.Tensor, "to", self._tensor_to(torch.Tensor.to))
        patch.setattr(torch.jit, "load", self._load(torch.jit.load))
        patch.setattr(torch.jit.ScriptModule, "to", self._module_to(torch.jit.ScriptModule.to))

    def _tensor_to(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            target = args[0] if args else kwargs.get("device")
            if self.is_here(target):
                return on_device(tensor)
            if isinstance(tensor, DeviceTensor):
                if target == "cpu" or target == torch.device("cpu"):
                    assert not self.pending, "copied to the host before the device was done"
                    return plain(tensor)
                return on_device(original(plain(tensor), *args, **kwargs))
            return original(tensor, *args, **kwargs)

        return to

    def _load(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def load(path: str, map_location: Any = None) -> Any:
            if not self.is_here(map_location):
                return original(path, map_location=map_location)
            return OnDevice(self, original(path, map_location="cpu"))

        return load

    def _module_to(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def to(module: Any, *args: Any, **kwargs: Any) -> Any:
            assert not (args and self.is_here(args[0])), "a graph's constants do not move: load it"
            return original(module, *args, **kwargs)

        return to

    def run(self, module: Any, inputs: tuple[Any, ...], floats: torch.dtype | None) -> Any:
        """Launch: every input must lie on the device and float inputs be of the model's dtype."""
        for tensor in inputs:
            assert isinstance(tensor, DeviceTensor), "an input lies on the host"
            if floats is not None and tensor.is_floating_point():
                assert tensor.dtype == floats, f"input of {tensor.dtype}, model in {floats}"
        for parameter in module.parameters():
            if floats is not None and parameter.is_floating_point():
                assert parameter.dtype == floats, f"weights in {parameter.dtype}"
        self.pending = True
        found = module(*(plain(tensor) for tensor in inputs))
        if isinstance(found, (tuple, list)):
            return tuple(on_device(tensor) for tensor in found)
        return on_device(found)


class OnDevice:
    """A TorchScript module that was loaded onto the device: a call launches."""

    def __init__(self, device: Device, module: Any) -> None:
        self.device, self.module = device, module
        self._checked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, *inputs: Any, floats: torch.dtype | None = None) -> Any:
        if not self._checked:
            self._checked = True
            for constant in device_constants(self.module):
                place = constant.s("value")
                assert self.device.is_here(place), f"the graph makes a tensor on {place}"
                constant.s_("value", "cpu")  # where the double computes
        return self.device.run(self.module, inputs, floats)
