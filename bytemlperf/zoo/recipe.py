"""The artifact of a model that is too large to be written: what is needed to build it in memory."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bytemlperf.backend import Predict
from bytemlperf.zoo.built import Built
from bytemlperf.zoo.card import Card


def write_recipe(
    path: Path,
    config: Mapping[str, Any],
    seed: int,
    weights: Path | None,
    layers: Mapping[str, int],
) -> None:
    """Write the arguments of a builder, and how many layers of each kind it makes."""
    recipe = {
        "config": dict(config),
        "seed": seed,
        "weights": str(weights.resolve()) if weights else None,
        "layers": dict(layers),
    }
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")


def load_recipe(card: Card, path: Path) -> Predict:
    """Build the model that a recipe describes; nothing large happens before it is called."""
    recipe = json.loads(path.read_text(encoding="utf-8"))
    builder = importlib.import_module(f"bytemlperf.model_zoo.{card.builder}")
    weights = Path(recipe["weights"]) if recipe["weights"] else None
    built: Built = builder.build(card, recipe["config"], recipe["seed"], weights)
    return built.source


def layer_kinds(path: Path) -> list[str]:
    """Return the kind of every layer."""
    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    return [kind for kind, count in layers.items() for _ in range(count)]
