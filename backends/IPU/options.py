"""What a user can set for PopRT, and where each answer goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bytemlperf.backend import Question

from .packing import PASS

#: fields of poprt.compiler.CompilerOptions
COMPILER = (
    Question("num_io_tiles", "tiles that only move data", 0),
    Question("batches_per_step", "batches that one call to the device computes", 1),
    Question("enable_prefetch_datastreams", "fetch the next input while computing", False),
    Question("stream_buffering_depth", "input buffers to fetch into", 1),
    Question("available_memory_proportion", "memory that products may use for speed", 0.6),
    Question("partials_type", "precision of partial sums", "half", ("half", "float")),
    Question("use_128bit_conv_unit_load", "wide loads of weights", False),
    Question("enable_fast_reduce", "fast reductions", False),
    Question("group_host_sync", "group transfers to the host", False),
    Question("rearrange_anchors_on_host", "rearrange outputs on the host", False),
    Question("enable_outlining", "share code between repeated layers", True),
    Question("outline_threshold", "how alike layers must be to share code", 1.0),
)
#: arguments of poprt.converter.Converter
CONVERTER = (
    Question("precision", "what the device computes in", "fp16", ("fp16", "fp8", "fp32")),
    Question(
        "fp8_params",
        "formats and scales of inputs and weights",
        "F143,F143,0,0",
        depends=("precision",),
    ),
    Question("used_passes", "converter passes, with commas; empty for its own choice", ""),
    Question("disable_fast_norm", "exact normalisation layers", False),
)
#: fields of poprt.runtime.PackRunnerConfig
PACKING = (
    Question("pack", "samples share rows of the graph without their padding", False),
    Question("pack_timeout_us", "longest wait for samples to pack", 15000, depends=("pack",)),
    Question("pack_samples", "most samples that are packed at once", 40, depends=("pack",)),
)


def converter_arguments(
    options: Mapping[str, Any], input_shapes: dict[str, list[int]]
) -> dict[str, Any]:
    """Return what PopRT's converter is called with."""
    precision = options["precision"]
    arguments: dict[str, Any] = {"input_shape": input_shapes, "precision": precision}
    if precision == "fp8":
        arguments["fp8_params"] = options["fp8_params"]
    # An empty answer is no pass at all, not one with an empty name.
    passes = [name for name in str(options["used_passes"]).split(",") if name]
    if options["pack"] and PASS not in passes:
        passes.insert(0, PASS)
    if passes:
        arguments["used_passes"] = passes
    if options["disable_fast_norm"]:
        arguments["disable_fast_norm"] = True
    return arguments
