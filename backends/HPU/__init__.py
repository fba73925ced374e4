"""Habana HPU (Gaudi2): through its SDK, or on a device model."""

from __future__ import annotations
