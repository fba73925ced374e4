from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch_device import Device, OnDevice

DEVICE = Device("hpu")
present = True
launched = False


def is_available() -> bool:
    return present


def wrap_in_hpu_graph(module: Any) -> Callable[..., Any]:
    assert isinstance(module, OnDevice), "the model was not moved to the device"
    assert not module.training, "a graph is captured of a model in eval mode"

    def replay(*inputs: Any) -> Any:
        return module(*inputs, floats=torch.bfloat16)

    return replay


class Stream:
    def synchronize(self) -> None:
        assert launched, "synchronize() before mark_step(): nothing was launched"
        DEVICE.pending = False


def default_stream() -> Stream:
    return Stream()
