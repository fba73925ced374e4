"""TensorFlow SavedModel on the host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bytemlperf.backend import Feeds, Outputs, Predict
from bytemlperf.extras import require_tensorflow
from bytemlperf.zoo import Card

from .runner import Runner


def _tensorflow() -> Any:
    return require_tensorflow("a SavedModel on the CPU")


def _version() -> str:
    return f"tensorflow {_tensorflow().__version__}"


def _compile(card: Card, artifact: Path, folder: Path) -> Path:
    """A SavedModel is optimised when its function is first traced: nothing is done ahead."""
    compiled = folder / "saved_model"
    shutil.copytree(artifact, compiled)
    return compiled


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    tf = _tensorflow()
    _set_threads(tf, threads)
    module = tf.saved_model.load(str(compiled))
    function = module.signatures["serving_default"]

    def predict(feeds: Feeds) -> Outputs:
        found = function(**{name: tf.constant(value) for name, value in feeds.items()})
        return {name: found[name].numpy() for name in card.outputs}

    # The function does not keep its module, and without it the variables are gone.
    predict.module = module  # type: ignore[attr-defined]
    return predict


def _set_threads(tf: Any, threads: int) -> None:
    """TensorFlow's pools belong to the process and are fixed at first use."""
    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise RuntimeError(
            f"TensorFlow was used before with another number of threads than {threads}; "
            "run this task in a process of its own"
        ) from error


RUNNER = Runner(_version, _compile, _load, {})
