"""Tables on stdout: as wide as the terminal there, and whole where they are piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PIPED_WIDTH = 400


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> None:
    """Print rows of text under their headings; the columns of ``numbers`` are right-aligned."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    table_console().print(table)


def table_console() -> Console:
    """Return stdout's console, whose tables are not cut where no terminal limits their width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_WIDTH)
