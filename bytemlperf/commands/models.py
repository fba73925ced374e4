"""``bytemlperf models``: what the zoo offers, and what of it lies in the cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import click

from bytemlperf.commands.fetch import fetch
from bytemlperf.commands.verify import verify


@click.group()
def models() -> None:
    """List, fetch, build, verify and remove models."""


models.add_command(fetch)
models.add_command(verify)


@models.command("list")
def list_models() -> None:
    """Show every model card."""
    from bytemlperf.commands.tables import print_table
    from bytemlperf.zoo import list_cards, load_card

    cards = [load_card(name) for name in list_cards()]
    print_table(
        ("model", "domain", "purpose", "framework", "data set", "precision", "parameters"),
        [
            (
                card.name,
                card.domain,
                card.purpose,
                card.framework,
                card.dataset or "none",
                card.precision,
                f"{card.parameters:,}",
            )
            for card in cards
        ],
        numbers=("parameters",),
    )


@models.command()
@click.argument("name")
@click.option("--preset", type=click.Choice(["full", "tiny"]), default="full", show_default=True)
@click.option("--weights", type=click.Path(path_type=Path), help="Folder of a real checkpoint.")
@click.option("--seed", type=int, default=0, show_default=True)
def build(name: str, preset: Literal["full", "tiny"], weights: Path | None, seed: int) -> None:
    """Build, export and verify a model into the cache."""
    from bytemlperf.screen import Screen
    from bytemlperf.zoo import open_model

    with Screen().step("model") as step:
        model = open_model(name, preset=preset, weights=weights, seed=seed, progress=step.update)
        step.outcome = f"{model.parameters:,} parameters, {'cached' if model.cached else 'built'}"
    click.echo(model.path)


@models.command()
def clean() -> None:
    """Remove built models, compiled artifacts, stored references and prepared data sets.

    Fetched files stay.
    """
    from bytemlperf.zoo import cache_root
    from bytemlperf.zoo.cache import size_of

    freed = 0
    for part in ("models", "compiled", "references", "datasets"):
        folder = cache_root() / part
        if folder.is_dir():
            freed += size_of(folder)
            shutil.rmtree(folder)
    click.echo(f"{freed / 1e6:.0f} MB removed from {cache_root()}")
