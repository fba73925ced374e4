"""``bytemlperf datasets``: what goes where under --data_dir, and whether it is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bytemlperf.commands.flags import FOLDER, flag

if TYPE_CHECKING:
    from bytemlperf.zoo import Card

Report = Callable[[str, float | None], None]

_CHUNK = 256

_DATA_DIR = flag("data_dir", type=FOLDER, help="Folder with data sets.")


@click.group()
def datasets() -> None:
    """List data sets, and check their files."""


@datasets.command("list")
@_DATA_DIR
def list_datasets(data_dir: Path | None) -> None:
    """Show each data set, its files and the models that use it."""
    from bytemlperf.commands.tables import print_table
    from bytemlperf.datasets import SOURCES
    from bytemlperf.zoo import list_cards, load_card

    cards = [load_card(name) for name in list_cards()]
    rows = []
    for source in SOURCES.values():
        missing = source.missing(data_dir)
        there = "" if data_dir is None else "no" if missing else "yes"
        models = ", ".join(card.name for card in cards if card.dataset == source.name)
        first, *others = (" or ".join(paths) for paths in source.files)
        rows.append((source.name, source.title, first, there, models))
        rows += [("", "", other, "", "") for other in others]
    embedded = ", ".join(card.name for card in cards if card.dataset == "digits")
    rows.append(("digits", "Digits 8x8", "none: it comes with scikit-learn", "", embedded))
    print_table(("data set", "title", "files under --data_dir", "there", "models"), rows)


@datasets.command()
@click.argument("names", nargs=-1)
@_DATA_DIR
@flag("sample_data", is_flag=True, help="Read the small samples of our own instead.")
def verify(names: tuple[str, ...], data_dir: Path | None, sample_data: bool) -> None:
    """Read every sample of the named data sets (default: those that are there)."""
    from bytemlperf.datasets import SOURCES
    from bytemlperf.errors import UsageError, did_you_mean
    from bytemlperf.screen import Screen

    if data_dir is None and not sample_data:
        raise UsageError("--data_dir is missing: the folder that the data sets lie in")
    for name in names:
        if name not in SOURCES:
            raise UsageError(f"unknown data set {name!r}{did_you_mean(name, SOURCES)}")
    there = [n for n, s in SOURCES.items() if sample_data or not s.missing(data_dir)]
    chosen = names or tuple(there)
    if not chosen:
        raise UsageError(f"{data_dir}: no data set is there (bytemlperf datasets list says where)")
    screen, problems = Screen(), []
    for name in chosen:
        try:
            with screen.step(name) as step:
                step.outcome = "not whole"
                step.outcome = _read(name, data_dir, sample_data, step.update)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))


def _read(name: str, data_dir: Path | None, sample_data: bool, update: Report) -> str:
    """Read a data set as the first model that uses it would; return what was read."""
    from bytemlperf.datasets import open_dataset
    from bytemlperf.zoo import list_cards, load_card

    card = next(c for c in map(load_card, list_cards()) if c.dataset == name)
    data = open_dataset(
        _Unbuilt(card),
        data_dir=data_dir,
        sample_data=sample_data,
        report=lambda share: update("preprocessing", share),
    )
    total = len(data)
    for start in range(0, total, _CHUNK):
        update(f"{start:,} of {total:,} samples", start / total)
        data.feeds(range(start, min(start + _CHUNK, total)))
    return f"{data.name}: {total:,} samples read for {card.name}"


@dataclass(frozen=True)
class _Unbuilt:
    """A model that is not built: text is split byte by byte."""

    card: Card
    tokenizer: Path | None = None
