"""PopRT and the device, where they are."""

from __future__ import annotations

from functools import cache

from bytemlperf.extras import installed


@cache
def missing() -> str | None:
    """Return what this host lacks to run on an IPU, or None."""
    if not installed("poprt"):
        return "the SDK (poprt) is not installed"
    import poprt.runtime

    try:
        version = poprt.runtime.DeviceManager().ipu_hardware_version()
    except RuntimeError as error:
        return f"poprt finds no IPU: {error}"
    return None if version else "poprt finds no IPU"
