"""The load generator: any backend, any load pattern, one result."""

from __future__ import annotations

import atexit
import functools
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from bytemlperf import _core
from bytemlperf.batching import MOST_SAMPLES, Dynamic
from bytemlperf.core_backend import core_backend
from bytemlperf.device import NativeBackend, NullBackend, SimulatedDevice
from bytemlperf.errors import BackendError, UsageError, check_whole
from bytemlperf.isolation import Isolated
from bytemlperf.kept_outputs import KeptOutputs
from bytemlperf.outcome import Driven, result_of
from bytemlperf.overhead import Setup
from bytemlperf.patterns import ClosedLoop, Pattern, horizon_of
from bytemlperf.pinning import Pin
from bytemlperf.progress import Progress, ProgressCallback, Watch
from bytemlperf.query_mix import QueryMix
from bytemlperf.result import Result
from bytemlperf.samples import Samples, query_sizes
from bytemlperf.stopping import StoppingRule

if TYPE_CHECKING:
    from bytemlperf.isolation.children import Isolation

__all__ = ["LoadGenerator", "Progress", "RunInterrupted", "measure"]

_POLL_NS = 50_000_000
_MEASURE_BOUND_S = 10.0

ClockName = Literal["auto", "tsc", "monotonic", "virtual"]


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run. ``result`` holds what was measured, or None."""

    def __init__(self, result: Result | None) -> None:
        super().__init__("the run was interrupted")
        self.result = result


class LoadGenerator:
    """Drives one backend. Instances are built at the first run and stay loaded until close().

    Args:
        backend: a callable ``feeds -> outputs``; a RuntimeBackend object (shared by all
            instances, so it must be thread-safe), class or ``functools.partial`` of a class
            (built once for each instance, on its own thread); a :class:`NativeBackend`; a
            :class:`SimulatedDevice`; a :class:`NullBackend`; or an :class:`Isolated` one. One with
            ``submit(feeds, done)`` is asynchronous: ``done(outputs)`` or ``done(error=...)`` is
            called once for each batch, from any thread; ``max_in_flight`` batches are submitted
            ahead.
        samples: ``{name: array}`` whose rows are samples (:class:`Shared` where an input has no
            rows); or :func:`mix_queries`; or a list of ready queries, each handed over as it is; or
            None: an empty mapping. Query k takes rows ``(k * batch_size + i) mod N``, or item
            ``k mod N``.
        batch_size: samples a query; a mix has sizes of its own.
        batching: :class:`Dynamic` merges waiting queries; None: one query, one batch.
        instances: copies of the backend, each on a thread of its own.
        clock: ``virtual`` runs a SimulatedDevice without waiting; ``auto`` prefers the TSC.
        pin: processors of the client and instance threads; None leaves them to the system.

    Raises:
        UsageError: for arguments that do not fit together.
    """

    def __init__(
        self,
        backend: Any,
        samples: Samples = None,
        *,
        batch_size: int = 1,
        batching: Dynamic | None = None,
        instances: int = 1,
        clock: ClockName = "auto",
        pin: Pin | None = None,
    ) -> None:
        check_whole("batch_size", batch_size, 1, MOST_SAMPLES)
        check_whole("instances", instances, 1, 1024)
        if clock == "virtual" and not isinstance(backend, SimulatedDevice):
            raise UsageError("clock='virtual' needs a SimulatedDevice as the backend")
        if isinstance(samples, QueryMix) and batch_size != 1:
            raise UsageError(f"a mix has sizes of its own: leave out batch_size={batch_size!r}")
        largest = query_sizes(samples, batch_size).largest
        if batching is not None and batching.max_samples < largest:
            raise UsageError(
                f"max_samples {batching.max_samples} is below the {largest} samples of a query: a "
                "query is never split"
            )
        self.backend = backend
        self.batch_size = largest
        self.batching = batching
        self.instances = instances
        self.clock_name = clock
        self.pin = pin or Pin()
        self._samples = samples
        self._clock = _clock(clock)
        self._generator: _core.Generator | None = None
        self._isolation: Isolation | None = None
        self._kept = KeptOutputs()
        _open_generators.add(self)

    def run(
        self,
        pattern: Pattern,
        *,
        queries: int | None = None,
        duration: float | None = None,
        warmup: float = 0.0,
        seed: int = 0,
        timeout: float | None = None,
        p99_within: float | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
        keep_outputs: bool | float = False,
        stamps: int = 256 << 20,
        progress: ProgressCallback | None = None,
    ) -> Result:
        """Run one load and return what it measured.

        Args:
            pattern: when clients submit.
            queries: planned queries over all clients; with ``max_duration`` the bound that is
                reached first ends the window (each closed-loop client does one at least).
            duration: length of the window in seconds, instead of ``queries``. A pattern with a
                length of its own (Replay, Steps) takes neither.
            warmup: seconds of the same load before the window, never counted: the first seconds
                of the pattern, drawn anew.
            seed: of the arrival plan, of think times and of simulated service times.
            timeout: seconds from a query's intended time after which it counts as a timeout; its
                client goes on, a later reply counts as late. A call that never returns is left
                behind when everything else has ended; where it holds the GIL, so that Python
                cannot go on, ``bytemlperf-partial-<pid>.json`` is written and the process ends.
            p99_within: run until the 95 % interval of p99 lies within this share of it (0.05),
                between ``min_duration`` and ``max_duration`` (default 60 s).
            keep_outputs: keep a copy of each query's outputs in the list ``Result.outputs``; or a
                share between 0 and 1 of the queries, drawn by ``seed``, in a dictionary by query
                number (a batch that was merged from several queries is kept whole).
            stamps: bytes for raw stamps. A run that outgrows them goes on with histograms of 64
                to 128 windows of time, from which intervals of the latency still come.
            progress: called about four times a second.

        Raises:
            UsageError: for arguments that do not fit together.
            BackendError: where the backend cannot be built or loaded.
            RunInterrupted: on Ctrl-C, with what was measured.
        """
        horizon = horizon_of(
            pattern,
            queries=queries,
            duration=duration,
            p99_within=p99_within,
            max_duration=max_duration,
            seed=seed,
        )
        if warmup < 0:
            raise UsageError(f"warmup must not be negative, not {warmup!r}")
        check_whole("seed", seed, 0, (1 << 64) - 1)
        check_whole("stamps", stamps, 0, 1 << 48)
        if not 0.0 <= keep_outputs <= 1.0:
            raise UsageError(f"keep_outputs is True, False or a share, not {keep_outputs!r}")
        if timeout is not None and not 0 < timeout < 1e6:
            raise UsageError(f"timeout is a positive number of seconds, not {timeout!r}")
        spec = _core.RunSpec(
            pattern=pattern.to_core(horizon),
            queries=queries,
            duration=horizon.bound,
            warmup=round(warmup * 1e9),
            seed=seed,
            stamp_bytes=stamps,
            keep_share=float(keep_outputs),
            threads_per_instance=getattr(self.backend, "threads_per_instance", 1),
            batching=self.batching.to_core() if self.batching else None,
            timeout=0 if timeout is None else round(timeout * 1e9),
            partial_path=str(Path.cwd() / f"bytemlperf-partial-{os.getpid()}.json"),
        )
        self._kept.clear()
        rule = StoppingRule(p99_within, min_duration or 0.0) if p99_within else None
        interrupted = False
        if self.clock_name == "virtual":
            sizes = query_sizes(self._samples, self.batch_size)
            data = _core.run_virtual(spec, self.backend.to_core(), sizes)
        else:
            run = self._start(spec, seed)
            watch = Watch(progress, queries, horizon.bound)
            interrupted = self._follow(run, watch, rule)
            try:
                data = run.finish()
            except RuntimeError as error:
                self.close()
                raise BackendError(f"the backend could not be loaded: {error}") from error
            if data.abandoned:  # the next run builds new instances
                self._abandon()
        result = self._result(data, pattern, seed, stamps, keep_outputs, interrupted, rule)
        if interrupted:
            raise RunInterrupted(result)
        return result

    def close(self) -> None:
        """Unload every instance on its thread. The next run would build them again."""
        if self._generator is not None:
            self._generator.close()
            self._generator = None
        if self._isolation is not None:
            self._isolation.close()
            self._isolation = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _abandon(self) -> None:
        """Leave calls behind that do not return, with the threads that they are on. A child can be
        ended instead, and its calls return.
        """
        if self._isolation is not None:
            self._isolation.kill()
        if self._generator is not None:
            self._generator.abandon()
        self.close()

    def _start(self, spec: _core.RunSpec, seed: int) -> _core.Run:
        if isinstance(self.backend, SimulatedDevice):
            self.close()  # its service times depend on the seed
        if self._generator is None:
            core = core_backend(
                self.backend,
                self._samples,
                batch_size=self.batch_size,
                capacity=self.batching.max_samples if self.batching else None,
                instances=self.instances,
                keep=self._kept.keep,
                seed=seed,
            )
            self._isolation = core.isolation
            pinning = self.pin.to_core()
            self._generator = _core.Generator(core.spec, core.threads, self._clock, pinning)
        return self._generator.start(spec)

    def _follow(self, run: _core.Run, watch: Watch, rule: StoppingRule | None) -> bool:
        """Wait for the run's end; returns True where Ctrl-C ended it."""
        interrupted = False
        ended = False
        while not ended:
            try:
                ended = run.wait(_POLL_NS)
                if not interrupted:
                    watch.look(run)
                    if rule is not None and rule.reached(run):
                        run.stop()
                        rule = None
            except KeyboardInterrupt:
                if interrupted:  # the drain does not end: leave the call behind
                    self._abandon()
                    raise RunInterrupted(None) from None
                interrupted = True
                run.stop()
            except BaseException:
                run.stop()
                while not run.wait(_POLL_NS):
                    pass
                raise
        return interrupted

    def _result(
        self,
        data: _core.RunData,
        pattern: Pattern,
        seed: int,
        stamp_bytes: int,
        keep_outputs: bool | float,
        interrupted: bool,
        rule: StoppingRule | None,
    ) -> Result:
        virtual = self.clock_name == "virtual"
        driven = Driven(
            pattern=pattern,
            seed=seed,
            batch_size=self.batch_size,
            mix=self._samples.sizes if isinstance(self._samples, QueryMix) else (),
            instances=self.instances,
            clock="virtual" if virtual else "tsc" if self._clock.is_tsc else "clock_gettime",
            setup=None if virtual else self._setup(pattern),
            null_backend=isinstance(self.backend, NullBackend),
            isolation=None if self._isolation is None else self._isolation.facts(),
        )
        return result_of(
            driven,
            data,
            stamps=data.stamps() if stamp_bytes else None,
            outputs=self._kept.taken(data.planned, keep_outputs),
            interrupted=interrupted,
            rule=rule,
        )

    def _setup(self, pattern: Pattern) -> Setup:
        return Setup(
            open_loop=not isinstance(pattern, ClosedLoop),
            clients=pattern.clients,
            instances=self.instances,
            python=not isinstance(
                self.backend, NullBackend | NativeBackend | SimulatedDevice | Isolated
            ),
            max_samples=self.batching.max_samples // self.batch_size if self.batching else None,
            pin=self.pin,
        )


