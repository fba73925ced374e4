"""A load of a task: a pattern and how long it lasts, as a field of JSON or on the command line."""

from __future__ import annotations

from bytemlperf.load.model import Count, Load, Part, Positive

__all__ = ["Count", "Load", "Part", "Positive"]
