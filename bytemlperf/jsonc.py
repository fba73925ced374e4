"""JSON as people write it: ``//`` and ``/* */`` comments, trailing commas. Positions are kept."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""
    "(?:\\.|[^"\\])*"        # a string, kept whole
  | //[^\n]*                 # a comment to the end of the line
  | /\*.*?\*/                # a comment over lines
  | ,(?=(?:\s|//[^\n]*+|/\*.*?\*/)*+[}\]])   # a comma before a closing bracket
    """,
    re.VERBOSE | re.DOTALL,
)


def strip_comments(text: str) -> str:
    """Return plain JSON of the same length and lines: what is removed becomes blanks."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _TOKEN.sub(blank, text)


def loads(text: str) -> Any:
    """Parse; raises :class:`json.JSONDecodeError` with the line and column in ``text``."""
    return json.loads(strip_comments(text), object_pairs_hook=_no_repeats)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the field {key!r} stands twice")
        found[key] = value
    return found


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """Return the line (from 1) on which the field at ``path`` stands; 1 where it is absent."""
    plain, position = strip_comments(text), 0
    for key in path:
        if isinstance(key, int):
            continue
        match = re.compile(rf'"{re.escape(key)}"\s*:').search(plain, position)
        if match is None:
            break
        position = match.start()
    return plain.count("\n", 0, position) + 1
