"""``bytemlperf new-backend``: a backend that works, for a vendor to change into theirs."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path

import click

from bytemlperf.commands.flags import FOLDER, flag
from bytemlperf.errors import UsageError

_MADE = ("__pycache__",)


@click.command("new-backend")
@click.argument("name", metavar="NAME")
@flag("native", is_flag=True, help="A shared library in C instead of Python.")
@flag("dir", "folder", type=FOLDER, default=Path(), help="Where the folder NAME is made.")
def new_backend(name: str, native: bool, folder: Path) -> None:
    """Write a working backend with its tests into a folder of its name."""
    target = folder / name
    _check(name, target)
    kind = "native" if native else "python"
    unfinished = target.with_name(f".{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with resources.as_file(resources.files("bytemlperf.skeletons")) as skeletons:
        for file in (*(skeletons / "shared").iterdir(), *(skeletons / kind).iterdir()):
            if file.name not in _MADE:
                copy = unfinished / _renamed(file.name, name)
                copy.write_text(_renamed(file.read_text(encoding="utf-8"), name), encoding="utf-8")
    unfinished.rename(target)
    click.echo(f"written: {target}/ (README.md says what to change). Next:")
    if native:
        build = str(target / "build")
        configure = ("cmake", "-S", str(target), "-B", build, f"-DPYTHON={sys.executable}")
        click.echo(f"  {shlex.join(configure)} && {shlex.join(('cmake', '--build', build))}")
    click.echo(f"  bytemlperf check-backend {name} --backend_dir {folder}")


def _check(name: str, target: Path) -> None:
    from bytemlperf.registry import list_backends

    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(f"{name!r}: a name is letters, digits and _, and begins with a letter")
    if name.casefold() in {backend.name.casefold() for backend in list_backends()}:
        raise UsageError(f"there is a backend {name} already: choose another name")
    if target.exists():
        raise UsageError(f"{target} exists already, and nothing is overwritten")


def _renamed(text: str, name: str) -> str:
    return text.replace("ACME", name).replace("acme", name.lower())
