"""Where model cards are found."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from bytemlperf.errors import UsageError, did_you_mean
from bytemlperf.zoo.card import Card


def list_cards() -> list[str]:
    """Return the names of all cards in ``model_zoo/``, sorted."""
    folder = resources.files("bytemlperf.model_zoo")
    return sorted(
        f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")
    )


def load_card(name_or_path: str) -> Card:
    """Read a card by its name, or from a path that ends in ``.json``.

    Raises:
        UsageError: for an unknown name, or a file that is not a card: file, field and reason.
    """
    if name_or_path.endswith(".json"):
        where, text = name_or_path, _read(Path(name_or_path))
    else:
        known = list_cards()
        if name_or_path not in known:
            raise UsageError(
                f"unknown model {name_or_path!r}{did_you_mean(name_or_path, known)} "
                "('bytemlperf models list' shows them)"
            )
        where = f"model_zoo/{name_or_path}.json"
        file = resources.files("bytemlperf.model_zoo") / f"{name_or_path}.json"
        text = file.read_text(encoding="utf-8")
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {field}: {first['msg']}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot read the model card: {error.strerror}") from error
