"""A load of a task: a pattern and how long it lasts, as a field of JSON or on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bytemlperf.errors import UsageError, did_you_mean
from bytemlperf.patterns import (
    Constant,
    Gamma,
    Offline,
    OnOff,
    Pattern,
    Poisson,
    Ramp,
    Replay,
    Sine,
    Steps,
)

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, strict=True)]


@dataclass(frozen=True)
class _Kind:
    """What a pattern takes: its own fields in the order of the command line, and its extent."""

    make: type[Any]
    fields: tuple[str, ...] = ()
    extents: tuple[str, ...] = ("duration_s", "queries")


_KINDS = {
    "constant": _Kind(Constant, ("rate",)),
    "poisson": _Kind(Poisson, ("rate",)),
    "gamma": _Kind(Gamma, ("rate", "cv")),
    "onoff": _Kind(OnOff, ("rate_on", "rate_off", "mean_on_s", "mean_off_s")),
    "ramp": _Kind(Ramp, ("start", "stop"), ("duration_s",)),
    "steps": _Kind(Steps, ("steps",), ()),
    "sine": _Kind(Sine, ("mean", "amplitude", "period_s")),
    "replay": _Kind(Replay, ("file", "speed"), ()),
    "offline": _Kind(Offline, (), ("queries",)),
}
_OPTIONAL = {"speed": 1.0}
_RATES = frozenset(("rate", "rate_on", "rate_off", "start", "stop", "mean", "amplitude"))
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_EXAMPLES = (
    "poisson:100/s:30s, gamma:100/s,cv=2:30s, onoff:500/s,rate_off=0/s,mean_on=1s,mean_off=4s:60s, "
    "ramp:0/s,stop=200/s:60s, steps:100/s*10s,200/s*10s, sine:100/s,amplitude=50/s,period=10s:60s, "
    "replay:trace.csv,speed=2, offline:500"
)


class Load(BaseModel):
    """One open-loop load that is run beside the closed loop: ``--load poisson:100/s:30s``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Literal[
        "constant", "poisson", "gamma", "onoff", "ramp", "steps", "sine", "replay", "offline"
    ]
    rate: Positive | None = Field(default=None, description="queries a second")
    cv: Positive | None = Field(default=None, description="coefficient of variation of the gaps")
    rate_on: Positive | None = Field(default=None, description="queries a second in a burst")
    rate_off: NotNegative | None = Field(default=None, description="queries a second between")
    mean_on_s: Positive | None = Field(default=None, description="mean length of a burst")
    mean_off_s: Positive | None = Field(default=None, description="mean time between bursts")
    start: NotNegative | None = Field(default=None, description="queries a second at the start")
    stop: NotNegative | None = Field(default=None, description="queries a second at the end")
    steps: tuple[tuple[NotNegative, Positive], ...] | None = Field(
        default=None, description="pairs of queries a second and seconds"
    )
    mean: Positive | None = Field(default=None, description="queries a second on average")
    amplitude: NotNegative | None = Field(default=None, description="queries a second around it")
    period_s: Positive | None = Field(default=None, description="of the sine")
    file: str | None = Field(default=None, description="trace: .csv, .json, .jsonl, also .gz")
    speed: Positive | None = Field(default=None, description="2 replays twice as fast")
    duration_s: Positive | None = Field(default=None, description="length of the window")
    queries: Count | None = Field(default=None, description="queries, instead of a duration")
    batch_size: Count = Field(default=1, description="samples a query")
    clients: Count = Field(default=1, description="threads that submit")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        kind = _KINDS[self.pattern]
        given = {name for kind in _KINDS.values() for name in (*kind.fields, *kind.extents)}
        given = {name for name in given if getattr(self, name) is not None}
        missing = [name for name in kind.fields if name not in given and name not in _OPTIONAL]
        others = given - {*kind.fields, *kind.extents}
        extents = given & set(kind.extents)
        if missing or others or len(extents) != bool(kind.extents):
            raise ValueError(f"{self.pattern} takes {_takes(kind)}" + _instead(missing, others))
        if self.file is not None and not Path(self.file).is_file():
            raise ValueError(f"no such file: {self.file}")
        try:
            if self.pattern != "replay":  # a trace is read when it is run
                self.run_pattern  # noqa: B018
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @cached_property
    def run_pattern(self) -> Pattern:
        """The pattern that the generator runs."""
        kind = _KINDS[self.pattern]
        values = [getattr(self, name) or _OPTIONAL.get(name, 0.0) for name in kind.fields]
        pattern: Pattern = kind.make(*values, clients=self.clients)
        return pattern

    @property
    def planned(self) -> float:
        """Queries that the load plans, about."""
        if self.queries is not None:
            return float(self.queries)
        pattern = self.run_pattern
        if isinstance(pattern, Replay):
            return float(pattern.offsets.size)
        if isinstance(pattern, Steps):
            return sum(rate * seconds for rate, seconds in pattern.steps)
        seconds = self.duration_s or 0.0
        if isinstance(pattern, OnOff):
            on, off = pattern.mean_on, pattern.mean_off
            return seconds * (pattern.rate_on * on + pattern.rate_off * off) / (on + off)
        if isinstance(pattern, Ramp):
            return seconds * (pattern.start + pattern.stop) / 2
        return seconds * (self.rate or self.mean or 0.0)

    @property
    def length_s(self) -> float | None:
        """Seconds that the window lasts; None where the number of queries ends it."""
        if self.duration_s is not None or self.queries is not None:
            return self.duration_s
        length = self.run_pattern.length_ns
        return None if length is None else length / 1e9

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``PATTERN:FIGURES:EXTENT``, e.g. ``gamma:100/s,cv=2:30s`` or ``offline:500``.

        Raises:
            UsageError: with what is wrong and how it is spelt.
        """
        name, _, rest = text.partition(":")
        if name not in _KINDS:
            known = f"known: {', '.join(_KINDS)}"
            raise UsageError(
                f"--load {text!r}: unknown pattern {name!r}{did_you_mean(name, _KINDS)} ({known})"
            )
        try:
            return cls.model_validate({"pattern": name} | _fields(_KINDS[name], rest))
        except ValidationError as error:
            first = error.errors()[0]
            field = "".join(f"{part}: " for part in first["loc"])
            reason = f"{field}{first['msg'].removeprefix('Value error, ')}"
            raise UsageError(f"--load {text!r}: {reason}") from error
        except ValueError as error:
            raise UsageError(f"--load {text!r}: {error}; e.g. {_EXAMPLES}") from error

    def __str__(self) -> str:
        kind = _KINDS[self.pattern]
        figures = []
        for name in (*kind.fields, "batch_size", "clients"):
            value = getattr(self, name)
            if name in type(self).model_fields and value == type(self).model_fields[name].default:
                continue
            key = "" if name == kind.fields[0] else f"{name.removesuffix('_s')}="
            figures.append(f"{key}{_spelt(name, value)}")
        extent = f"{self.duration_s:g}s" if self.duration_s else str(self.queries or "")
        return ":".join(part for part in (self.pattern, ",".join(figures), extent) if part)


def _takes(kind: _Kind) -> str:
    own = [f"{name!r}" for name in kind.fields if name not in _OPTIONAL]
    if len(kind.extents) == 2:
        own.append("exactly one of 'duration_s' and 'queries'")
    else:
        own += [f"{name!r}" for name in kind.extents]
    return ", ".join(own)


def _instead(missing: list[str], others: set[str]) -> str:
    parts = [f"{', '.join(map(repr, missing))} is missing"] if missing else []
    parts += (
        [f"{', '.join(map(repr, sorted(others)))} belongs to another pattern"] if others else []
    )
    return f" ({'; '.join(parts)})" if parts else ""


def _fields(kind: _Kind, text: str) -> dict[str, Any]:
    """Return the fields that the text after the pattern's name gives.

    Raises:
        ValueError: with what could not be read.
    """
    figures, extent = text, ""
    if kind.extents:
        figures, _, extent = text.rpartition(":")
    found = _extent(extent) if kind.extents else {}
    parts = [part for part in figures.split(",") if part]
    if kind.fields == ("steps",):
        steps = [part for part in parts if "=" not in part]
        found["steps"] = [_step(part) for part in steps]
        parts = [part for part in parts if "=" in part]
    known = {name.removesuffix("_s"): name for name in (*kind.fields, "batch_size", "clients")}
    for number, part in enumerate(parts):
        key, equals, value = part.partition("=")
        if not equals and number == 0 and kind.fields:
            key, value = kind.fields[0], part
        name = known.get(key.removesuffix("_s"))
        if name is None:
            raise ValueError(f"unknown figure {part!r}{did_you_mean(key, known)}")
        found[name] = _value(name, value)
    return found


def _extent(text: str) -> dict[str, Any]:
    if re.fullmatch(r"\d+", text):
        return {"queries": int(text)}
    return {"duration_s": _seconds(text)} if text else {}


def _value(name: str, text: str) -> Any:
    if name == "file":
        return text
    if name in ("batch_size", "clients"):
        return int(text)
    if name in _RATES:
        return _rate(text)
    return _seconds(text) if name.endswith("_s") else float(text)


def _step(text: str) -> tuple[float, float]:
    rate, _, seconds = text.partition("*")
    return _rate(rate), _seconds(seconds)


def _rate(text: str) -> float:
    number = text.removesuffix("/s")
    if number == text:
        raise ValueError(f"expected a rate such as 100/s, not {text!r}")
    return float(number)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.eE+-]+?)(ms|s|min|h)", text)
    if match is None:
        raise ValueError(f"expected a time such as 30s, or a number of queries, not {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def _spelt(name: str, value: Any) -> str:
    if name == "steps":
        return ",".join(f"{rate:g}/s*{seconds:g}s" for rate, seconds in value)
    if name in _RATES:
        return f"{value:g}/s"
    return f"{value:g}s" if name.endswith("_s") else f"{value:g}" if name != "file" else value
