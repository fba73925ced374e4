"""``bytemlperf models fetch``: a model's published checkpoint, into the cache."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
@click.option("--mirror", multiple=True, metavar="URL", help="Tried first. Repeatable.")
@click.option("--offline", is_flag=True, help="Only check what is there [BYTEMLPERF_OFFLINE=1].")
def fetch(name: str, mirror: tuple[str, ...], offline: bool) -> None:
    """Download the checkpoint that a card lists, and print where it lies: --weights takes that.

    Files are checked by their sha256; a download that was cut is taken up where it ended. NAME is
    a model, or a card of yours (a path to a .json file).
    """
    from bytemlperf.screen import Screen
    from bytemlperf.zoo import fetch_checkpoint, load_card
    from bytemlperf.zoo.fetch import offline_by_environment

    card = load_card(name)
    with Screen().step("fetch") as step:
        path = fetch_checkpoint(
            card, step.update, mirrors=mirror, offline=offline or offline_by_environment()
        )
        step.outcome = f"{len(card.files)} file(s), each with the card's sha256"
    click.echo(path)
