"""Compile for Graphcore's C600 with PopRT, or for its device model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Question, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.extras import require
from bytemlperf.simulate import DeviceCard, device_model
from bytemlperf.zoo import Card, to_onnx

from .options import COMPILER, CONVERTER, PACKING, converter_arguments
from .packing import POSITIONS, mask_of, with_positions
from .sdk import missing

_OPTIONS = (*CONVERTER, *COMPILER, *PACKING)


class PopRTCompile(CompileBackend):
    """ONNX -> PopRT's converter -> one PopEF for each batch size; shapes are fixed in it."""

    def version(self) -> str:
        import poprt

        return f"poprt {poprt.__version__}"

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        return _OPTIONS

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card, options = config.model.card, config.options
        source = to_onnx(config.model, config.cache_dir / "model.onnx")
        precision = str(options["precision"])
        executables = {}
        for batch_size in config.batch_sizes:
            # One name, from one place: what is written here is what the runtime loads.
            path = config.cache_dir / str(batch_size) / f"executable_{precision}.popef"
            if not path.exists():
                self._compile(config, source, batch_size, path)
            executables[batch_size] = path
        return CompileInfo(
            precision=precision,
            # PopRT refuses a model with an operator that the device lacks: there is no fallback.
            segments=(Segment.whole(config.model),),
            artifact=executables,
            optimizations={question.name: options.get(question.name) for question in _OPTIONS},
            notes=_notes(card, options["pack"]),
            padding_mask=mask_of(card).name if options["pack"] else None,
        )

    def _compile(self, config: CompileConfig, source: Path, batch_size: int, path: Path) -> None:
        onnx = require("onnx", extra="onnx", purpose="PopRT's converter")
        from poprt.compiler import Compiler, CompilerOptions
        from poprt.converter import Converter

        card, proto = config.model.card, onnx.load(str(source))
        shapes = {
            t.name: [batch_size, *t.shape] if t.batched else list(t.shape) for t in card.inputs
        }
        if config.options["pack"]:
            proto = with_positions(proto, card)
            shapes[POSITIONS] = [batch_size, *mask_of(card).shape]
        converted = Converter(**converter_arguments(config.options, shapes)).convert(proto)
        options = CompilerOptions()
        for question in COMPILER:
            setattr(options, question.name, config.options[question.name])
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        Compiler.compile_and_export(
            converted.SerializeToString(), list(card.outputs), str(temporary), options
        )
        temporary.replace(path)


def _notes(card: Card, pack: bool) -> dict[str, str]:
    packed = DeviceCard.of_package(__package__).packed(card.name)
    if packed is None or pack:
        return {}
    return {"caveat": f"every sample is computed at its full length (see --set pack): {packed}"}


because = missing()
Compile = device_model(__package__, because) if because else PopRTCompile
