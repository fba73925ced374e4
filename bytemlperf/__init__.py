"""Benchmark AI accelerators from the production side, on a native load generator.

>>> import bytemlperf as bmp
>>> gen = bmp.LoadGenerator(lambda feeds: None)
>>> result = gen.run(bmp.Poisson(rate=2000), duration=1.0)
"""

from __future__ import annotations

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

from bytemlperf.batching import Dynamic
from bytemlperf.comparison import Change, Comparison, compare
from bytemlperf.device import (
    Deterministic,
    Exponential,
    Lognormal,
    NativeBackend,
    NullBackend,
    SimulatedDevice,
    Table,
)
from bytemlperf.distribution import Distribution
from bytemlperf.errors import BackendError, BytemlperfError, UsageError
from bytemlperf.isolation import Isolated
from bytemlperf.loadgen import LoadGenerator, RunInterrupted, measure
from bytemlperf.patterns import (
    Arrivals,
    ClosedLoop,
    Constant,
    Gamma,
    Offline,
    OnOff,
    Poisson,
    Ramp,
    Replay,
    Sine,
    Steps,
)
from bytemlperf.pinning import Pin
from bytemlperf.progress import Progress
from bytemlperf.query_mix import mix_queries
from bytemlperf.result import ErrorClass, Overhead, Result, Verdict, load_result
from bytemlperf.samples import Shared

__all__ = [
    "Arrivals",
    "BackendError",
    "BytemlperfError",
    "Change",
    "ClosedLoop",
    "Comparison",
    "Constant",
    "Deterministic",
    "Distribution",
    "Dynamic",
    "ErrorClass",
    "Exponential",
    "Gamma",
    "Isolated",
    "LoadGenerator",
    "Lognormal",
    "NativeBackend",
    "NullBackend",
    "Offline",
    "OnOff",
    "Overhead",
    "Pin",
    "Poisson",
    "Progress",
    "Ramp",
    "Replay",
    "Result",
    "RunInterrupted",
    "Shared",
    "SimulatedDevice",
    "Sine",
    "Steps",
    "Table",
    "UsageError",
    "Verdict",
    "compare",
    "get_include",
    "load_result",
    "measure",
    "mix_queries",
]


def get_include() -> str:
    """Return the folder of ``bytemlperf/backend.h``, the C interface for native backends."""
    from pathlib import Path

    from bytemlperf import _core

    return str(Path(_core.__file__).parent / "include")


def __getattr__(name: str) -> str:
    if name == "__version__":  # read when it is asked for: it costs as much as all the rest
        from importlib.metadata import version

        return version("bytemlperf")
    raise AttributeError(f"module 'bytemlperf' has no attribute {name!r}")
