"""Stream Computing's compiler and engine, where they are."""

from __future__ import annotations

import shutil
from functools import cache

from bytemlperf.extras import installed

COMPILER = "stc_ddk.stc_aic"


@cache
def missing() -> str | None:
    """Return what this host lacks to run on a P920, or None."""
    lacking = [] if shutil.which(COMPILER) else [COMPILER]
    lacking += [] if installed("run_engine") else ["run_engine"]
    return f"the SDK ({' and '.join(lacking)}) is not installed" if lacking else None
