"""A model's outputs as a device of reduced precision would give them, computed on the CPU."""

from __future__ import annotations

from collections.abc import Collection

from bytemlperf.backend import Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate.precisions import Precision
from bytemlperf.zoo import Model


def emulate(
    model: Model,
    precision: Precision,
    sparsity: int,
    host_operators: Collection[str] = (),
) -> Predict:
    """Return a predict function with the device's rounding.

    Args:
        model: the built model.
        precision: what the device computes in.
        sparsity: weights that one kept weight stands for.
        host_operators: kinds of operator that the host runs, exactly, in segments of its own;
            ONNX models only.

    Raises:
        BytemlperfError: for a format whose numerics cannot be emulated here.
    """
    if model.card.format == "torchscript":
        from bytemlperf.simulate.emulate_torch import emulate_torch

        return emulate_torch(model, precision, sparsity)
    if model.card.format == "onnx":
        from bytemlperf.simulate.emulate_onnx import emulate_onnx

        return emulate_onnx(model, precision, sparsity, host_operators)
    if model.card.format == "saved_model":
        from bytemlperf.simulate.emulate_tensorflow import emulate_tensorflow

        return emulate_tensorflow(model, precision, sparsity)
    raise BytemlperfError(
        f"{model.card.name}: the device's numerics are not emulated for {model.card.format}"
    )
