"""TorchScript on the host, frozen ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bytemlperf.backend import CompileConfig, Feeds, Outputs, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo import Card, synthetic_feeds
from bytemlperf.zoo.torch_build import (
    EagerModule,
    export_torchscript,
    import_torch,
    named_outputs,
    tensors,
    torchscript_is_deprecated,
)

from .runner import Runner

if TYPE_CHECKING:
    import torch

# int8 is not here: torch's own quantisation is deprecated for a package of its own.
_LOWER = {"bf16": "bfloat16", "fp16": "float16"}


def _version() -> str:
    return f"torch {import_torch().__version__}"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    torch = import_torch()
    compiled = config.cache_dir / "frozen.pt"
    artifact, precision = config.model.path, config.options["precision"]
    if precision in _LOWER:
        artifact = _traced_lower(config, getattr(torch, _LOWER[precision]))
    with torchscript_is_deprecated():
        module = torch.jit.load(str(artifact), map_location="cpu").eval()
        torch.jit.save(torch.jit.freeze(module), str(compiled))
    return compiled


def _traced_lower(config: CompileConfig, dtype: torch.dtype) -> Path:
    """Trace the source under autocast: its casts become part of the graph, weights are folded.

    Raises:
        BytemlperfError: where torch cannot, or where autocast leaves all of it as it is.
    """
    torch = import_torch()
    source, card = config.model.load_source(), config.model.card
    if not isinstance(source, EagerModule):
        raise BytemlperfError(
            f"{card.name}: --precision needs the source model, and --weights gave a finished one"
        )
    lower = config.cache_dir / "lower.pt"
    # Without its cache: a trace has to see every cast.
    try:
        with torch.autocast("cpu", dtype, cache_enabled=False):
            export_torchscript(source.module, card, lower)
    except RuntimeError as error:  # a mask's constant that fp16 cannot hold, for one
        raise BytemlperfError(
            f"{card.name}: torch cannot run this network at {config.options['precision']}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    feeds = synthetic_feeds(card, [0], seed=0)
    exact, found = source(feeds), _load(card, lower, torch.get_num_threads())(feeds)
    if all(np.array_equal(exact[name], found[name]) for name in card.outputs):
        raise BytemlperfError(
            f"{card.name}: torch has none of its layers in {config.options['precision']} on the "
            "host: it would compute in fp32 all the same"
        )
    return lower


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    torch = import_torch()
    torch.set_num_threads(threads)
    with torchscript_is_deprecated():
        module = torch.jit.load(str(compiled), map_location="cpu")

    def predict(feeds: Feeds) -> Outputs:
        with torch.inference_mode():
            return named_outputs(module(*tensors(feeds, card)), card)

    return predict


RUNNER = Runner(
    _version,
    _compile,
    _load,
    {"freeze": "weights and constants folded"},
    precisions=tuple(_LOWER),
)
