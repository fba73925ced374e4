"""What of CUDA this host has."""

from __future__ import annotations

import ctypes.util
import importlib
from functools import cache

from bytemlperf.errors import BackendError
from bytemlperf.extras import installed

PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@cache
def torch_has_gpu() -> bool:
    if not installed("torch"):
        return False
    import torch

    return bool(torch.cuda.is_available())


@cache
def providers() -> tuple[str, ...]:
    """Return which of our names ONNX Runtime can use here, the faster first."""
    if not installed("onnxruntime"):
        return ()
    import onnxruntime

    # It lists what it was built with, and TensorRT is not in the package.
    there = set(onnxruntime.get_available_providers())
    return tuple(
        name
        for name in ("tensorrt", "cuda")
        if PROVIDERS[name] in there and (name != "tensorrt" or _has_tensorrt())
    )


def _has_tensorrt() -> bool:
    """True where its library can be loaded: the system's, or that of its package once imported."""
    if installed("tensorrt"):
        importlib.import_module("tensorrt")
        return True
    return ctypes.util.find_library("nvinfer") is not None


def require_gpu() -> None:
    """Raise where nothing that is installed can use a GPU.

    Raises:
        BackendError: saying what is missing.
    """
    if torch_has_gpu() or providers():
        return
    torch = "torch finds no CUDA device" if installed("torch") else "torch is not installed"
    ort = (
        "onnxruntime has no CUDA provider"
        if installed("onnxruntime")
        else "onnxruntime is not installed"
    )
    raise BackendError(
        f"there is no NVIDIA GPU that can be used here ({torch}; {ort}), and no device model "
        "stands in for one: run on a GPU host with a CUDA build of torch or with onnxruntime-gpu"
    )
