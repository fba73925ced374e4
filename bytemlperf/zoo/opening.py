"""card -> build -> export -> verify -> cache, and back from the cache."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bytemlperf.backend import Predict
from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.extras import MissingExtra
from bytemlperf.host import cache_root
from bytemlperf.zoo.artifact import format_of, from_artifact, weights_sha256
from bytemlperf.zoo.built import Built
from bytemlperf.zoo.cache import (
    MANIFEST,
    Entry,
    Report,
    artifact_bytes,
    content_key,
)
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.cards import load_card
from bytemlperf.zoo.model import Model, Weights
from bytemlperf.zoo.operators import count_operators
from bytemlperf.zoo.verify import verify_export

Preset = Literal["full", "tiny"]

_SCHEMA = 2
_ARTIFACT = {
    "torchscript": "model.pt",
    "onnx": "model.onnx",
    "saved_model": "saved_model",
    "stablehlo": "stablehlo",
    "eager": "recipe.json",
}
# What decides an artifact beside this package: the sources are torch modules of these libraries.
_PACKAGES = (
    "torch",
    "transformers",
    "diffusers",
    "onnx",
    "onnxscript",
    "tensorflow-cpu",
    "tensorflow",
    "jaxlib",
)
_BYTES_PER_PARAMETER = 5  # fp32 and some room


def _silent(message: str, fraction: float | None) -> None:
    """The progress of those who do not want any."""


def open_model(
    name_or_path: str,
    *,
    preset: Preset = "full",
    weights: Path | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Report | None = None,
) -> Model:
    """Return a built, exported and verified model; from the cache where it is there.

    Args:
        name_or_path: a card's name, or a path to one.
        preset: ``tiny`` is the same architecture at a size for tests.
        weights: a real checkpoint (see :mod:`zoo.checkpoint`) or a finished model, used as it is;
            None for the seeded (or embedded) weights.
        seed: of seeded weights.
        progress: called with what is being done and how far (0 to 1, or None).

    Raises:
        UsageError: for an unknown model or a checkpoint that is not there.
        BytemlperfError: naming the model and the step that failed.
    """
    report = progress or _silent
    card = load_card(name_or_path)
    if weights is not None and not weights.exists():
        raise UsageError(f"--weights {weights}: no such file or folder")
    builder = _builder(card)
    given = format_of(weights) if weights else None
    entry = Entry(
        cache_dir or cache_root(), f"{card.name}-{preset}", _key(card, preset, weights, seed)
    )

    def build() -> Built:
        if weights is not None and given is not None:
            return from_artifact(card, weights, given)
        config = dict(card.config) | (dict(card.tiny) if preset == "tiny" else {})
        built = builder.build(card, config, seed, weights)
        if not isinstance(built, Built):
            raise BytemlperfError(f"{card.name}: model_zoo/{card.builder}.py returned no Built")
        return built

    manifest = entry.read()
    cached = manifest is not None
    if manifest is None:
        with entry.locked(report):
            manifest = entry.read()
            if manifest is None:
                manifest = _make(card, preset, entry, build, report)
    return Model(
        card=card,
        preset=preset,
        path=entry.folder / manifest["artifact"],
        weights=Weights(**manifest["weights"]),
        parameters=manifest["parameters"],
        operators=manifest["operators"],
        flops_per_sample=manifest["flops_per_sample"],
        build_s=manifest["build_s"],
        export_difference=manifest["export_difference"],
        cached=cached,
        tokenizer=Path(manifest["tokenizer"]) if manifest["tokenizer"] else None,
        load_source=lambda: _source(card, build, manifest["weights"]["sha256"]),
    )


# A framework's random state belongs to the process: two instances that build at once would draw
# each other's numbers.
_building = threading.Lock()


def _source(card: Card, build: Callable[[], Built], sha256: str) -> Predict:
    with _building:
        built = build()
    if built.weights.sha256 != sha256:
        raise BytemlperfError(
            f"{card.name}: built again, it has other weights than its export ("
            f"{built.weights.sha256[:16]}, not {sha256[:16]}): 'bytemlperf models clean', and again"
        )
    return built.source


def _builder(card: Card) -> ModuleType:
    try:
        return importlib.import_module(f"bytemlperf.model_zoo.{card.builder}")
    except ModuleNotFoundError as error:
        if error.name != f"bytemlperf.model_zoo.{card.builder}":
            raise MissingExtra(
                f"{card.name} needs the package {error.name!r}: pip install 'bytemlperf[zoo]'"
            ) from error
        raise UsageError(
            f"model_zoo/{card.name}.json: builder: there is no model_zoo/{card.builder}.py"
        ) from error


def _key(card: Card, preset: str, weights: Path | None, seed: int) -> str:
    return content_key(
        {
            "schema": _SCHEMA,
            # Tolerances decide nothing of a build.
            "card": card.model_dump(exclude={"tolerances", "relative_tolerances"}),
            "preset": preset,
            "weights": weights_sha256(weights) if weights else f"seed {seed}",
            "code": _code("bytemlperf.model_zoo") | _code("bytemlperf.zoo"),
            "packages": _versions(),
        }
    )


def _code(package: str) -> dict[str, str]:
    """File -> text: builders share code, so each depends on all of it."""
    files = [f for f in resources.files(package).iterdir() if f.name.endswith(".py")]
    return {f"{package}/{f.name}": f.read_text(encoding="utf-8") for f in files}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _make(
    card: Card, preset: Preset, entry: Entry, build: Callable[[], Built], report: Report
) -> dict[str, Any]:
    report(f"building {card.title}", 0.0)
    start = time.perf_counter()
    built = build()
    ready_made = built.weights.kind == "artifact"  # constants may be folded into its parameters
    if preset == "full" and not ready_made and built.parameters != card.parameters:
        raise BytemlperfError(
            f"{card.name}: built with {built.parameters:,} parameters, but the card says "
            f"{card.parameters:,}: not the model that its name promises"
        )
    bytes_needed = 0 if card.format == "eager" else built.parameters * _BYTES_PER_PARAMETER
    with entry.replacing(bytes_needed + (16 << 20)) as folder:
        path = folder / _ARTIFACT[card.format]
        report(f"exporting {built.parameters:,} parameters as {card.format}", 0.4)
        try:
            built.export(path)
        except OSError as error:
            raise BytemlperfError(
                f"{card.name}: writing {path.name} failed: {error}; clear space or set "
                "BYTEMLPERF_CACHE to another folder"
            ) from error
        except Exception as error:
            raise BytemlperfError(f"{card.name}: the export failed: {error}") from error
        report("verifying the export against its source", 0.7)
        difference = verify_export(card, path, built.source)
        manifest = {
            "card": card.name,
            "preset": preset,
            "artifact": path.name,
            "artifact_bytes": artifact_bytes(folder),
            "parameters": built.parameters,
            "weights": asdict(built.weights),
            "operators": count_operators(path, card.format),
            "flops_per_sample": built.flops_per_sample,
            "export_difference": difference,
            "tokenizer": str(built.tokenizer) if built.tokenizer else None,
            "build_s": round(time.perf_counter() - start, 3),
            "packages": _versions(),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    report("cached", 1.0)
    return manifest
