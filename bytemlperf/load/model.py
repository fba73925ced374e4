"""A load of a task: a pattern, or one made of patterns, and how long it lasts."""

from __future__ import annotations

import functools
import operator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bytemlperf.errors import UsageError
from bytemlperf.load.functions import function_of
from bytemlperf.load.grammar import Parser, spell, wrong
from bytemlperf.load.kinds import COMPOSED, EXTENTS, KINDS, OPTIONAL, Kind
from bytemlperf.patterns import (
    Arrivals,
    Constant,
    Gamma,
    Offline,
    OnOff,
    OpenPattern,
    Poisson,
    Ramp,
    Replay,
    Sine,
    Steps,
)

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, strict=True)]

_MAKE: dict[str, Any] = {
    "constant": Constant,
    "poisson": Poisson,
    "gamma": Gamma,
    "onoff": OnOff,
    "ramp": Ramp,
    "steps": Steps,
    "sine": Sine,
    "replay": Replay,
    "offline": Offline,
}


class Part(BaseModel):
    """A pattern with its figures; in a sequence also how long it lasts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Literal[
        "constant",
        "poisson",
        "gamma",
        "onoff",
        "ramp",
        "steps",
        "sine",
        "replay",
        "arrivals",
        "offline",
        "sum",
        "sequence",
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
    file: str | None = Field(
        default=None, description="trace: .csv, .json, .jsonl, also .gz; of arrivals: a .py"
    )
    speed: Positive | None = Field(default=None, description="2 replays twice as fast")
    function: str | None = Field(default=None, description="fn(rng, n) -> gaps, in the file")
    parts: tuple[Part, ...] | None = Field(
        default=None, description="of a sum, at once; of a sequence, one after the other"
    )
    duration_s: Positive | None = Field(default=None, description="how long it lasts")
    queries: Count | None = Field(default=None, description="queries, instead of a duration")
    clients: Count = Field(default=1, description="threads that submit")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        kind = KINDS[self.pattern]
        fields = {name for kind in KINDS.values() for name in kind.fields}
        given = {name for name in fields if getattr(self, name) is not None}
        missing = [name for name in kind.fields if name not in given and name not in OPTIONAL]
        others = given - set(kind.fields)
        extents = [name for name in EXTENTS if getattr(self, name) is not None]
        if missing or others or len(extents) > 1 or not set(extents) <= set(kind.extents):
            raise ValueError(f"{self.pattern} takes {_takes(kind)}" + _instead(missing, others))
        if self.file is not None and not Path(self.file).is_file():
            raise ValueError(f"no such file: {self.file}")
        if self.parts is not None:
            _compose(self.pattern, self.parts, self)
        try:
            if self.pattern != "replay":  # a trace is read when it is run
                self.run_pattern  # noqa: B018
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @cached_property
    def run_pattern(self) -> OpenPattern | Offline:
        """The pattern that the generator runs."""
        if self.pattern == "sum":
            return functools.reduce(operator.add, self._open_parts())
        if self.pattern == "sequence":
            assert self.parts is not None
            *before, whole = self._open_parts()
            for first, part in zip(reversed(before), reversed(self.parts[:-1]), strict=True):
                whole = first.then(whole, after=part.seconds)
            return whole
        if self.pattern == "arrivals":
            assert self.file is not None
            assert self.function is not None
            return Arrivals(function_of(self.file, self.function), clients=self.clients)
        names = KINDS[self.pattern].fields
        values = [getattr(self, name) or OPTIONAL.get(name, 0.0) for name in names]
        pattern: OpenPattern | Offline = _MAKE[self.pattern](*values, clients=self.clients)
        return pattern

    def _open_parts(self) -> list[OpenPattern]:
        patterns = [part.run_pattern for part in self.parts or ()]
        return [pattern for pattern in patterns if isinstance(pattern, OpenPattern)]

    @property
    def seconds(self) -> float | None:
        """How long it lasts: as given, as its parts say, or by its own length; None: not known."""
        if self.duration_s is not None:
            return self.duration_s
        if self.pattern == "sequence" and self.parts is not None:
            lengths = [part.seconds for part in self.parts]
            return None if lengths[-1] is None else sum(s for s in lengths if s is not None)
        if self.pattern == "arrivals":
            return None
        length = self.run_pattern.length_ns
        return None if length is None else length / 1e9

    def planned_in(self, seconds: float) -> float:
        """Queries that it plans in so many seconds, about."""
        if self.pattern == "sum":
            return sum(part.planned_in(seconds) for part in self.parts or ())
        if self.pattern == "sequence":
            planned = 0.0
            for part in self.parts or ():
                length = min(seconds, seconds if part.seconds is None else part.seconds)
                planned += part.planned_in(length)
                seconds -= length
            return planned
        pattern = self.run_pattern
        if isinstance(pattern, Replay):
            return float(pattern.offsets.size)
        if isinstance(pattern, Arrivals):
            return pattern.planned_in(seconds)
        if isinstance(pattern, Steps):
            return sum(rate * length for rate, length in pattern.steps)
        if isinstance(pattern, OnOff):
            on, off = pattern.mean_on, pattern.mean_off
            return seconds * (pattern.rate_on * on + pattern.rate_off * off) / (on + off)
        if isinstance(pattern, Ramp):
            return seconds * (pattern.start + pattern.stop) / 2
        return seconds * (self.rate or self.mean or 0.0)

    def __str__(self) -> str:
        return spell(self)


class Load(Part):
    """One open-loop load that is run beside the closed loop: ``--load poisson:100/s:30s``."""

    batch_size: Count = Field(default=1, description="samples a query")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        kind = KINDS[self.pattern]
        ends = self.duration_s is not None or self.queries is not None
        if kind.extents and not ends and (self.parts is None or self.seconds is None):
            raise ValueError(f"{self.pattern} takes {_takes(kind)}")
        return self

    @property
    def planned(self) -> float:
        """Queries that the load plans, about."""
        return float(self.queries or self.planned_in(self.seconds or 0.0))

    @property
    def length_s(self) -> float | None:
        """Seconds that the window lasts; None where the number of queries ends it."""
        return None if self.queries is not None else self.seconds

    @property
    def duration(self) -> float | None:
        """What a run of it is given: the length, where the pattern has none of its own."""
        return None if self.run_pattern.length_ns is not None else self.length_s

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a load from text: see :mod:`bytemlperf.load.grammar`.

        Raises:
            UsageError: with the column, what is wrong there, and how it is spelt.
        """
        node = Parser(text).whole()
        try:
            return cls.model_validate(node.data())
        except ValidationError as error:
            first = error.errors()[0]
            names = [str(part) for part in first["loc"] if isinstance(part, str)]
            field = f"{names[-1]}: " if names and names[-1] != "parts" else ""
            reason = first["msg"].removeprefix("Value error, ")
            raise wrong(text, node.column(first["loc"]), field + reason) from error

    def __str__(self) -> str:
        return spell(self, batch_size=self.batch_size)


