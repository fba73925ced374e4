"""The process of one instance: loads what it is sent, answers batches, unloads.

Standard input brings one line of JSON and, for a backend in Python, a pickle. The parent's process,
a pipe for the word "loaded" and the descriptors of the bridge come as arguments.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .backends import load
from .bridge import Bridge
from .errors import attempt, explain, place_of
from .native import look

_PR_SET_PDEATHSIG = 1


def serve(bridge: Bridge, call: Callable[..., Any], promises_rows: bool) -> None:
    """Answer batches one after the other."""
    now = time.monotonic_ns
    while (ticket := bridge.next()) is not None:
        batch, samples = bridge.batch(ticket)
        outputs: Any = None
        error: Exception | None = None
        entered = now()
        try:
            outputs = call(batch)
        except Exception as raised:  # noqa: BLE001 - a vendor's code raises what it likes
            error = raised
        bridge.answer(ticket, entered, outputs, error, samples if promises_rows else None)


def serve_asynchronous(bridge: Bridge, submit: Callable[..., Any], promises_rows: bool) -> None:
    """Submit batches as they come; they are answered from whatever thread calls ``done``."""
    while (ticket := bridge.next()) is not None:
        batch, samples = bridge.batch(ticket)
        done = Done(bridge, ticket, samples if promises_rows else None)
        error = attempt(submit, batch, done)
        if error is not None:
            done.refuse(error)


class Done:
    """What an asynchronous backend calls once for each batch."""

    def __init__(self, bridge: Bridge, ticket: int, rows: int | None) -> None:
        self._bridge, self._ticket, self._rows = bridge, ticket, rows
        self._open = threading.Lock()  # taken by the one who answers
        self._entered = time.monotonic_ns()

    def __call__(self, outputs: Any = None, error: BaseException | None = None) -> None:
        if not self._open.acquire(blocking=False):
            self._bridge.repeat(self._ticket)
            raise RuntimeError("done() was called twice for one batch")
        self._bridge.answer(self._ticket, self._entered, outputs, error, self._rows)

    def refuse(self, error: Exception) -> None:
        """submit() failed: answer, unless it had been answered all the same."""
        if self._open.acquire(blocking=False):
            self._bridge.answer(self._ticket, self._entered, None, error, self._rows)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with the thread that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before that
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Serve the bridge, or with ``look PATH`` tell whether a shared library can be used."""
    if arguments[0] == "look":
        look(arguments[1])
        return 0
    parent, status, *descriptors = (int(text) for text in arguments)
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR1, all_threads=False)  # the parent asks where a call hangs
    try:
        spec = json.loads(sys.stdin.buffer.readline())
        loaded = load(spec, sys.stdin.buffer)
        bridge = Bridge(spec["layouts"], spec["slot_bytes"], loaded.prepare, *descriptors)
    except BaseException as error:  # noqa: BLE001 - a vendor's code may raise SystemExit
        if place_of(error) is not None:
            sys.excepthook(type(error), error, error.__traceback__)
        os.write(status, json.dumps([type(error).__name__, explain(error)]).encode() + b"\n")
        return 1
    threading.Thread(target=bridge.beat, daemon=True).start()
    os.write(status, b"loaded\n")
    os.close(status)
    run = serve_asynchronous if loaded.asynchronous else serve
    run(bridge, loaded.call, loaded.promises_rows)
    loaded.unload()
    return 0
