"""Whether an exported artifact computes what its source does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require, require_tensorflow
from bytemlperf.numeric import compare
from bytemlperf.zoo.card import Card, Format
from bytemlperf.zoo.recipe import load_recipe
from bytemlperf.zoo.stablehlo import Modules
from bytemlperf.zoo.synthetic import synthetic_feeds
from bytemlperf.zoo.torch_build import (
    import_torch,
    named_outputs,
    tensors,
    torchscript_is_deprecated,
)
from bytemlperf.zoo.xla import Executable

_BATCH_SIZES = (1, 3)  # neither is the batch size that a trace was made with


def verify_export(card: Card, path: Path, source: Predict) -> float | None:
    """Return the largest absolute difference export vs source over two batch sizes.

    None for a model that is built in memory: nothing was exported.

    Raises:
        BytemlperfError: where it is above the card's tolerance.
    """
    if card.format == "eager":
        return None
    predict = load_artifact(card, path)
    worst = 0.0
    for batch in _batch_sizes(card, path):
        feeds = synthetic_feeds(card, range(batch), seed=1)
        try:
            expected, found = source(feeds), predict(feeds)
        except Exception as error:
            raise BytemlperfError(
                f"{card.name}: the exported model fails at batch {batch}: {error}"
            ) from error
        report = compare({0: expected}, {0: found})
        if not report.within(card.tolerance):
            raise BytemlperfError(
                f"{card.name}: the export differs from its source by "
                f"{report.overall.max_diff:.3g} at batch {batch} (tolerance {card.tolerance:g}); "
                "the export of this model is broken with the installed versions"
            )
        worst = max(worst, report.overall.max_diff)
    return worst


def _batch_sizes(card: Card, path: Path) -> tuple[int, ...]:
    """Static modules may be there for smaller batches only: those of the user."""
    if card.format != "stablehlo":
        return _BATCH_SIZES
    largest = max(Modules.read(path).files)
    return tuple(min(batch, largest) for batch in _BATCH_SIZES)


def load_artifact(card: Card, path: Path) -> Predict:
    """Load an artifact with its own framework's plain loader."""
    loaders: dict[Format, Callable[[Card, Path], Predict]] = {
        "torchscript": _torchscript,
        "onnx": _onnx,
        "saved_model": _saved_model,
        "stablehlo": Executable,
        "eager": load_recipe,
    }
    return loaders[card.format](card, path)


def _torchscript(card: Card, path: Path) -> Predict:
    torch = import_torch()
    with torchscript_is_deprecated():
        module = torch.jit.load(str(path), map_location="cpu")

    def predict(feeds: Feeds) -> Outputs:
        with torch.inference_mode():
            return named_outputs(module(*tensors(feeds, card)), card)

    return predict


def _onnx(card: Card, path: Path) -> Predict:
    ort = require("onnxruntime", extra="onnx", purpose="an ONNX model")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(card.outputs)
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _saved_model(card: Card, path: Path) -> Predict:
    tf = require_tensorflow("a TensorFlow model")
    function = tf.saved_model.load(str(path)).signatures["serving_default"]

    def predict(feeds: Feeds) -> Outputs:
        found = function(**{name: tf.constant(value) for name, value in feeds.items()})
        return {name: found[name].numpy() for name in card.outputs}

    return predict
