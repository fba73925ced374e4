"""Model cards, and the modules that define their architectures."""

from __future__ import annotations
