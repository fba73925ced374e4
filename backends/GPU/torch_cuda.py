"""TorchScript on the GPU: frozen, on two streams, from and into pinned memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.backend import CompileConfig, CompileInfo, Feeds, Outputs, Segment
from bytemlperf.errors import BackendError
from bytemlperf.zoo import Card
from bytemlperf.zoo.torch_build import import_torch, tensors, torchscript_is_deprecated
from bytemlperf.zoo.torchscript import export_lower, load_on_device

from .sdk import torch_has_gpu

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_STREAMS = 2


def compile_model(config: CompileConfig) -> CompileInfo:
    """Freeze the module at its precision."""
    if not torch_has_gpu():
        raise BackendError("GPU: torch finds no CUDA device: install a CUDA build of torch")
    torch = import_torch()
    precision = str(config.options["precision"])
    frozen = config.cache_dir / f"frozen_{precision}.pt"
    if not frozen.exists():
        frozen.parent.mkdir(parents=True, exist_ok=True)
        source = config.model.path
        if (kind := _half(torch, precision)) is not None:
            source = config.cache_dir / f"traced_{precision}.pt"
            export_lower(config.model, kind, source)
        with torchscript_is_deprecated():
            module = torch.jit.load(str(source), map_location="cpu").eval()
            torch.jit.save(torch.jit.freeze(module), str(frozen))
    return CompileInfo(
        precision=precision,
        segments=(Segment.whole(config.model),),
        artifact=frozen,
        optimizations={"freeze": "weights and constants folded", "precision": precision},
        notes={
            "runtime": f"torch {torch.__version__}, CUDA {torch.version.cuda}",
            "device": torch.cuda.get_device_name(),
        },
    )


def load(compiled: CompileInfo, card: Card) -> TorchModel:
    return TorchModel(Path(compiled.artifact), compiled.precision, card)


class TorchModel:
    """A frozen module on the device."""

    def __init__(self, frozen: Path, precision: str, card: Card) -> None:
        torch = import_torch()
        self._torch, self._card = torch, card
        self._half = _half(torch, precision)
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self._module = load_on_device(frozen, "cuda")
        self._streams = itertools.cycle([torch.cuda.Stream() for _ in range(_STREAMS)])

    def launch(self, feeds: Feeds) -> Callable[[], Outputs]:
        """Put copies and computation on a stream; returns what waits for the outputs."""
        torch, stream = self._torch, next(self._streams)
        with torch.inference_mode(), torch.cuda.stream(stream):
            pinned = [x.pin_memory() for x in tensors(feeds, self._card)]
            given = [x.to("cuda", non_blocking=True) for x in pinned]
            if self._half is not None:
                given = [x.to(self._half) if x.is_floating_point() else x for x in given]
            found = self._module(*given)
            if isinstance(found, dict):
                found = [found[name] for name in self._card.outputs]
            values = found if isinstance(found, (tuple, list)) else [found]
            if self._half is not None:
                values = [v.to(torch.float32) if v.is_floating_point() else v for v in values]
            # Without blocking the host, a copy lands in pinned memory.
            host = [v.to("cpu", non_blocking=True) for v in values]
            done = torch.cuda.Event()
            done.record(stream)

        def wait() -> Outputs:
            done.synchronize()
            # The device read the pinned inputs until now.
            del pinned[:]
            return {
                name: np.ascontiguousarray(value.numpy())
                for name, value in zip(self._card.outputs, host, strict=True)
            }

        return wait


def _half(torch: Any, precision: str) -> Any:
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
