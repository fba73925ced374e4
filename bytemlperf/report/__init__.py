"""Reports: pure functions of finished results."""

from __future__ import annotations
