"""Compile for Habana's Gaudi2 with its PyTorch bridge, or for its device model."""

from __future__ import annotations

from importlib import metadata

from bytemlperf.backend import CompileBackend, CompileConfig, CompileInfo, Segment
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError
from bytemlperf.simulate import device_model
from bytemlperf.zoo.torch_build import import_torch
from bytemlperf.zoo.torchscript import export_lower

from .sdk import missing


class BridgeCompile(CompileBackend):
    """The model is traced in BF16; the bridge makes a graph of each batch size at its first batch.

    The report's first inference is where that time stands.
    """

    def version(self) -> str:
        try:
            return f"habana-torch-plugin {metadata.version('habana-torch-plugin')}"
        except metadata.PackageNotFoundError:
            return "habana_frameworks"

    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        card = config.model.card
        if card.format != "torchscript":
            raise BytemlperfError(
                f"{card.name}: the HPU runs torch models, and this one is {card.format}: take its "
                "torch twin"
            )
        traced = config.cache_dir / "traced_bf16.pt"
        if not traced.exists():
            traced.parent.mkdir(parents=True, exist_ok=True)
            export_lower(config.model, import_torch().bfloat16, traced)
        return CompileInfo(
            precision="bf16",
            segments=(Segment.whole(config.model),),
            artifact=traced,
            optimizations={"hpu_graph": "captured at the first batch of each size"},
            notes={"compilation": "lazy: see the first inference"},
        )


because = missing()
Compile = device_model(__package__, because) if because else BridgeCompile
