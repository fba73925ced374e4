"""The backends that are shipped, one folder each."""

from __future__ import annotations
