"""Loads as text: what ``--load`` reads, and how a load is spelt in a report.

::

    load    = part { "then" part }
    part    = ( pattern | group ) [ ":" extent ]
    group   = "(" part { "+" part } ")" { "," figure }   a sum
            | "(" load ")" { "," figure }
    pattern = NAME [ ":" figure { "," figure } ]
    figure  = VALUE | NAME "=" VALUE
    extent  = SECONDS | NUMBER OF QUERIES

A value that holds a blank or one of ``( ) : , = + "`` stands in double quotes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bytemlperf.errors import UsageError, did_you_mean
from bytemlperf.load.kinds import COMPOSED, COUNTS, EXTENTS, KINDS, RATES, WORDS, Kind

_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
# A sign within a word is that of a number's exponent: 1e+3/s.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[():,=+]|(?:[eE]\+(?=\d)|[^\s():,=+"])+|\S')


@dataclass
class Node:
    """Fields of a part as they were read, and the columns (from 0) that they stand in."""

    at: int
    fields: dict[str, Any] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    parts: list[Node] = field(default_factory=list)
    grouped: bool = False  # in parentheses

    def set(self, name: str, value: Any, at: int) -> None:
        """Note a field that was read at column ``at``."""
        self.fields[name] = value
        self.places[name] = at

    def data(self) -> dict[str, Any]:
        """Return what the load's model validates."""
        more = {"parts": [part.data() for part in self.parts]} if self.parts else {}
        return self.fields | more

    def column(self, path: tuple[str | int, ...]) -> int:
        """Return the column of the field that a validation error names, or of what holds it."""
        if len(path) >= 2 and path[0] == "parts" and isinstance(path[1], int):
            return self.parts[path[1]].column(path[2:])
        return self.places.get(str(path[0]), self.at) if path else self.at


def wrong(text: str, at: int, reason: str) -> UsageError:
    """Return the error for column ``at`` (from 0), with a mark below it."""
    return UsageError(f"--load {text!r}, column {at + 1}: {reason}\n  {text}\n  {' ' * at}^")


