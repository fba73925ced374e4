"""Networks of many gigabytes: built without their weights, then filled in place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bytemlperf import host
from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo.torch_build import import_torch

if TYPE_CHECKING:
    import torch

# What an activation, a cache and the libraries need beside the weights.
_BESIDE = 1 << 30
_BLOCK = 1 << 24
# Successive tensors begin this far apart in the block, so that no two are the same.
_STRIDE = 7_368_787
_DEVIATION = 0.02


def without_weights(create: Callable[[], Any], dtype: torch.dtype) -> Any:
    """Create a network whose tensors have shapes and no memory."""
    torch = import_torch()
    with torch.device("meta"):
        return create().to(dtype).eval().requires_grad_(False)


def require_memory(name: str, network: Any) -> None:
    """Refuse to begin what the host has no memory for.

    Raises:
        BytemlperfError: with what is needed and what is there.
    """
    needed = sum(p.numel() * p.element_size() for p in network.parameters()) + _BESIDE
    free = host.available_memory()
    if free is not None and needed > free:
        raise BytemlperfError(
            f"{name} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are "
            "available: end other programs, take a larger host, or --preset tiny"
        )


def fill_seeded(network: Any, seed: int) -> None:
    """Give a network without weights random ones: normal with deviation 0.02, vectors of ones.

    Billions of draws would take minutes; one block of 2**24 of them is laid out again and again,
    each tensor from another place of it. Biases, which are vectors too, become 0.
    """
    torch = import_torch()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    parameters = list(network.named_parameters())
    block = torch.randn(_BLOCK, generator=generator).mul_(_DEVIATION).to(parameters[0][1].dtype)
    for number, (name, parameter) in enumerate(parameters):
        if parameter.dim() == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        flat, begin, done = parameter.view(-1), number * _STRIDE % _BLOCK, 0
        while done < flat.numel():
            part = block[begin : begin + flat.numel() - done]
            flat[done : done + part.numel()] = part
            begin, done = 0, done + part.numel()


def seeded_sha256(network: Any, seed: int) -> str:
    """Hash of what decides seeded weights: names, shapes, dtype, seed. Reads no weights."""
    digest = hashlib.sha256(f"{seed} {_BLOCK} {_STRIDE} {_DEVIATION}".encode())
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
    return digest.hexdigest()
