"""NVIDIA GPUs: TorchScript with CUDA, ONNX Runtime with its CUDA and TensorRT providers."""

from __future__ import annotations
