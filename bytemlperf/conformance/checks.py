"""The list of checks: their names, what they run, and which of them need another to have passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bytemlperf.conformance import form, lifetime, values
from bytemlperf.conformance.bench import Bench


@dataclass(frozen=True)
class Limits:
    """How long the suite may take.

    Attributes:
        check_s: seconds after which a check counts as hung.
        leak_s: seconds of the leak check; it ends before where ``leak_calls`` are done.
        leak_calls: calls of the leak check.
    """

    check_s: float = 60.0
    leak_s: float = 60.0
    leak_calls: int = 10_000

    @property
    def compile_s(self) -> float:
        """Building and compiling takes long where a check does not."""
        return 10.0 * self.check_s


@dataclass(frozen=True)
class Check:
    """One promise of a backend. ``run`` returns what was seen, or raises CheckFailed."""

    name: str
    run: Callable[[Bench, Limits], str]
    needs: tuple[str, ...] = ()


COMPILE, LEAK = "compile", "leak"


def _compiles(bench: Bench, limits: Limits) -> str:
    """The task is prepared by whoever made the bench: what is left is to tell what came out."""
    compiled, detail = bench.task.compiled, bench.task.report.details.compile
    assert detail is not None
    return f"{detail.version}; {compiled.precision}, {compiled.coverage:.1f} % on the device"


def _check(name: str, run: Callable[[Bench], str], *needs: str) -> Check:
    return Check(name, lambda bench, limits: run(bench), needs)


_CALLED = ("completion",)
_FITS = (*_CALLED, "shapes")

CHECKS = (
    Check(COMPILE, _compiles),
    _check("first call", form.first_call, COMPILE),
    _check("completion", lifetime.completion, "first call"),
    _check("shapes", form.shapes, *_CALLED),
    _check("dtypes", form.dtypes, *_FITS),
    _check("host outputs", form.host_outputs, *_CALLED),
    _check("batch sizes", form.batch_sizes, *_FITS),
    _check("tail batches", form.tail_batches, *_FITS),
    _check("determinism", values.determinism, *_FITS),
    *(
        _check(name, values.honest(name), *_FITS)
        for name in (
            "depends on input",
            "answers its own query",
            "order of the batch",
            "no answers by input",
        )
    ),
    _check("agreement", values.agreement, *_FITS),
    _check("reload", lifetime.reload, *_FITS),
    _check("instances", lifetime.instances, *_FITS),
    _check("errors", lifetime.errors, *_FITS),
    Check(
        LEAK, lambda bench, limits: lifetime.leak(bench, limits.leak_calls, limits.leak_s), _CALLED
    ),
)
