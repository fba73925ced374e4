"""A checkpoint of the user's: loaded whole or refused. Nothing stays random, no pickle runs code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytemlperf.errors import BytemlperfError
from bytemlperf.extras import require
from bytemlperf.zoo.card import Card
from bytemlperf.zoo.torch_build import import_torch, seeded

if TYPE_CHECKING:
    import torch

#: folder -> (module, what its library says of the loading)
Pretrained = Callable[[Path], tuple[Any, Mapping[str, Any]]]

# Kept by batch normalisation for training only; older checkpoints lack it.
_OPTIONAL = "num_batches_tracked"


@dataclass(frozen=True)
class Origin:
    """What a builder tells of its weights: arguments of :func:`torch_build.from_torch`."""

    kind: str
    source: str
    tokenizer: Path | None = None


def seed_or_load(
    card: Card,
    seed: int,
    weights: Path | None,
    create: Callable[[], torch.nn.Module],
    pretrained: Pretrained | None = None,
) -> tuple[Any, Origin]:
    """Return the network with seeded weights, or with the user's.

    Args:
        weights: None; or a folder of the network's library (``config.json``); or a state in
            ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` files with the network's own names.
        create: makes the network with its own initialisation.
        pretrained: loads a folder of the library, where the network is of one.

    Raises:
        BytemlperfError: naming the file, what is wrong with it and what to do.
    """
    if weights is None:
        with seeded(seed):
            return create(), Origin("seeded", f"seed {seed}")
    if pretrained is not None and (weights / "config.json").exists():
        module = _from_library(card, weights, pretrained)
    else:
        module = create()
        load_state(card, module, read_state(card, weights), weights)
    tokenizer = weights / "tokenizer.json"
    return module, Origin("checkpoint", str(weights), tokenizer if tokenizer.exists() else None)


def import_transformers() -> Any:
    """Return transformers without its notes on training, or say which extra installs it."""
    transformers = require("transformers", extra="zoo", purpose="a model of transformers")
    transformers.logging.set_verbosity_error()
    return transformers


def seed_or_load_transformers(
    card: Card, config: Mapping[str, Any], seed: int, weights: Path | None, class_name: str
) -> tuple[Any, Origin]:
    """Return :func:`seed_or_load` of an ``Auto...`` class of transformers."""
    return seed_or_load(
        card,
        seed,
        weights,
        lambda: transformers_network(class_name, config),
        transformers_folder(card, class_name),
    )


def transformers_network(class_name: str, config: Mapping[str, Any]) -> Any:
    """Return the network of an ``Auto...`` class of transformers; ``config`` is the library's."""
    transformers = import_transformers()
    kind = getattr(transformers, class_name)
    return kind.from_config(transformers.AutoConfig.for_model(**config))


def transformers_folder(card: Card, class_name: str) -> Pretrained:
    """Return the loader of a folder that transformers wrote; it has to be of the card's type."""

    def load(folder: Path) -> tuple[Any, Mapping[str, Any]]:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if found != card.config["model_type"]:
            raise ValueError(
                f"config.json says model_type {found!r}, not {card.config['model_type']!r}"
            )
        loaded: tuple[Any, Mapping[str, Any]] = getattr(
            import_transformers(), class_name
        ).from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            dtype=import_torch().float32,
        )
        return loaded

    return load


def _from_library(card: Card, folder: Path, pretrained: Pretrained) -> Any:
    try:
        module, info = pretrained(folder)
    except pickle.UnpicklingError as error:
        raise _unsafe(card, folder) from error
    except Exception as error:  # safetensors has a class of its own, the libraries raise several
        raise BytemlperfError(f"{card.name}: --weights {folder}: {error}") from error
    _refuse_missing(card, folder, sorted(info["missing_keys"]))
    return module


def read_state(card: Card, path: Path) -> dict[str, torch.Tensor]:
    """Read name -> tensor from a file, or from all files of a folder (shards of one state).

    Raises:
        BytemlperfError: where there is none, or one holds anything but tensors.
    """
    files = [path] if path.is_file() else _state_files(path)
    if not files:
        raise BytemlperfError(
            f"{card.name}: --weights {path}: holds no .safetensors, .pt, .pth or .bin file"
        )
    state: dict[str, torch.Tensor] = {}
    for file in files:
        state.update(_read_file(card, file))
    return state


def _state_files(folder: Path) -> list[Path]:
    """The folder's safetensors; where there are none, its pickled states."""
    for patterns in (("*.safetensors",), ("*.pt", "*.pth", "*.bin")):
        if files := sorted(file for pattern in patterns for file in folder.glob(pattern)):
            return files
    return []


def _read_file(card: Card, file: Path) -> dict[str, torch.Tensor]:
    torch = import_torch()
    try:
        if file.suffix == ".safetensors":
            found = require("safetensors.torch", extra="torch", purpose=str(file)).load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(card, file) from error
    except Exception as error:
        raise BytemlperfError(
            f"{card.name}: --weights {file}: cannot be read as a checkpoint: {error!r}"
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(torch.is_tensor(v) for v in found.values()):
        raise BytemlperfError(
            f"{card.name}: --weights {file}: expected a state (name -> tensor), as "
            "torch.save(model.state_dict(), ...) writes it"
        )
    return found


def _unsafe(card: Card, path: Path) -> BytemlperfError:
    return BytemlperfError(
        f"{card.name}: --weights {path}: a pickle that holds more than tensors can run any code "
        "and is not loaded. Where you trust it, write its tensors alone: "
        "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
    )


def load_state(
    card: Card, module: torch.nn.Module, state: Mapping[str, torch.Tensor], where: Path
) -> None:
    """Copy a state into the module: every name of the module has to be there, in its shape."""
    own = module.state_dict()
    given = {own[name].data_ptr() for name in state if name in own}
    _refuse_missing(
        card,
        where,
        [
            name
            for name, tensor in own.items()
            if name not in state
            and not name.endswith(_OPTIONAL)
            and tensor.data_ptr() not in given  # tied to one that is there
        ],
    )
    for name, tensor in own.items():
        if name in state and state[name].shape != tensor.shape:
            raise BytemlperfError(
                f"{card.name}: --weights {where}: {name} has the shape {tuple(state[name].shape)}, "
                f"the model's is {tuple(tensor.shape)}"
            )
    module.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)


def _refuse_missing(card: Card, where: Path, missing: list[str]) -> None:
    if missing:
        raise BytemlperfError(
            f"{card.name}: --weights {where}: the checkpoint lacks {', '.join(missing[:4])}"
            f"{f' and {len(missing) - 4} more' if len(missing) > 4 else ''}; what is missing would "
            "stay random and make every accuracy a lie: give a checkpoint of this very model"
        )
