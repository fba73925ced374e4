"""Moffett's compiler and inference library, and the device, where they are."""

from __future__ import annotations

from functools import cache

from bytemlperf.extras import installed


@cache
def missing() -> str | None:
    """Return what this host lacks to run on an S30, or None."""
    lacking = [name for name in ("common_compile", "inference") if not installed(name)]
    if lacking:
        return f"the SDK ({' and '.join(lacking)}) is not installed"
    return None
