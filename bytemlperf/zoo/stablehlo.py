"""The StableHLO form of a model: one module a batch size, weights beside them, an index.

A folder with ``modules.json``; every module is a portable artifact with static shapes whose
``main`` takes the card's inputs in order, then the weights, and returns the card's outputs in
order. A module that is given by the user holds its weights itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.zoo.card import Card

INDEX = "modules.json"
SUFFIXES = (".mlir", ".mlirbc", ".mhlo", ".stablehlo")
_WEIGHTS = "weights.safetensors"
_BYTECODE = b"ML\xefR"
_MAIN = "main"
_PURPOSE = "a StableHLO model"
# What holds, names or returns values and computes nothing.
_PLUMBING = {"func.func", "func.return", "func.call", "stablehlo.constant", "stablehlo.return"}

#: (weights by name, inputs in the card's order) -> outputs in the card's order, in jax.numpy
Function = Callable[[Mapping[str, Any], Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Signature:
    """Shapes and dtypes of a module's ``main``."""

    inputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


@dataclass(frozen=True)
class Modules:
    """What lies in a folder: batch size -> module, and the names of the weights in order."""

    folder: Path
    files: Mapping[int, str]
    weights: tuple[str, ...]

    @classmethod
    def of(cls, card: Card, path: Path) -> Modules:
        """Return an artifact's modules, or the user's own as they are."""
        if (path / INDEX).exists():
            return cls.read(path)
        files = {batch: str(file) for batch, file in given_modules(card, path).items()}
        return cls(path, dict(sorted(files.items())), ())

    @classmethod
    def read(cls, folder: Path) -> Modules:
        """Read the index of an artifact."""
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = {int(batch): name for batch, name in index["modules"].items()}
        return cls(folder, dict(sorted(files.items())), tuple(index["weights"]))

    def write_index(self) -> None:
        index = {"modules": dict(self.files), "weights": list(self.weights)}
        (self.folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")

    def path(self, batch_size: int) -> Path:
        """Return the module for exactly this batch size.

        Raises:
            BytemlperfError: naming the batch sizes that there are.
        """
        if batch_size not in self.files:
            raise BytemlperfError(
                f"batch {batch_size}: StableHLO has static shapes, and this model has modules for "
                f"the batch sizes {', '.join(map(str, self.files))}: choose among these"
            )
        return self.folder / self.files[batch_size]

    def load_weights(self) -> list[Array]:
        """Return the weights in the order in which ``main`` takes them."""
        if not self.weights:
            return []
        safetensors = require("safetensors.numpy", extra="mhlo", purpose=_PURPOSE)
        state = safetensors.load_file(self.folder / _WEIGHTS)
        return [state[name] for name in self.weights]


def export_modules(
    function: Function,
    state: Mapping[str, Array],
    card: Card,
    batch_sizes: Sequence[int],
    folder: Path,
) -> None:
    """Lower a function for every batch size, and write modules, weights and index."""
    jax = import_jax()
    names = tuple(state)

    def main(*arguments: Any) -> tuple[Any, ...]:
        inputs, weights = arguments[: len(card.inputs)], arguments[len(card.inputs) :]
        return tuple(function(dict(zip(names, weights, strict=True)), inputs))

    shape = jax.ShapeDtypeStruct
    weights = [shape(array.shape, array.dtype) for array in state.values()]
    folder.mkdir()
    files = {}
    for batch in batch_sizes:
        inputs = [
            shape((batch, *t.shape) if t.batched else t.shape, np.dtype(t.dtype))
            for t in card.inputs
        ]
        with jax.enable_x64(True):
            jitted = jax.jit(main, keep_unused=True)
            exported = jax.export.export(jitted, platforms=["cpu"])(*inputs, *weights)
        files[batch] = f"batch-{batch}.mlirbc"
        (folder / files[batch]).write_bytes(exported.mlir_module_serialized)
    safetensors = require("safetensors.numpy", extra="mhlo", purpose=_PURPOSE)
    contiguous = {name: np.ascontiguousarray(array) for name, array in state.items()}
    safetensors.save_file(contiguous, folder / _WEIGHTS)
    Modules(folder, files, names).write_index()


def given_modules(card: Card, given: Path) -> dict[int, Path]:
    """Return batch size -> file for modules of the user: a file, or a folder of files.

    Raises:
        BytemlperfError: where one cannot be read, or does not take and give what the card says.
    """
    sources = [given] if given.is_file() else sorted(p for p in given.iterdir() if is_module(p))
    return {_batch_of(card, p, signature(portable(p))): p for p in sources}


def import_given(card: Card, given: Path, folder: Path) -> None:
    """Take over modules of the user, which hold their weights themselves."""
    folder.mkdir()
    files = {}
    for batch, source in given_modules(card, given).items():
        files[batch] = f"batch-{batch}.mlirbc"
        (folder / files[batch]).write_bytes(portable(source))
    Modules(folder, files, ()).write_index()


def count_constants(path: Path) -> int:
    """Return the number of elements in the constants of a module: its weights and some more."""
    with _context() as context:
        module = _dialect("stablehlo").deserialize_portable_artifact(context, portable(path))
        constants = (op for kind, op in _walk(module.operation) if kind == "stablehlo.constant")
        return sum(int(np.prod(op.results[0].type.shape)) for op in constants)


def is_module(path: Path) -> bool:
    return path.is_file() and path.suffix in SUFFIXES


def _batch_of(card: Card, source: Path, found: Signature) -> int:
    """Return the batch size that makes the card's inputs what ``main`` takes."""
    first = next((i for i, t in enumerate(card.inputs) if t.batched), 0)
    shape = found.inputs[first][0] if first < len(found.inputs) else ()
    batch = shape[0] if shape else 1
    wanted = [((batch, *t.shape) if t.batched else t.shape, np.dtype(t.dtype)) for t in card.inputs]
    if list(found.inputs) != wanted or len(found.outputs) != len(card.outputs):
        raise BytemlperfError(
            f"{card.name}: --weights {source}: main takes {_words(found.inputs)} and gives "
            f"{len(found.outputs)} results; the card says {_words(wanted)} and {len(card.outputs)}"
        )
    return batch


def _words(values: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return ", ".join(f"{'x'.join(map(str, shape))} {dtype}" for shape, dtype in values)


def import_jax() -> Any:
    """Return jax with its export module, or say which extra installs it."""
    jax = require("jax", extra="mhlo", purpose=_PURPOSE)
    require("jax.export", extra="mhlo", purpose=_PURPOSE)
    return jax


@contextmanager
def _context() -> Iterator[Any]:
    """An MLIR context that knows StableHLO, its older sister MHLO, and what stands around them."""
    ir = require("jaxlib.mlir.ir", extra="mhlo", purpose=_PURPOSE)
    common = require("jaxlib.mlir._mlir_libs._jax_mlir_ext", extra="mhlo", purpose=_PURPOSE)
    registry = ir.DialectRegistry()
    common.register_dialects(registry)  # func, arith and the like
    with ir.Context() as context:
        context.append_dialect_registry(registry)
        context.load_all_available_dialects()
        _dialect("stablehlo").register_dialect(context)
        _dialect("mhlo").register_mhlo_dialect(context)
        yield context


def _dialect(name: str) -> Any:
    return require(f"jaxlib.mlir.dialects.{name}", extra="mhlo", purpose=_PURPOSE)


def _parse(context: Any, data: bytes) -> Any:
    ir = require("jaxlib.mlir.ir", extra="mhlo", purpose=_PURPOSE)
    if data.startswith(_BYTECODE) and b"StableHLO" in data[:64]:
        return _dialect("stablehlo").deserialize_portable_artifact(context, data)
    return ir.Module.parse(data if data.startswith(_BYTECODE) else data.decode())


def portable(path: Path, version: str | None = None) -> bytes:
    """Return a file's module as a StableHLO portable artifact: from text or bytecode, also of MHLO.

    Args:
        version: of the portable form, for older readers; None for the present one.

    Raises:
        BytemlperfError: where it is no module, or needs the operators of a vendor.
    """
    data = path.read_bytes()
    passes = require("jaxlib.mlir.passmanager", extra="mhlo", purpose=_PURPOSE)
    with _context() as context:
        try:
            module = _parse(context, data)
            if any(kind.startswith("mhlo.") for kind, _ in _walk(module.operation)):
                _dialect("mhlo").register_mhlo_passes()
                manager = passes.PassManager.parse("builtin.module(hlo-legalize-to-stablehlo)")
                manager.run(module.operation)
            _refuse_vendor_calls(path, module)
            api = _dialect("stablehlo")
            artifact: bytes = api.serialize_portable_artifact(
                module, version or api.get_current_version()
            )
        except BytemlperfError:
            raise
        except Exception as error:  # MLIRError, and ValueError of what cannot be serialised
            raise BytemlperfError(f"{path}: no StableHLO or MHLO module: {error}") from error
    return artifact


def _refuse_vendor_calls(path: Path, module: Any) -> None:
    targets = {
        str(op.attributes["call_target_name"]).strip('"')
        for kind, op in _walk(module.operation)
        if kind == "stablehlo.custom_call"
    }
    if vendors := sorted(t for t in targets if t.startswith("byteir.")):
        raise BytemlperfError(
            f"{path}: calls {', '.join(vendors)}, which only ByteIR's compiler knows; export the "
            "model without its fused operators"
        )


def signature(artifact: bytes) -> Signature:
    """Return what ``main`` of a portable artifact takes and gives."""
    with _context() as context:
        module = _dialect("stablehlo").deserialize_portable_artifact(context, artifact)
        for op in module.body.operations:
            if op.operation.name == "func.func" and op.name.value == _MAIN:
                return Signature(
                    tuple(_tensor(kind) for kind in op.type.inputs),
                    tuple(_tensor(kind) for kind in op.type.results),
                )
    raise BytemlperfError(f"a StableHLO module without a function {_MAIN!r}")


def _tensor(kind: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    names = {"f32": "float32", "f64": "float64", "f16": "float16", "i1": "bool"}
    element = str(kind.element_type)
    if element not in names and element[0] in "iu":
        names[element] = f"int{element[1:]}" if element[0] == "i" else f"uint{element[2:]}"
    if not kind.has_static_shape or element not in names:
        raise BytemlperfError(f"main: {kind}: expected a static shape of a numpy type")
    return tuple(kind.shape), np.dtype(names[element])


def operator_kinds(folder: Path) -> list[str]:
    """Return the kind of every operator in the module of the smallest batch."""
    modules = Modules.read(folder)
    with _context() as context:
        data = modules.path(next(iter(modules.files))).read_bytes()
        module = _parse(context, data)
        return [kind for kind, _ in _walk(module.operation) if kind not in _PLUMBING]


def _walk(operation: Any) -> Iterator[tuple[str, Any]]:
    """Yield the kind of every operation inside, with the operation."""
    for region in operation.regions:
        for block in region:
            for op in block:
                yield op.operation.name, op.operation
                yield from _walk(op.operation)
