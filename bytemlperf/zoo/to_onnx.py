"""A built model as ONNX: what most vendors' compilers read."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo.model import Model
from bytemlperf.zoo.synthetic import synthetic_feeds
from bytemlperf.zoo.tf_to_onnx import export_saved_model_to_onnx
from bytemlperf.zoo.torch_build import import_torch, tensors, torchscript_is_deprecated

# The first version of the standard's operators into which fused attention can be written.
OPSET = 14


def to_onnx(model: Model, path: Path, opset: int = OPSET) -> Path:
    """Return the model's ONNX file: its artifact, or its TorchScript or SavedModel as ``path``.

    The batch dimension stays free, inputs and outputs have the card's names.

    Raises:
        BytemlperfError: where the format has no way to ONNX, or the export fails.
    """
    card = model.card
    if card.format == "onnx":
        return model.path
    if card.format not in ("torchscript", "saved_model"):
        raise BytemlperfError(
            f"{card.name}: this compiler reads ONNX, and {card.format} is not converted here: "
            "take the same model as torch, tf or onnx"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        if card.format == "saved_model":
            export_saved_model_to_onnx(card, model.path, temporary, opset)
        else:
            _export_torchscript(model, temporary, opset)
        temporary.replace(path)
    return path


def _export_torchscript(model: Model, path: Path, opset: int) -> None:
    torch = import_torch()
    card = model.card
    example = tuple(tensors(synthetic_feeds(card, range(2), seed=0), card))
    batched = [t.name for t in card.inputs if t.batched] + list(card.outputs)
    with torchscript_is_deprecated(), warnings.catch_warnings():
        # The exporter that reads TorchScript is the old one, and says so on every call.
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(model.path), map_location="cpu").eval()
        try:
            torch.onnx.export(
                module,
                example,
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=[tensor.name for tensor in card.inputs],
                output_names=list(card.outputs),
                dynamic_axes={name: {0: "batch"} for name in batched},
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            raise BytemlperfError(
                f"{card.name}: export to ONNX {opset} failed: {reason}"
            ) from error