class Parser:
    """Reads one text. Its methods are the rules of the grammar; each raises UsageError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [(m.group(), m.start()) for m in _TOKEN.finditer(text)]
        self._next = 0

    def whole(self) -> Node:
        """Read the text to its end."""
        found = self._load()
        if self._peek() == "+":
            self._fail("a sum stands in parentheses, its length behind them: (a + b):30s")
        if self._peek():
            self._fail(f"expected 'then' or the end, not {self._peek()!r}")
        return found

    def _peek(self, ahead: int = 0) -> str:
        at = self._next + ahead
        return self._tokens[at][0] if at < len(self._tokens) else ""

    def _at(self) -> int:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else len(self._text)

    def _take(self, token: str) -> bool:
        found = self._peek() == token
        self._next += found
        return found

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise wrong(self._text, self._at() if at is None else at, reason)

    def _load(self) -> Node:
        parts = [self._part()]
        while self._take("then"):
            parts.append(self._part())
        return self._composed("sequence", parts)

    def _composed(self, pattern: str, parts: list[Node]) -> Node:
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            if "batch_size" in part.places:
                self._fail(
                    "batch_size is one for the whole load: (...),batch_size=8:30s",
                    part.places["batch_size"],
                )
        return Node(parts[0].at, {"pattern": pattern}, parts=parts)

    def _part(self) -> Node:
        node = self._group() if self._peek() == "(" else self._pattern()
        if self._take(":"):
            self._extent(node)
        return node

    def _group(self) -> Node:
        opened = self._at()
        self._take("(")
        inner = self._load()
        if self._peek() == "+":
            if inner.fields["pattern"] == "sequence" and not inner.grouped:
                self._fail("a sequence within a sum stands in parentheses: ((a then b) + c):30s")
            terms = [inner]
            while self._take("+"):
                terms.append(self._part())
            inner = self._composed("sum", terms)
        if not self._take(")"):
            self._fail("expected '+', 'then' or ')'")
        inner.at, inner.grouped = opened, True
        while self._take(","):
            self._figure(inner, {name: name for name in COUNTS}, None)
        return inner

    def _pattern(self) -> Node:
        name, at = self._peek(), self._at()
        if name not in KINDS or name in COMPOSED:
            named = [known for known in KINDS if known not in COMPOSED]
            name = "" if name == ":" else name
            known = f"known: {', '.join(named)}"
            self._fail(f"unknown pattern {name!r}{did_you_mean(name, named)} ({known})")
        self._next += 1
        node, kind = Node(at, {"pattern": name}), KINDS[name]
        if (kind.fields or self._peek(2) == "=") and self._take(":"):
            names = {n.removesuffix("_s"): n for n in (*kind.fields, *COUNTS)}
            self._figure(node, names, kind.fields[0] if kind.fields else None)
            while self._take(","):
                self._figure(node, names, "steps" if "steps" in kind.fields else None)
        return node

    def _figure(self, node: Node, known: dict[str, str], unnamed: str | None) -> None:
        """Read one figure; ``unnamed``: what it is where it stands without a name."""
        at, word = self._at(), self._value()
        if self._take("="):
            name = known.get(word.removesuffix("_s"))
            if name is None:
                self._fail(f"unknown figure {word!r}{did_you_mean(word, known)}", at)
            at, word = self._at(), self._value()
        elif unnamed is None:
            self._fail(f"unknown figure {word!r}{did_you_mean(word, known)}", at)
        else:
            name = unnamed
        try:
            value = _value(name, word)
        except ValueError as error:
            self._fail(str(error), at)
        if name == "steps":
            value = (*node.fields.get("steps", ()), value)
        elif name in node.fields:
            self._fail(f"{name!r} stands twice", at)
        node.set(name, value, at)

    def _value(self) -> str:
        word = self._peek()
        if not word or word in "():,=+":
            self._fail("expected a value (one with blanks or any of ( ) : , = + stands in quotes)")
        if word == '"':
            self._fail("a quote is not closed")
        self._next += 1
        try:
            return str(json.loads(word)) if word.startswith('"') else word
        except ValueError:
            self._next -= 1
            self._fail("not a value in quotes as JSON has them")

    def _extent(self, node: Node) -> None:
        at, word = self._at(), self._value()
        if given := [name for name in EXTENTS if name in node.fields]:
            self._fail("how long it lasts stands twice", node.places[given[0]])
        if re.fullmatch(r"\d+", word):
            node.set("queries", int(word), at)
            return
        try:
            node.set("duration_s", _seconds(word), at)
        except ValueError as error:
            self._fail(str(error), at)


def _value(name: str, text: str) -> Any:
    """Read a figure; a ValueError says what was expected."""
    if name in WORDS:
        return text
    if name == "steps":
        rate, _, seconds = text.partition("*")
        return _rate(rate), _seconds(seconds)
    if name in RATES:
        return _rate(text)
    if name.endswith("_s"):
        return _seconds(text)
    try:
        return int(text) if name in COUNTS else float(text)
    except ValueError:
        raise ValueError(f"expected a number, not {text!r}") from None


def _rate(text: str) -> float:
    number = text.removesuffix("/s")
    try:
        if number != text:
            return float(number)
    except ValueError:
        pass
    raise ValueError(f"expected a rate such as 100/s, not {text!r}")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(.+?)(ms|s|min|h)", text)
    try:
        if match is not None:
            return float(match[1]) * _SECONDS[match[2]]
    except ValueError:
        pass
    raise ValueError(f"expected a time such as 30s, or a number of queries, not {text!r}")


def spell(part: Any, *, batch_size: int = 1) -> str:
    """Return the text that reads as this :class:`~bytemlperf.load.model.Part`."""
    kind: Kind = KINDS[part.pattern]
    named = {"batch_size": batch_size, "clients": part.clients}
    extra = [f"{name}={value}" for name, value in named.items() if value != 1]
    extent = f":{_number(part.duration_s)}s" if part.duration_s is not None else ""
    extent = f":{part.queries}" if part.queries is not None else extent
    if part.parts:
        texts = [f"({spell(p)})" if _is_bare_sequence(p) else spell(p) for p in part.parts]
        if part.pattern == "sequence" and not extra and not extent:
            return " then ".join(texts)
        joined = (" + " if part.pattern == "sum" else " then ").join(texts)
        return ",".join([f"({joined})", *extra]) + extent
    figures = []
    for name in kind.fields:
        value = getattr(part, name)
        if value is not None:
            key = "" if name == kind.fields[0] else f"{name.removesuffix('_s')}="
            figures.append(f"{key}{_spelt(name, value)}")
    head = ":".join([part.pattern, *filter(None, [",".join([*figures, *extra])])])
    return head + extent


def _is_bare_sequence(part: Any) -> bool:
    return part.pattern == "sequence" and part.duration_s is None and part.queries is None


def _spelt(name: str, value: Any) -> str:
    if name in WORDS:
        plain = re.fullmatch(r'[^\s():,=+"]+', value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    if name == "steps":
        return ",".join(f"{_number(rate)}/s*{_number(seconds)}s" for rate, seconds in value)
    if name in RATES:
        return f"{_number(value)}/s"
    return f"{_number(value)}s" if name.endswith("_s") else _number(value)


def _number(value: float) -> str:
    """Return the shortest text that reads as this very number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
