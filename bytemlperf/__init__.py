"""Benchmark AI accelerators from the production side, on a native load generator.

>>> import bytemlperf as bmp
>>> gen = bmp.LoadGenerator(lambda feeds: None)
>>> result = gen.run(bmp.Poisson(rate=2000), duration=1.0)
"""

from __future__ import annotations

from typing import Any

import lazy_loader

try:
    import bytemlperf._core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "bytemlperf._core":
        raise
    raise ModuleNotFoundError(
        "bytemlperf's compiled core is missing: this is the source folder, not an installation; "
        "run 'pip install .' (or 'pip install -e .') and start Python elsewhere",
        name=error.name,
    ) from error

# The names are those of __init__.pyi.
_lookup, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":  # it costs as much as all the rest
        from importlib.metadata import version

        return version("bytemlperf")
    return _lookup(name)


def get_include() -> str:
    """Return the folder of ``bytemlperf/backend.h``, the C interface for native backends."""
    from pathlib import Path

    from bytemlperf import _core

    return str(Path(_core.__file__).parent / "include")
