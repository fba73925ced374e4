"""TorchScript on the host, frozen ahead of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bytemlperf.backend import CompileConfig, Feeds, Outputs, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.errors import BytemlperfError
from bytemlperf.zoo import Card, synthetic_feeds
from bytemlperf.zoo.torch_build import (
    EagerModule,
    import_torch,
    named_outputs,
    tensors,
    torchscript_is_deprecated,
)

from .lower_torch import LOWER, lower_torch
from .runner import Runner


def _version() -> str:
    return f"torch {import_torch().__version__}"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    torch = import_torch()
    compiled = config.cache_dir / "frozen.pt"
    artifact = config.model.path
    if config.options["precision"] in LOWER:
        artifact = _lower(config, dataset)
    with torchscript_is_deprecated():
        module = torch.jit.load(str(artifact), map_location="cpu").eval()
        torch.jit.save(torch.jit.freeze(module), str(compiled))
    return compiled


def _lower(config: CompileConfig, dataset: Dataset | None) -> Path:
    """Write the source at a lower precision.

    Raises:
        BytemlperfError: where torch cannot, or where it leaves all of it as it is.
    """
    torch = import_torch()
    source, card = config.model.load_source(), config.model.card
    if not isinstance(source, EagerModule):
        raise BytemlperfError(
            f"{card.name}: --precision needs the source model, and --weights gave a finished one"
        )
    feeds = synthetic_feeds(card, [0], seed=0)
    exact = source(feeds)
    lower = lower_torch(source, config, dataset)
    found = _load(card, lower, torch.get_num_threads())(feeds)
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
    precisions=tuple(LOWER),
)
