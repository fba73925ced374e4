"""The host processor: TorchScript, ONNX Runtime, TensorFlow SavedModel."""

from __future__ import annotations
