"""Double of PopRT: the calls that a program is compiled and run with."""

from __future__ import annotations

__version__ = "1.4.0"
