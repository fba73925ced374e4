"""
The native load generator. Use it through bytemlperf.LoadGenerator.
"""
from __future__ import annotations
import collections.abc
import enum
import numpy
import numpy.typing
import typing
__all__: list[str] = ['ArrivalProcess', 'BackendSpec', 'Batching', 'BridgeStats', 'Clock', 'ClosedLoop', 'Completion', 'ConstantArrivals', 'DeterministicService', 'DeviceModel', 'ExponentialService', 'GammaArrivals', 'Generator', 'Histogram', 'Interval', 'Live', 'LognormalService', 'OfflineArrivals', 'OnOffArrivals', 'OpenLoop', 'Phase', 'Pinning', 'PoissonArrivals', 'PythonHooks', 'QueryRows', 'ReplayArrivals', 'Run', 'RunData', 'RunSpec', 'SamplePool', 'SegmentedArrivals', 'SequenceArrivals', 'ServiceTime', 'SineArrivals', 'StagedInputs', 'SuperposedArrivals', 'TableService', 'ThreadUsage', 'available_cores', 'isolated_backend', 'run_virtual']
class ArrivalProcess:
    """
    When queries are due: the same offsets for the same seed.
    """
    def offsets(self, seed: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.int64]:
        """
        The first n offsets from the start of the window, int64 ns.
        """