def _compose(pattern: str, parts: tuple[Part, ...], whole: Part) -> None:
    """Check that the parts of a sum or a sequence go together; a ValueError says why not."""
    if len(parts) < 2:
        raise ValueError(f"a {pattern} has two parts or more")
    if whole.clients != 1:
        raise ValueError("clients is a figure of the parts: the run has as many as the largest")
    for number, part in enumerate(parts):
        where = f"part {number + 1} of the {pattern} ({part})"
        if part.pattern == "offline":
            raise ValueError(f"{where}: everything at once is no part of another load")
        if part.queries is not None:
            raise ValueError(f"{where}: how many queries there are is said of the whole load")
        ends = part.duration_s is not None or (
            part.pattern in COMPOSED and part.seconds is not None
        )
        if pattern == "sum" and ends:
            raise ValueError(f"{where}: how long it lasts stands behind the sum: (a + b):30s")
        if pattern == "sequence" and number < len(parts) - 1 and part.seconds is None:
            raise ValueError(f"{where}: every part but the last says how long it lasts, e.g. :10s")
    said = whole.duration_s is not None or whole.queries is not None
    if pattern == "sequence" and said and parts[-1].seconds is not None:
        raise ValueError("its last part says already how long it lasts")


def _takes(kind: Kind) -> str:
    own = [f"{name!r}" for name in kind.fields if name not in OPTIONAL]
    if len(kind.extents) == 2:
        own.append("exactly one of 'duration_s' and 'queries'")
    else:
        own += [f"{name!r}" for name in kind.extents]
    return ", ".join(own)


def _instead(missing: list[str], others: set[str]) -> str:
    parts = [f"{', '.join(map(repr, missing))} is missing"] if missing else []
    if others:
        parts.append(f"{', '.join(map(repr, sorted(others)))} belongs to another pattern")
    return f" ({'; '.join(parts)})" if parts else ""
