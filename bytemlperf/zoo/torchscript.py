"""TorchScript for a device: traced in its precision, and with all of it on the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo.model import Model
from bytemlperf.zoo.torch_build import (
    EagerModule,
    export_torchscript,
    import_torch,
    torchscript_is_deprecated,
)

if TYPE_CHECKING:
    import torch


def export_lower(model: Model, dtype: torch.dtype, path: Path) -> None:
    """Write a torch model with its weights in ``dtype``, which float inputs have to be too.

    A trace holds the types that its network made masks and states in, so it is traced anew;
    a finished artifact has no source, and its weights alone are converted.

    Raises:
        BytemlperfError: where torch cannot run the network in ``dtype``.
    """
    torch = import_torch()
    card = model.card
    if model.weights.kind == "artifact":
        with torchscript_is_deprecated():
            module = torch.jit.load(str(model.path), map_location="cpu").eval()
            torch.jit.save(module.to(dtype), str(path))
        return
    source = model.load_source()
    if not isinstance(source, EagerModule):
        raise BytemlperfError(f"{card.name}: its source is not a torch module")
    try:
        export_torchscript(source.module.to(dtype), card, path, dtype)
    except RuntimeError as error:
        raise BytemlperfError(
            f"{card.name}: torch cannot run this network in {dtype}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def load_on_device(path: Path, device: str) -> Any:
    """Load a module that was traced on the CPU, frozen or not, whole onto a device.

    ``module.to(device)`` moves parameters and buffers only. The constants of a graph, which are
    all that a frozen module has, move when the file is read; where the trace says that a tensor
    is made on the CPU, the graph is changed.

    Args:
        device: as torch names it, e.g. ``"cuda"``.
    """
    torch = import_torch()
    with torchscript_is_deprecated():
        module = torch.jit.load(str(path), map_location=device)
    module.eval()
    for constant in device_constants(module):
        constant.s_("value", device)
    return module


def device_constants(module: Any) -> Iterator[Any]:
    """Yield the nodes that name a device, in every method of a TorchScript module."""
    for part in module.modules():
        for name in part._c._method_names():
            for node in part._c._get_method(name).graph.findAllNodes("prim::Constant"):
                if node.output().type().kind() == "DeviceObjType":
                    yield node
