"""Flags that several commands share, and the request that they make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bytemlperf.errors import UsageError

if TYPE_CHECKING:
    from bytemlperf.backend import Question
    from bytemlperf.engine import Request
    from bytemlperf.engine.options import Answers

FOLDER = click.Path(path_type=Path, file_okay=False)


def flag(name: str, variable: str | None = None, **settings: Any) -> Callable[[Any], Any]:
    """An option in both spellings: ``--hardware_type`` and ``--hardware-type``."""
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    return click.option(*spellings, variable or name, **settings)


_MODEL_FLAGS = (
    flag("workload_dir", type=FOLDER, help="Folder with tasks of your own."),
    flag("backend_dir", type=FOLDER, help="Folder with backends of your own."),
    flag("weights", type=click.Path(path_type=Path), help="Folder of a real checkpoint."),
)
_OPTION_FLAGS = (
    flag("set", multiple=True, metavar="KEY=VALUE", help="Option of the backend. Repeatable."),
    flag("precision", metavar="NAME", help="Short for --set precision=NAME, e.g. bf16."),
    flag("profile", type=click.Path(path_type=Path), help="JSON file of such options."),
    flag("interactive", is_flag=True, help="Ask for the options that neither of them says."),
)


def model_flags(command: Any) -> Any:
    """Where tasks, backends and weights come from."""
    return _apply(_MODEL_FLAGS, command)


def option_flags(command: Any) -> Any:
    """What a backend's questions are answered with."""
    return _apply(_OPTION_FLAGS, command)


def preset_flag(default: str) -> Callable[[Any], Any]:
    return flag(
        "preset",
        type=click.Choice(["full", "tiny"]),
        default=default,
        show_default=True,
        help="Size of the model.",
    )


def _apply(flags: Sequence[Callable[[Any], Any]], command: Any) -> Any:
    for add in reversed(flags):
        command = add(command)
    return command


def request(task: str, hardware_type: str, flags: Mapping[str, Any]) -> Request:
    """Return what :func:`model_flags`, :func:`option_flags` and ``--preset`` ask for.

    Raises:
        UsageError: for an unknown task or backend, or a wrong option.
    """
    from bytemlperf.engine import Request
    from bytemlperf.registry import find_backend
    from bytemlperf.workload import Workload

    return Request(
        workload=Workload.load(task, flags["workload_dir"]),
        backend=find_backend(hardware_type, flags["backend_dir"]),
        weights=flags["weights"],
        preset=flags["preset"],
        answers=_answers(_settings(flags), flags["profile"], flags["interactive"]),
        command=tuple(sys.argv[1:]),
    )


def _settings(flags: Mapping[str, Any]) -> list[str]:
    short = [f"precision={flags['precision']}"] if flags["precision"] else []
    return [*flags["set"], *short]


def _answers(settings: Sequence[str], profile: Path | None, interactive: bool) -> Answers:
    from bytemlperf.engine.options import Answers

    if interactive and not sys.stdin.isatty():
        raise UsageError("--interactive needs a terminal: use --set KEY=VALUE or --profile FILE")
    pairs = dict(_pair(text) for text in settings)
    return Answers(pairs, profile, _ask if interactive else None)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text!r}: expected KEY=VALUE")
    return key, value


def _ask(question: Question) -> Any:
    choices = click.Choice(question.choices) if question.choices else type(question.default)
    text = f"{question.name}: {question.note}"
    return click.prompt(text, default=question.default, type=choices, err=True)