def measure(function: Callable[..., Any], *args: Any) -> Result:
    """Time ``function(*args)``: closed loop, one client, until p99 is within ±5 % or 10 s.

    ``function`` must return host data (numpy arrays, numbers, ...), computed when it returns.
    """
    call = function if len(args) == 1 else functools.partial(_call_with, function)
    with LoadGenerator(call, samples=[args[0] if len(args) == 1 else args]) as generator:
        return generator.run(
            ClosedLoop(),
            warmup=0.1,
            p99_within=0.05,
            min_duration=0.5,
            max_duration=_MEASURE_BOUND_S,
        )


def _call_with(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return function(*args)


def _clock(name: ClockName) -> _core.Clock:
    if name in ("auto", "virtual"):
        return _core.Clock.best()
    if name == "monotonic":
        return _core.Clock.monotonic()
    if name == "tsc":
        clock = _core.Clock.tsc()
        if clock is None:
            raise UsageError("clock='tsc': the kernel does not trust this machine's TSC")
        return clock
    raise UsageError(f"clock must be 'auto', 'tsc', 'monotonic' or 'virtual', not {name!r}")


_open_generators: weakref.WeakSet[LoadGenerator] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Threads must not need the interpreter after it has gone."""
    for generator in list(_open_generators):
        generator.close()
