"""The library's names, each read from its module when it is first asked for."""

from .batching import Dynamic as Dynamic
from .columns import Shared as Shared
from .comparison import (
    Change as Change,
    Comparison as Comparison,
    compare as compare,
)
from .device import (
    Deterministic as Deterministic,
    Exponential as Exponential,
    Lognormal as Lognormal,
    NativeBackend as NativeBackend,
    NullBackend as NullBackend,
    SimulatedDevice as SimulatedDevice,
    Table as Table,
)
from .distribution import Distribution as Distribution
from .errors import (
    BackendError as BackendError,
    BytemlperfError as BytemlperfError,
    UsageError as UsageError,
)
from .isolation import Isolated as Isolated
from .loadgen import (
    LoadGenerator as LoadGenerator,
    RunInterrupted as RunInterrupted,
    measure as measure,
)
from .patterns import (
    Arrivals as Arrivals,
    ClosedLoop as ClosedLoop,
    Constant as Constant,
    Gamma as Gamma,
    Offline as Offline,
    OnOff as OnOff,
    Poisson as Poisson,
    Ramp as Ramp,
    Replay as Replay,
    Sine as Sine,
    Steps as Steps,
)
from .pinning import Pin as Pin
from .progress import Progress as Progress
from .query_mix import mix_queries as mix_queries
from .result import (
    ErrorClass as ErrorClass,
    Overhead as Overhead,
    Result as Result,
    Verdict as Verdict,
    load_result as load_result,
)

__version__: str

def get_include() -> str: ...
