"""TensorFlow SavedModel on the host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bytemlperf.backend import CompileConfig, Feeds, Outputs, Predict
from bytemlperf.datasets import Dataset
from bytemlperf.extras import require_tensorflow
from bytemlperf.zoo import Card

from .runner import Runner


def _tensorflow() -> Any:
    return require_tensorflow("a SavedModel on the CPU")


def _version() -> str:
    return f"tensorflow {_tensorflow().__version__}"


def _compile(config: CompileConfig, dataset: Dataset | None) -> Path:
    """A SavedModel is optimised when its function is first traced: nothing is done ahead."""
    compiled = config.cache_dir / "saved_model"
    shutil.copytree(config.model.path, compiled)
    return compiled


def _load(card: Card, compiled: Path, threads: int) -> Predict:
    tf = _tensorflow()
    module = tf.saved_model.load(str(compiled))
    function = module.signatures["serving_default"]

    def predict(feeds: Feeds) -> Outputs:
        found = function(**{name: tf.constant(value) for name, value in feeds.items()})
        return {name: found[name].numpy() for name in card.outputs}

    # The function does not keep its module, and without it the variables are gone.
    predict.module = module  # type: ignore[attr-defined]
    return predict


# TensorFlow's pool belongs to the process and has a thread a core: all instances share it.
RUNNER = Runner(_version, _compile, _load, {}, shared_pool=True)
