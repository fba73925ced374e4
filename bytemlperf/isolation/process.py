"""The parent's side of one child: start it, see how it ended, end it. It never signals any process
but its own child.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bytemlperf.errors import BackendError

CHILD = Path(__file__).parent / "bytemlperf_child" / "__main__.py"
TAIL_LINES = 12
_TAIL_BYTES = 16 << 10
_UNLOAD_S = 5.0
_STACK_S = 0.1  # for a child that hangs to write where


class ChildProcess:
    """The process of one instance; a restart is the same object's next process.

    Args:
        python: the interpreter.
        message: what the child reads, as moving.message() makes it.
        log: file that takes its standard output and error.
        log_stays: the file outlives the run, so that a message may name it.
        load_within: seconds until its backend has to be loaded.
    """

    def __init__(
        self, python: str, message: bytes, log: Path, *, log_stays: bool, load_within: float
    ) -> None:
        self._python = python
        self._message = message
        self.log = log
        self._log_stays = log_stays
        self._load_within = load_within
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._log_start = 0
        self._started = 0.0

    def start(self, *descriptors: int) -> int:
        """Start the child and wait until its backend is loaded; return its pidfd.

        Raises:
            BackendError: where it cannot be started, ends, or takes too long.
        """
        if self._killed:
            raise BackendError("the run was given up")
        status, child_status = os.pipe()
        arguments = (str(n) for n in (os.getpid(), child_status, *descriptors))
        self._started = time.monotonic()
        try:
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    [self._python, str(CHILD), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(child_status, *descriptors),
                    start_new_session=True,  # the terminal's Ctrl-C is not for it
                )
        except OSError as error:
            os.close(status)
            raise BackendError(f"{self._python}: cannot be started: {error.strerror}") from error
        finally:
            os.close(child_status)
        self._pidfd = os.pidfd_open(self._process.pid)
        try:
            self._send()
            self._wait_loaded(status)
        finally:
            os.close(status)
        return self._pidfd

    def _send(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(self._message)

    def _wait_loaded(self, status: int) -> None:
        said = b""
        deadline = self._started + self._load_within
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                kind, message = self.end(f"not loaded within {self._load_within:g} s")
                raise BackendError(f"{kind}: {message}")
            ready, _, _ = select.select([status], [], [], min(left, 1.0))
            if ready:
                part = os.read(status, 1 << 16)
                if not part:
                    kind, message = self.end("")
                    raise BackendError(f"{kind}: while it was loaded: {message}")
                said += part
        if said != b"loaded\n":
            kind, message = json.loads(said)
            self.end("")
            raise BackendError(f"{kind}: {message}{self._tail()}")

    def end(self, hung: str) -> tuple[str, str]:
        """End what is left of the child; return (class, message) of why it came to that."""
        process = self._process
        if process is None:
            return "BackendCrashed", "the process was never started"
        if hung:
            self._ask_where()
            process.kill()
        elif not _ends_within(process, 1.0):
            process.kill()
        code = process.wait()
        tail = self._tail()
        self._forget()
        if hung:
            return "BackendHung", hung + tail
        return "BackendCrashed", how_it_ended(code) + tail

    def _ask_where(self) -> None:
        """Let a hanging child write the stacks of its threads to its log."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(_STACK_S)

    def stop(self) -> None:
        """The child was asked to unload and leave: wait for it, then end it."""
        if self._process is not None:
            if not _ends_within(self._process, _UNLOAD_S):
                self._process.kill()
                self._process.wait()
            self._forget()
        if self.log.exists() and self.log.stat().st_size == 0:
            self.log.unlink()

    def kill(self) -> None:
        """End the child now, whatever it does, for good; who waits for it sees that it crashed."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def _forget(self) -> None:
        self._process = None
        os.close(self._pidfd)
        self._pidfd = -1

    def _tail(self) -> str:
        """The last lines that this process wrote, for an error's message."""
        try:
            with self.log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace").rstrip()
        except OSError:
            return ""
        if not text:
            return ""
        lines = text.splitlines()[-TAIL_LINES:]
        where = f" (all of it: {self.log})" if self._log_stays else ""
        return f"; it wrote{where}:\n  " + "\n  ".join(lines)


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def how_it_ended(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def failure_from(result: memoryview) -> tuple[str, str]:
    """Return (class, message) of a failed batch."""
    kind, message = json.loads(_head(result))
    return str(kind), str(message)


def outputs_from(result: memoryview) -> Any:
    """Return a batch's outputs; their arrays are views of ``result``."""
    head = _head(result)
    first = -(-(8 + len(head)) // 64) * 64
    return _outputs(json.loads(head), result[first:])


def _head(result: memoryview) -> bytes:
    if len(result) < 8:
        raise ValueError("the child's result is damaged")
    size = int.from_bytes(result[:8], sys.byteorder)
    if size > len(result) - 8:
        raise ValueError("the child's result is damaged")
    return bytes(result[8 : 8 + size])


def _outputs(tree: list[Any], arrays: memoryview) -> Any:
    kind, *parts = tree
    if kind == "array":
        dtype, shape, offset = parts
        return np.ndarray(shape, np.dtype(dtype), arrays, offset)
    if kind == "dict":
        names, values = parts
        return {n: _outputs(v, arrays) for n, v in zip(names, values, strict=True)}
    if kind in ("list", "tuple"):
        values = [_outputs(v, arrays) for v in parts[0]]
        return values if kind == "list" else tuple(values)
    return parts[0]
