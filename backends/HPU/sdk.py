"""Habana's PyTorch bridge and the device, where they are."""

from __future__ import annotations

from functools import cache

from bytemlperf.extras import installed


@cache
def missing() -> str | None:
    """Return what this host lacks to run on a Gaudi, or None."""
    if not installed("habana_frameworks"):
        return "the SDK (habana_frameworks) is not installed"
    from habana_frameworks.torch import hpu

    return None if hpu.is_available() else "habana_frameworks finds no HPU"
