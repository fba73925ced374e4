"""A finished model that ``--weights`` gives, in any format of the zoo: used as it is."""

from __future__ import annotations

import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.extras import require, require_tensorflow
from bytemlperf.zoo.built import Built
from bytemlperf.zoo.cache import content_key, file_sha256
from bytemlperf.zoo.card import Card, Format
from bytemlperf.zoo.model import Weights
from bytemlperf.zoo.stablehlo import count_constants, given_modules, import_given, is_module
from bytemlperf.zoo.torch_build import import_torch, torchscript_is_deprecated
from bytemlperf.zoo.verify import load_artifact

_NAMES: dict[Format, str] = {
    "torchscript": "a TorchScript file",
    "onnx": "an ONNX file",
    "saved_model": "a SavedModel",
    "stablehlo": "a StableHLO or MHLO module",
}


def format_of(path: Path) -> Format | None:
    """Return the format of a finished model, or None: a checkpoint, or something else."""
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if is_module(path) or (path.is_dir() and any(is_module(p) for p in path.iterdir())):
        return "stablehlo"
    if path.suffix == ".onnx" and path.is_file():
        return "onnx"
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # of torch.save it has data.pkl alone
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return "torchscript"
    return None


def weights_sha256(path: Path) -> str:
    """Return the hash of what ``--weights`` gives; of an ONNX file with the files beside it."""
    if format_of(path) != "onnx":
        return file_sha256(path)
    beside = [file_sha256(file) for file in _external_files(path)]
    return (
        content_key({"model": file_sha256(path), "beside": beside}) if beside else file_sha256(path)
    )


def from_artifact(card: Card, path: Path, format: Format) -> Built:
    """Wrap a finished model; its reference is the same file in its own framework.

    Raises:
        UsageError: where the card runs another format.
        BytemlperfError: where it cannot be loaded, or lacks an input or output of the card.
    """
    if format != card.format:
        raise UsageError(
            f"{card.name}: --weights {path} is {_NAMES[format]}, but this model runs as "
            f"{_NAMES[card.format]}; give one, or a checkpoint"
        )
    count = {
        "torchscript": _torchscript,
        "onnx": _onnx,
        "saved_model": _saved_model,
        "stablehlo": _stablehlo,
    }[format]
    try:
        parameters = count(card, path)
        source = load_artifact(card, path)
    except BytemlperfError:
        raise
    except Exception as error:
        raise BytemlperfError(
            f"{card.name}: --weights {path}: cannot be loaded: {error}"
        ) from error
    return Built(
        parameters=parameters,
        weights=Weights("artifact", weights_sha256(path), str(path)),
        source=source,
        export=lambda target: _copy(card, path, target, format),
        flops_per_sample=None,
    )


def _copy(card: Card, path: Path, target: Path, format: Format) -> None:
    if format == "stablehlo":
        import_given(card, path, target)
        return
    if format == "saved_model":
        shutil.copytree(path, target)
        return
    shutil.copyfile(path, target)
    for beside in _external_files(path) if format == "onnx" else ():
        copy = target.parent / beside.relative_to(path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(beside, copy)


def _torchscript(card: Card, path: Path) -> int:
    torch = import_torch()
    with torchscript_is_deprecated():
        module = torch.jit.load(str(path), map_location="cpu")
    return sum(p.numel() for p in module.parameters())


def _onnx(card: Card, path: Path) -> int:
    graph = _graph(path)
    constants = {tensor.name for tensor in graph.initializer}
    _refuse_other_names(
        card,
        path,
        [i.name for i in graph.input if i.name not in constants],
        [o.name for o in graph.output],
    )
    return sum(math.prod(tensor.dims) for tensor in graph.initializer)


def _graph(path: Path) -> Any:
    """The graph of an ONNX file without the tensors beside it."""
    onnx = require("onnx", extra="onnx", purpose="an ONNX model")
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's own class, which is nothing to import here
        raise BytemlperfError(f"{path}: cannot be loaded: {error}") from error


def _external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its tensors."""
    entries = [entry for tensor in _graph(path).initializer for entry in tensor.external_data]
    names = sorted({Path(entry.value) for entry in entries if entry.key == "location"})
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise BytemlperfError(f"{path}: keeps tensors in {name}, outside of its own folder")
        if not (path.parent / name).is_file():
            raise BytemlperfError(f"{path}: keeps tensors in {name}, which is not there")
    return [path.parent / name for name in names]


def _saved_model(card: Card, path: Path) -> int:
    tf = require_tensorflow("a TensorFlow model")
    module = tf.saved_model.load(str(path))
    function = module.signatures["serving_default"]
    _refuse_other_names(
        card, path, list(function.structured_input_signature[1]), list(function.structured_outputs)
    )
    return sum(int(v.shape.num_elements()) for v in function.variables)


def _stablehlo(card: Card, path: Path) -> int:
    return count_constants(next(iter(given_modules(card, path).values())))


def _refuse_other_names(card: Card, path: Path, inputs: list[str], outputs: list[str]) -> None:
    wanted = [tensor.name for tensor in card.inputs]
    if sorted(inputs) != sorted(wanted) or not set(card.outputs) <= set(outputs):
        raise BytemlperfError(
            f"{card.name}: --weights {path}: takes {', '.join(inputs)} and gives "
            f"{', '.join(outputs)}; the card names {', '.join(wanted)} and "
            f"{', '.join(card.outputs)}: rename them, or use a card of your own"
        )