class ConstantArrivals(ArrivalProcess):
    def __init__(self, rate: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class PoissonArrivals(ArrivalProcess):
    def __init__(self, rate: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class OfflineArrivals(ArrivalProcess):
    def __init__(self) -> None:
        ...
class GammaArrivals(ArrivalProcess):
    def __init__(self, rate: typing.SupportsFloat | typing.SupportsIndex, cv: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class OnOffArrivals(ArrivalProcess):
    def __init__(self, rate_on: typing.SupportsFloat | typing.SupportsIndex, rate_off: typing.SupportsFloat | typing.SupportsIndex, mean_on: typing.SupportsFloat | typing.SupportsIndex, mean_off: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SegmentedArrivals(ArrivalProcess):
    def __init__(self, segments: collections.abc.Sequence[tuple[typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex]]) -> None:
        """
        segments: (rate at start, rate at end, seconds)
        """
class SineArrivals(ArrivalProcess):
    def __init__(self, mean: typing.SupportsFloat | typing.SupportsIndex, amplitude: typing.SupportsFloat | typing.SupportsIndex, period: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class ReplayArrivals(ArrivalProcess):
    def __init__(self, offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]) -> None:
        """
        offsets: ns, ascending
        """
class SuperposedArrivals(ArrivalProcess):
    def __init__(self, a: ArrivalProcess, b: ArrivalProcess) -> None:
        ...
class SequenceArrivals(ArrivalProcess):
    def __init__(self, first: ArrivalProcess, length: typing.SupportsInt | typing.SupportsIndex, second: ArrivalProcess) -> None:
        ...
class ServiceTime:
    pass
class DeterministicService(ServiceTime):
    def __init__(self, seconds: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class ExponentialService(ServiceTime):
    def __init__(self, mean: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class LognormalService(ServiceTime):
    def __init__(self, mean: typing.SupportsFloat | typing.SupportsIndex, cv: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class TableService(ServiceTime):
    def __init__(self, seconds: collections.abc.Mapping[typing.SupportsInt | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex]) -> None:
        ...
class DeviceModel:
    """
    A device with known service times (seconds).
    """
    def __init__(self, service: ServiceTime, servers: typing.SupportsInt | typing.SupportsIndex = 1, stall: tuple[typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex] | None = None) -> None:
        ...
    @property
    def servers(self) -> int:
        ...
class Interval(enum.Enum):
    """
    A difference of two stamps.
    """
    gil_wait: typing.ClassVar[Interval]
    latency: typing.ClassVar[Interval]
    queue_wait: typing.ClassVar[Interval]
    schedule_lag: typing.ClassVar[Interval]
    service_time: typing.ClassVar[Interval]
    @classmethod
    def __new__(cls, value):
        ...
class Histogram:
    """
    Log-linear, relative error of a bucket <= 2**-11; ns.
    """
    def __init__(self, values: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]) -> None:
        ...
    def buckets(self) -> tuple:
        """
        (lowest ns, highest ns, count) of the non-empty buckets.
        """
    def merge(self, other: Histogram) -> None:
        ...
    def quantile(self, q: typing.SupportsFloat | typing.SupportsIndex) -> int:
        ...
    @property
    def count(self) -> int:
        ...
    @property
    def max(self) -> int:
        ...
    @property
    def min(self) -> int:
        ...
    @property
    def sum(self) -> int:
        ...
    @property
    def sum_squares(self) -> float:
        ...
class ThreadUsage:
    """
    What one thread of a run cost; times in ns.
    """
    @property
    def client(self) -> bool:
        ...
    @property
    def cpu(self) -> int:
        ...
    @property
    def index(self) -> int:
        ...
    @property
    def involuntary_switches(self) -> int:
        ...
    @property
    def voluntary_switches(self) -> int:
        ...
    @property
    def wall(self) -> int:
        ...
class RunData:
    """
    What a run leaves; times in ns.
    """
    def histogram(self, interval: Interval) -> Histogram:
        ...
    def latency_windows(self) -> list:
        """
        Latencies of each window in which there were any: (highest ns, count) arrays.
        """
    def stamps(self) -> numpy.ndarray:
        ...
    def timeline(self) -> list:
        """
        (queries, errors, latency sum, latency max) a bin
        """
    @property
    def abandoned(self) -> int:
        ...
    @property
    def batches(self) -> int:
        ...
    @property
    def clock_drift_ppm(self) -> float:
        ...
    @property
    def completed(self) -> int:
        ...
    @property
    def error_classes(self) -> dict[str, tuple[int, str]]:
        ...
    @property
    def errors(self) -> int:
        ...
    @property
    def late(self) -> int:
        ...
    @property
    def plan_hash(self) -> int:
        ...
    @property
    def planned(self) -> int:
        ...
    @property
    def queries_in_window(self) -> float:
        ...
    @property
    def repeated(self) -> int:
        ...
    @property
    def samples_in_window(self) -> float:
        ...
    @property
    def spinning(self) -> bool:
        ...
    @property
    def stamps_complete(self) -> bool:
        ...
    @property
    def threads(self) -> list[ThreadUsage]:
        ...
    @property
    def timeline_bin_ns(self) -> int:
        ...
    @property
    def timeouts(self) -> int:
        ...
    @property
    def window_end(self) -> int:
        ...
    @property
    def window_start(self) -> int:
        ...
class Clock:
    """
    Integer ns on the scale of CLOCK_MONOTONIC.
    """
    @staticmethod
    def best() -> Clock:
        ...
    @staticmethod
    def monotonic() -> Clock:
        ...
    @staticmethod
    def tsc() -> Clock | None:
        """
        None where the kernel does not trust the TSC.
        """
    def now(self) -> int:
        ...
    @property
    def cost_ns(self) -> float:
        ...
    @property
    def drift_ppm(self) -> float:
        ...
    @property
    def is_tsc(self) -> bool:
        ...
class QueryRows:
    """
    Samples of each query, and the rows that it takes.
    """
    @staticmethod
    def mix(ranges: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], rows: typing.SupportsInt | typing.SupportsIndex) -> QueryRows:
        """
        ranges: (first row, samples) of each query, walked again and again.
        """
    def __init__(self, batch: typing.SupportsInt | typing.SupportsIndex, rows: typing.SupportsInt | typing.SupportsIndex = 1) -> None:
        ...
    def first(self, query: typing.SupportsInt | typing.SupportsIndex) -> int:
        ...
    def samples(self, query: typing.SupportsInt | typing.SupportsIndex) -> int:
        ...
    @property
    def largest(self) -> int:
        ...
    @property
    def period(self) -> int:
        ...
class SamplePool:
    def __init__(self, arrays: collections.abc.Mapping[str, tuple[numpy.ndarray, bool]], queries: QueryRows) -> None:
        ...
class PythonHooks:
    """
    The functions that a Python instance is made of.
    """
    def __init__(self, make: typing.Any, keep: typing.Any, max_in_flight: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class Completion:
    """
    done(outputs=None, error=None) of one batch.
    """
    def __call__(self, outputs: typing.Any = None, error: typing.Any = None) -> None:
        ...
class Batching:
    """
    When a batch closes; max_delay in ns.
    """
    def __init__(self, max_samples: typing.SupportsInt | typing.SupportsIndex, max_delay: typing.SupportsInt | typing.SupportsIndex, preferred: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
class BackendSpec:
    """
    How the instances of a generator are made.
    """
    @staticmethod
    def device(model: DeviceModel, queries: QueryRows, seed: typing.SupportsInt | typing.SupportsIndex, spin: bool) -> BackendSpec:
        ...
    @staticmethod
    def native(path: str, config: str, pool: SamplePool | None, queries: QueryRows, capacity: typing.SupportsInt | typing.SupportsIndex, keep: typing.Any) -> BackendSpec:
        ...
    @staticmethod
    def null(queries: QueryRows) -> BackendSpec:
        ...
    @staticmethod
    def prepared(hooks: PythonHooks, feeds: list, samples: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> BackendSpec:
        ...
    @staticmethod
    def staged(hooks: PythonHooks, pool: SamplePool, make_slots: typing.Any, capacity: typing.SupportsInt | typing.SupportsIndex) -> BackendSpec:
        ...
class ClosedLoop:
    def __init__(self, clients: typing.SupportsInt | typing.SupportsIndex, think_time: ServiceTime | None) -> None:
        ...
class OpenLoop:
    def __init__(self, process: ArrivalProcess, clients: typing.SupportsInt | typing.SupportsIndex, window_is_drain: bool) -> None:
        ...
class RunSpec:
    """
    One run; times in ns.
    """
    def __init__(self, *, pattern: typing.Any, queries: typing.SupportsInt | typing.SupportsIndex | None, duration: typing.SupportsInt | typing.SupportsIndex | None, warmup: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, stamp_bytes: typing.SupportsInt | typing.SupportsIndex, keep_share: typing.SupportsFloat | typing.SupportsIndex, threads_per_instance: typing.SupportsInt | typing.SupportsIndex, batching: Batching | None, timeout: typing.SupportsInt | typing.SupportsIndex, partial_path: str) -> None:
        ...
class Phase(enum.Enum):
    done: typing.ClassVar[Phase]
    drain: typing.ClassVar[Phase]
    load: typing.ClassVar[Phase]
    measure: typing.ClassVar[Phase]
    warmup: typing.ClassVar[Phase]
    @classmethod
    def __new__(cls, value):
        ...
class Live:
    """
    Figures of a run that goes on; times in ns.
    """
    @property
    def completed(self) -> int:
        ...
    @property
    def elapsed(self) -> int:
        ...
    @property
    def errors(self) -> int:
        ...
    @property
    def p99(self) -> int:
        ...
    @property
    def phase(self) -> Phase:
        ...
class Run:
    def finish(self) -> RunData:
        ...
    def live(self) -> Live:
        ...
    def stamps(self) -> numpy.ndarray:
        """
        The stamps recorded so far.
        """
    def stop(self) -> None:
        """
        End the window now and drain.
        """
    def wait(self, timeout: typing.SupportsInt | typing.SupportsIndex) -> bool:
        """
        True when the run has ended; waits at most timeout ns.
        """
class Pinning:
    """
    Processors of the i-th client and instance thread.
    """
    def __init__(self, clients: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]], instances: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]]) -> None:
        ...
class Generator:
    def __init__(self, backend: BackendSpec, instances: typing.SupportsInt | typing.SupportsIndex, clock: Clock, pinning: Pinning) -> None:
        ...
    def abandon(self) -> None:
        """
        Leave behind the calls that do not return.
        """
    def close(self) -> None:
        """
        Unload every instance on its thread.
        """
    def start(self, spec: RunSpec) -> Run:
        ...
class StagedInputs:
    """
    What isolated backends are fed, and where in a slot it goes.
    """
    @staticmethod
    def columns(pool: SamplePool, offsets: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], slot_bytes: typing.SupportsInt | typing.SupportsIndex) -> StagedInputs:
        """
        offsets in the order of the columns' names
        """
    @staticmethod
    def ready(queries: collections.abc.Sequence[tuple[collections.abc.Sequence[tuple[numpy.ndarray, typing.SupportsInt | typing.SupportsIndex]], typing.SupportsInt | typing.SupportsIndex]], slot_bytes: typing.SupportsInt | typing.SupportsIndex) -> StagedInputs:
        """
        queries: ([(array, offset)], samples) of each
        """
class BridgeStats:
    """
    What the bridges of a generator's instances cost and went through.
    """
    def __init__(self) -> None:
        ...
    def hop(self) -> Histogram:
        """
        ns from posting a batch to its answer, less the backend's own time.
        """
    @property
    def deaths(self) -> list[str]:
        ...
    @property
    def restarts(self) -> int:
        ...
def available_cores() -> list[int]:
    """
    Processors that this process may run on.
    """
def isolated_backend(*, inputs: StagedInputs, children: typing.Any, keep: typing.Any, failure_of: typing.Any, stats: BridgeStats, max_in_flight: typing.SupportsInt | typing.SupportsIndex, spin: typing.SupportsInt | typing.SupportsIndex, restarts: typing.SupportsInt | typing.SupportsIndex, hang_after: typing.SupportsInt | typing.SupportsIndex, beat_within: typing.SupportsInt | typing.SupportsIndex) -> BackendSpec:
    """
    A BackendSpec of instances in processes of their own; ns.
    """
def run_virtual(spec: RunSpec, device: DeviceModel, queries: QueryRows) -> RunData:
    """
    Run on a virtual clock.
    """
