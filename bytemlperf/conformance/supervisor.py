"""Runs the checks in a child, one after the other; a crash or a hang of it is a row."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from bytemlperf.conformance.checks import CHECKS, LEAK, Check, Limits
from bytemlperf.conformance.child import serve
from bytemlperf.engine import Request
from bytemlperf.errors import UsageError, did_you_mean
from bytemlperf.report.schema import Conformance, ConformanceCheck
from bytemlperf.stamp import write_stamp

# A backend that crashed or hung so often does so in the other checks too.
_ENOUGH_DEATHS = 3
_POLL_S = 0.05
_LAST_WORDS_S = 5.0

Row = ConformanceCheck


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: ``found`` holds what was checked until then."""

    def __init__(self, found: Conformance) -> None:
        super().__init__("interrupted")
        self.found = found


def check_backend(
    request: Request,
    version: str,
    limits: Limits | None = None,
    only: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda name, fraction: None,
) -> Conformance:
    """Run the conformance suite, and stamp the backend's files with what it found.

    Args:
        request: the backend, and the task whose model it is tried with.
        version: of this package.
        only: names of checks to run beside those that they need; no stamp then.
        progress: called before each check.

    Raises:
        UsageError: where no check has one of the names.
        Interrupted: on Ctrl-C, after the child has been ended.
    """
    suite = _Suite(request, version, limits or Limits())
    wanted = _with_needs(only)
    try:
        for number, check in enumerate(wanted):
            progress(check.name, number / len(wanted))
            suite.run(check)
        suite.leave()
    except KeyboardInterrupt:
        raise Interrupted(suite.found()) from None
    finally:
        suite.kill()
    if not only:
        write_stamp(request.backend, suite.found())
    return suite.found()


class _Suite:
    """The rows so far, and the child that makes the next one."""

    def __init__(self, request: Request, version: str, limits: Limits) -> None:
        self._request = request
        self._version = version
        self._limits = limits
        self._child: _Child | None = None
        self._deaths = 0
        self._rows: list[Row] = []
        self._about = ("unknown", False)

    def run(self, check: Check) -> None:
        passed = {row.name for row in self._rows if row.outcome in ("passed", "not applicable")}
        lacking = [name for name in check.needs if name not in passed]
        if lacking or self._deaths >= _ENOUGH_DEATHS:
            why = f"{lacking[0]} did not pass" if lacking else f"it died {self._deaths} times"
            self._rows.append(Row(name=check.name, outcome="not run", detail=why, seconds=0.0))
            return
        if self._child is None:
            self._child = _Child(self._request, self._limits, self._version)
        row, about = self._child.run(check.name)
        self._about = about or self._about
        self._rows.append(row)
        if row.outcome in ("crashed", "hung"):
            self._deaths += 1
            self.kill()

    def leave(self) -> None:
        """Let the child unload what it has."""
        if self._child is not None:
            self._child.leave()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def found(self) -> Conformance:
        return Conformance(
            backend=self._request.backend.name,
            date=time.strftime("%Y-%m-%d %H:%M:%S"),
            version=self._version,
            backend_version=self._about[0],
            task=self._request.workload.model,
            preset=self._request.preset,
            simulated=self._about[1],
            checks=list(self._rows),
        )


def _with_needs(only: Sequence[str]) -> list[Check]:
    if not only:
        return list(CHECKS)
    known = {check.name: check for check in CHECKS}
    wanted: set[str] = set()
    waiting = list(only)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise UsageError(f"no check is named {name!r}{did_you_mean(name, known)}")
        wanted.add(name)
        waiting += known[name].needs
    return [check for check in CHECKS if check.name in wanted]


class _Child:
    """A process that runs checks until it is told to end, or dies of one."""

    def __init__(self, request: Request, limits: Limits, version: str) -> None:
        self._limits = limits
        self._fresh = True
        self._folder = tempfile.TemporaryDirectory(prefix="bytemlperf-check-")
        self._trace = Path(self._folder.name) / "trace"
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, request, limits, version, self._trace)
        )
        self._process.start()
        theirs.close()

    def run(self, name: str) -> tuple[Row, tuple[str, bool] | None]:
        """Run one check; returns its row, and what the backend says about itself where it did."""
        allowed = self._limits.check_s
        if self._fresh:  # it compiles before its first check
            allowed += self._limits.compile_s
        if name == LEAK:
            allowed += self._limits.leak_s
        self._fresh = False
        start = time.monotonic()
        with contextlib.suppress(OSError):  # it died before: seen below
            self._connection.send(name)
        while time.monotonic() - start < allowed:
            try:
                if self._connection.poll(_POLL_S):
                    row, about = self._connection.recv()
                    return row, about
            except (EOFError, OSError):
                self._process.join(_LAST_WORDS_S)
            if not self._process.is_alive():
                return self._dead(name, "crashed", self._cause(), start), None
        # Its last words are the stack that it hangs in.
        self._signal(signal.SIGABRT)
        self._process.join(_LAST_WORDS_S)
        return self._dead(name, "hung", f"no end after {allowed:g} s", start), None

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(None)
            self._process.join(_LAST_WORDS_S)

    def kill(self) -> None:
        """End the process and all that it started."""
        self._signal(signal.SIGKILL)
        self._process.kill()  # it may not have come as far as its own group
        self._process.join()
        self._connection.close()
        self._folder.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the child's group; nothing where there is none (yet, or any more)."""
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _cause(self) -> str:
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _dead(self, name: str, outcome: Literal["crashed", "hung"], why: str, start: float) -> Row:
        seconds = round(time.monotonic() - start, 3)
        return Row(name=name, outcome=outcome, detail=why + self._where(), seconds=seconds)

    def _where(self) -> str:
        """The innermost Python line of the thread that died, from the trace that it left."""
        try:
            text = self._trace.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = re.findall(r'^  File "(.+)", line (\d+) in (\S+)', text, re.MULTILINE)
        if not lines:
            return ""
        file, line, function = lines[0]
        return f" in {function}() at {Path(file).name}:{line}"
