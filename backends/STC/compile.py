"""Compile for Stream Computing's P920 with its AI compiler, or for its device model."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate import device_model
from bytemlperf.zoo import Card, Model

from .sdk import COMPILER, missing

_TYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
}
_LOG = "stc_aic.log"


class AicCompile(CompileBackend):
    """One call of the compiler for each batch size; it splits what the device cannot run off."""

    def version(self) -> str:
        found = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False)
        return f"stc_aic {found.stdout.strip()}" if found.returncode == 0 else "stc_aic"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        return (Question("threads", "threads of the engine of one instance", 8),)

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        folders, manifest = {}, {}
        for batch_size in config.batch_sizes:
            folder = config.cache_dir / str(batch_size)
            if not (folder / "model.json").exists():
                _compile(config.model, folder, batch_size)
            manifest = _manifest(folder)
            folders[batch_size] = folder
        operators = sum(config.model.operators.values())
        return CompileInfo(
            precision="fp16",
            segments=_segments(config.model.card, operators, _coverage(manifest)),
            artifact=folders,
            notes={
                "threads": int(config.options["threads"]),
                "nodes": len(manifest["nodes"]),
                "coverage_as_compiled": f"{100 * _coverage(manifest):.2f} %",
            },
        )


def _compile(model: Model, folder: Path, batch_size: int) -> None:
    """Run the compiler.

    Raises:
        BytemlperfError: with the end of its output where it fails.
    """
    card = model.card
    shapes = [[batch_size, *t.shape] if t.batched else list(t.shape) for t in card.inputs]
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    command = [
        COMPILER,
        *("--model", str(model.path)),
        *("--input_names", ",".join(t.name for t in card.inputs)),
        *("--input_shapes", ",".join(f"[{','.join(map(str, shape))}]" for shape in shapes)),
        *("--input_dtypes", ",".join(_TYPES[t.dtype] for t in card.inputs)),
        *("--output_names", ",".join(card.outputs)),
        *("--output_dtypes", ",".join("FP32" for _ in card.outputs)),
        *("--outdir", str(building)),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (building / _LOG).write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        last = "; ".join(done.stdout.strip().splitlines()[-3:])
        raise BytemlperfError(
            f"{COMPILER} ended with {done.returncode} at batch {batch_size}: {last} "
            f"(all of it: {building / _LOG})"
        )
    _manifest(building)
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def _manifest(folder: Path) -> dict[str, Any]:
    """Read what the compiler says of its result; every part that it names must be there."""
    file = folder / "model.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        sources = [folder / node["source"] for node in manifest["nodes"]]
        float(manifest["stcop_rate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BytemlperfError(f"{file}: not a result of {COMPILER}: {error!r}") from error
    for source in sources:
        if not source.exists():
            raise BytemlperfError(f"{file}: its node {source.name} was not compiled")
    return manifest


def _coverage(manifest: dict[str, Any]) -> float:
    """Share of the operators that the device runs; the compiler writes percent or a share."""
    rate = float(manifest["stcop_rate"])
    return rate / 100 if rate > 1 else rate


def _segments(card: Card, operators: int, coverage: float) -> tuple[Segment, ...]:
    """The compiler's engine runs both parts itself; only their sizes are known here."""
    on_device = round(operators * coverage)
    inputs = tuple(tensor.name for tensor in card.inputs)
    device = Segment(0, False, on_device, inputs, card.outputs)
    if on_device == operators:
        return (device,)
    return device, Segment(1, True, operators - on_device)


because = missing()
Compile = device_model(__package__, because) if because else AicCompile
