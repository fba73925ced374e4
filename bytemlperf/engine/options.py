"""The options of a backend: its defaults, over them a profile file, ``--set`` and a dialog."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytemlperf.backend import Question
from bytemlperf.errors import BytemlperfError, UsageError, did_you_mean

#: asks the user one question and returns the answer; there is one on a terminal only
Ask = Callable[[Question], Any]
Options = dict[str, Any]

_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Answers:
    """What the user said.

    Attributes:
        settings: ``--set``, as text; it wins over the profile.
        profile: a JSON object of option to value.
        ask: asks for what neither of them says, or None: then the default stands.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    profile: Path | None = None
    ask: Ask | None = None

    def complete(self, backend: str, questions: Sequence[Question]) -> Options:
        """Return a value for every question of a backend.

        Raises:
            UsageError: for an unknown option, a value that is not of its type or choices, or an
                option whose condition (``depends``) does not hold.
        """
        given = _read(self.profile) if self.profile else {}
        given |= {name: (f"--set {name}", text, True) for name, text in self.settings.items()}
        known = [question.name for question in questions]
        for name, (where, _, _) in given.items():
            if name not in known:
                raise UsageError(
                    f"{where}: {backend} has no such option{did_you_mean(name, known)}"
                    + (f" (it has {', '.join(known)})" if known else " (it has none)")
                )
        options: Options = {}
        applies: dict[str, bool] = {}
        for question in questions:
            name = question.name
            unmet = _unmet(backend, question, options, applies)
            applies[name] = unmet is None
            options[name] = question.default
            if name in given:
                where, value, is_text = given[name]
                if unmet is not None:
                    raise UsageError(
                        f"{where}: applies only where {unmet} is set, and it is "
                        f"{options[unmet]!r}: set it too"
                    )
                options[name] = _checked(where, question, value, is_text)
            elif unmet is None and self.ask is not None:
                options[name] = _checked(name, question, self.ask(question), False)
        return options


def _read(profile: Path) -> dict[str, tuple[str, Any, bool]]:
    try:
        data = json.loads(profile.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--profile {profile}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{profile}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{profile}: a profile is a JSON object of option to value")
    return {name: (f"{profile}: {name}", value, False) for name, value in data.items()}


def _unmet(
    backend: str, question: Question, options: Options, applies: Mapping[str, bool]
) -> str | None:
    """Return the first of the options that this one depends on which is not set, or None."""
    for name in question.depends:
        if name not in options:
            raise BytemlperfError(
                f"backend {backend}: option {question.name} depends on {name}, which is not among "
                "the questions before it"
            )
        if not (applies[name] and options[name]):
            return name
    return None


def _checked(where: str, question: Question, value: Any, is_text: bool) -> Any:
    kind = type(question.default)
    if is_text:
        value = _from_text(where, kind, value)
    elif kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}={value!r}: expected {kind.__name__}")
    if question.choices and value not in question.choices:
        choices = ", ".join(str(choice) for choice in question.choices)
        raise UsageError(f"{where}={value}: one of {choices}")
    return value


def _from_text(where: str, kind: type, text: str) -> Any:
    try:
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise UsageError(f"{where}={text}: expected {kind.__name__}") from error
