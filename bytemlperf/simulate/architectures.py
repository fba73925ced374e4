"""What one sample of a published model costs: operations and bytes, which its architecture fixes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """The work of one sample at the shapes that were published.

    Attributes:
        gflops: dense operations of a sample, 10^9 (two for a multiply-add); None where unknown.
        host_bytes: inputs and outputs that cross the host interface for a sample.
        gflops_per_batch: operations that a batch needs once, whatever its size.
    """

    gflops: float | None
    host_bytes: int
    gflops_per_batch: float = 0.0


_TOKENS = 3 * 384 * 8 + 2 * 384 * 4  # three int64 inputs of 384 tokens, two float32 logits each
_IMAGE = 3 * 224 * 224 * 4

# A transformer layer of width h on s tokens: 24 s h^2 + 4 s^2 h operations.
_BASE_384 = 12 * (24 * 384 * 768**2 + 4 * 384**2 * 768) / 1e9
# Relative positions: two projections of 768 of them, two products with the tokens, each layer.
_DISENTANGLED = 12 * (2 * 2 * 768 * 768**2 + 2 * 2 * 384 * 768 * 768) / 1e9
_CLIP_TEXT = 12 * (24 * 77 * 512**2 + 4 * 77**2 * 512) / 1e9  # one prompt of a width-512 encoder

ARCHITECTURES = {
    "albert-torch-fp32": Architecture(_BASE_384, _TOKENS),
    "bert-tf-fp32": Architecture(_BASE_384, 3 * 384 * 4 + 2 * 384 * 4),
    "bert-torch-fp32": Architecture(_BASE_384, _TOKENS),
    "clip-onnx-fp32": Architecture(
        12 * (24 * 77 * 768**2 + 4 * 77**2 * 768) / 1e9, 77 * 4 + 78 * 768 * 4
    ),
    "conformer-encoder-onnx-fp32": Architecture(None, 3 * 64 * 512 * 4 + 128),
    "deberta-torch-fp32": Architecture(_BASE_384 + _DISENTANGLED, _TOKENS),
    "resnet50-tf-fp32": Architecture(8.2, _IMAGE + 1001 * 4),
    "resnet50-torch-fp32": Architecture(8.2, _IMAGE + 1000 * 4),
    "roberta-torch-fp32": Architecture(_BASE_384, _TOKENS),
    "roformer-tf-fp32": Architecture(
        12 * (24 * 1024 * 768**2 + 4 * 1024**2 * 768) / 1e9, 2 * 1024 * 4 + 8
    ),
    "swin-large-torch-fp32": Architecture(207.8, 3 * 384 * 384 * 4 + 1000 * 4),
    # A ViT-B/32 for the image; its 100 prompts are encoded once a batch.
    "videobert-onnx-fp32": Architecture(8.8, _IMAGE + 100 * 4, 100 * _CLIP_TEXT),
    # 845 inputs and layers of 1024, 512 and 256.
    "widedeep-tf-fp32": Architecture(
        2 * (845 * 1024 + 1024 * 512 + 512 * 256 + 256) / 1e9, 26 * 2 * 8 + 13 * 4 + 2 * 4
    ),
}
