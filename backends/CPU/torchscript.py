"""TorchScript on the host, frozen ahead of time."""

from __future__ import annotations

from pathlib import Path

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.zoo import Card
from bytemlperf.zoo.torch_build import (
    import_torch,
    named_outputs,
    tensors,
    torchscript_is_deprecated,
)

from .runner import Runner


def _version() -> str:
    return f"torch {import_torch().__version__}"


def _compile(card: Card, artifact: Path, folder: Path) -> Path:
    torch = import_torch()
    compiled = folder / "frozen.pt"
    with torchscript_is_deprecated():
        module = torch.jit.load(str(artifact), map_location="cpu").eval()
        torch.jit.save(torch.jit.freeze(module), str(compiled))
    return compiled


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    torch = import_torch()
    torch.set_num_threads(threads)
    with torchscript_is_deprecated():
        module = torch.jit.load(str(compiled), map_location="cpu")

    def predict(feeds: Feeds) -> Outputs:
        with torch.inference_mode():
            return named_outputs(module(*tensors(feeds, card)), card)

    return predict


RUNNER = Runner(_version, _compile, _load, {"freeze": "weights and constants folded"})
