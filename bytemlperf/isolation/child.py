"""The child's side of an isolated backend. Started by its path, with any Python from 3.9 on that
has numpy; it must not need the package that it lies in.

Standard input brings one line of JSON and then a pickled ``(backend, batch_size)``. Descriptor
numbers of the bridge come as arguments. The layout of the bridge's memory is csrc/core/bridge.h's.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import importlib
import importlib.machinery
import importlib.util
import json
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_VERSION = 1
_SLOTS, _SLOT_MASK = 64, 0xFF
# 32-bit words of the control block.
_SPIN, _REQUESTS, _SLEEPS, _LEAVE, _ANSWERS, _PARENT_SLEEPS, _BEAT = 1, 16, 17, 18, 32, 33, 34
_REQUEST_RING, _ANSWER_RING, _FIRST_SLOT, _SLOT_WORDS = 48, 112, 176, 16
_BEAT_S = 0.25
_MOST_SKIPPED = 1023
_WAKE = (1).to_bytes(8, sys.byteorder)
_ALIGN = 64
_PR_SET_PDEATHSIG = 1


class BadOutputs(Exception):
    """The backend returned what a backend may not return."""


# -- outputs -------------------------------------------------------------------------------------


def check(outputs: Any, rows: int | None = None) -> None:
    """Refuse arrays that are not numpy's, and read a byte of the others: what has not been computed
    must not pass for an answer. ``rows``: the leading dimension that arrays of a mapping need.
    """
    if outputs is None:
        return
    if isinstance(outputs, np.ndarray):
        if outputs.size:
            outputs.item(0)
    elif isinstance(outputs, dict):
        for name, value in outputs.items():
            check(value)
            if rows is not None:
                _check_rows(name, value, rows)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            check(value)
    elif hasattr(outputs, "__dlpack__") and not isinstance(outputs, np.generic):
        raise TypeError(
            f"the backend returned a {type(outputs).__name__}, which may not have been computed "
            "yet or may lie on a device; return numpy arrays"
        )


def _check_rows(name: str, value: Any, rows: int) -> None:
    shape = getattr(value, "shape", None)
    if shape is None or len(shape) == 0 or shape[0] != rows:
        raise BadOutputs(
            f"output {name!r}: expected an array with {rows} rows (the samples of the batch), got "
            f"{type(value).__name__ if shape is None else tuple(shape)}"
        )


def describe(outputs: Any, arrays: list[tuple[int, Any]], size: int = 0) -> tuple[list[Any], int]:
    """Return (a JSON tree of the outputs, the bytes that their arrays need); ``arrays`` collects
    (offset, array). process.outputs_from() is the reverse.
    """
    if isinstance(outputs, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(outputs)
        if array.dtype.hasobject:
            raise BadOutputs("an output of dtype object cannot leave its process")
        arrays.append((size, array))
        tree: list[Any] = ["array", array.dtype.str, list(np.shape(outputs)), size]
        return tree, -(-(size + array.nbytes) // _ALIGN) * _ALIGN
    if isinstance(outputs, (dict, list, tuple)):
        parts = []
        for item in outputs.values() if isinstance(outputs, dict) else outputs:
            part, size = describe(item, arrays, size)
            parts.append(part)
        if isinstance(outputs, dict):
            return ["dict", [str(key) for key in outputs], parts], size
        return [type(outputs).__name__, parts], size
    if outputs is None or isinstance(outputs, (bool, int, float, str)):
        return ["plain", outputs], size
    raise BadOutputs(f"an output of type {type(outputs).__name__} cannot leave its process")


# -- the bridge ----------------------------------------------------------------------------------


class Bridge:
    """The shared memory, seen from the child."""

    def __init__(
        self,
        layouts: Sequence[Any],
        slot_bytes: int,
        control: int,
        inputs: int,
        results: int,
        wake_child: int,
        wake_parent: int,
    ) -> None:
        self._control = mmap.mmap(control, 0)
        self.words = memoryview(self._control).cast("I")
        self.longs = memoryview(self._control).cast("q")
        if self.words[0] != _VERSION:
            raise RuntimeError(f"the bridge is of version {self.words[0]}, this is {_VERSION}")
        # Read-only: a backend that writes to its inputs is to fail here.
        self._inputs = mmap.mmap(inputs, 0, prot=mmap.PROT_READ)
        self._results_fd = results
        self._results: mmap.mmap | None = None
        self._wake_child, self._wake_parent = wake_child, wake_parent
        self._layouts, self._slot_bytes = layouts, slot_bytes
        self._feeds: dict[tuple[int, int, int], Mapping[str, Any]] = {}
        self._room: dict[int, tuple[int, int]] = {}  # slot: (offset, bytes) in the results
        self._results_end = 0
        self._taken = 0
        self._spin_ns = self.words[_SPIN]
        self._spins_to_skip = self._skip_next = 0
        self._lock = threading.Lock()  # of those who answer

    def next(self) -> int | None:
        """Wait for a batch and return its ticket, or None when the child is to end."""
        words = self.words
        if words[_REQUESTS] == self._taken and not self._spin():
            self._sleep()
        if words[_LEAVE]:
            return None
        ticket = words[_REQUEST_RING + self._taken % _SLOTS]
        self._taken = (self._taken + 1) & 0xFFFFFFFF
        return ticket

    def _spin(self) -> bool:
        """True where a request came within the spin. One in vain makes this skip twice as many."""
        if self._spin_ns == 0:
            return False
        if self._spins_to_skip:
            self._spins_to_skip -= 1
            return False
        words, taken = self.words, self._taken
        end = time.monotonic_ns() + self._spin_ns
        while time.monotonic_ns() < end:
            for _ in range(16):
                if words[_REQUESTS] != taken:
                    self._skip_next = 0
                    return True
        self._skip_next = self._spins_to_skip = min(2 * self._skip_next + 1, _MOST_SKIPPED)
        return False

    def _sleep(self) -> None:
        words = self.words
        while words[_REQUESTS] == self._taken and not words[_LEAVE]:
            words[_SLEEPS] = 1
            with self._lock:  # a barrier: the note that this sleeps comes before the last look
                pass
            if words[_REQUESTS] == self._taken and not words[_LEAVE]:
                os.read(self._wake_child, 8)
        if self._spin_ns:  # elsewhere every request is announced, see csrc/core/bridge.cpp
            words[_SLEEPS] = 0

    def feeds(self, ticket: int) -> tuple[Mapping[str, Any], int]:
        """Return (the batch's inputs, its samples); each mapping is made once."""
        slot = ticket & _SLOT_MASK
        base = _FIRST_SLOT + slot * _SLOT_WORDS
        layout, samples = self.words[base], self.words[base + 1]
        key = (slot, layout, samples)
        found = self._feeds.get(key)
        if found is None:
            found = self._feeds[key] = types.MappingProxyType(
                {
                    name: np.ndarray(
                        ([samples] if batched else []) + shape,
                        np.dtype(dtype),
                        self._inputs,
                        slot * self._slot_bytes + offset,
                    )
                    for name, dtype, shape, offset, batched in self._layouts[layout]
                }
            )
        return found, samples

    def answer(
        self,
        ticket: int,
        entered: int,
        outputs: Any,
        error: BaseException | None,
        rows: int | None,
    ) -> None:
        """Stamp and hand a batch back; ``error`` is an exception or None. From any thread."""
        if error is None:
            error = _attempt(check, outputs, rows)
        completed = time.monotonic_ns()
        slot = ticket & _SLOT_MASK
        base = _FIRST_SLOT + slot * _SLOT_WORDS
        words = self.words
        with self._lock:
            if error is None and words[base + 2]:
                error = _attempt(self._put_outputs, slot, outputs)
            if error is not None:
                self._put(slot, json.dumps([type(error).__name__, explain(error)]).encode(), ())
            words[base + 3] = error is not None
            self.longs[base // 2 + 2] = entered
            self.longs[base // 2 + 3] = completed
            self._announce(ticket)
        # The lock is a barrier: the parent sees the answer, or this its note that it sleeps.
        if words[_PARENT_SLEEPS]:
            os.write(self._wake_parent, _WAKE)

    def repeat(self, ticket: int) -> None:
        """Tell that a batch was completed again; its slot may be another batch's by now."""
        with self._lock:
            self._announce(ticket)
        os.write(self._wake_parent, _WAKE)

    def _announce(self, ticket: int) -> None:
        answers = self.words[_ANSWERS]
        self.words[_ANSWER_RING + answers % _SLOTS] = ticket
        self.words[_ANSWERS] = (answers + 1) & 0xFFFFFFFF

    def _put_outputs(self, slot: int, outputs: Any) -> None:
        arrays: list[tuple[int, Any]] = []
        tree, _ = describe(outputs, arrays)
        self._put(slot, json.dumps(tree).encode(), arrays)

    def _put(self, slot: int, head: bytes, arrays: Sequence[tuple[int, Any]]) -> None:
        """Write a result: 8 bytes of the head's length, the head, the arrays from 64-byte bounds."""
        first = -(-(8 + len(head)) // _ALIGN) * _ALIGN
        size = first + (arrays[-1][0] + arrays[-1][1].nbytes if arrays else 0)
        start, results = self._reserve(slot, size)
        results[start : start + 8] = len(head).to_bytes(8, sys.byteorder)
        results[start + 8 : start + 8 + len(head)] = head
        for offset, array in arrays:
            at = start + first + offset
            results[at : at + array.nbytes] = array.reshape(-1).view(np.uint8).data
        base = (_FIRST_SLOT + slot * _SLOT_WORDS) // 2
        self.longs[base + 4] = start
        self.longs[base + 5] = size

    def _reserve(self, slot: int, size: int) -> tuple[int, mmap.mmap]:
        """Return where a result goes: (offset, memory). The file grows where a slot's room is too
        small.
        """
        offset, room = self._room.get(slot, (0, 0))
        if self._results is None or size > room:
            offset, room = self._results_end, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            self._results_end += room
            os.ftruncate(self._results_fd, self._results_end)
            self._results = mmap.mmap(self._results_fd, self._results_end)
            self._room[slot] = (offset, room)
        return offset, self._results

    def beat(self) -> None:
        """Show, for ever, that the interpreter runs."""
        while True:
            self.words[_BEAT] = (self.words[_BEAT] + 1) & 0xFFFFFFFF
            time.sleep(_BEAT_S)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Exception | None:
    """Call a function and return what it raised, or None."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - a vendor's code raises what it likes
        return error
    return None


def explain(error: BaseException) -> str:
    """The message, and where in the backend it was raised."""
    trace = error.__traceback__
    if trace is None:
        return str(error)
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return str(error) if file == __file__ else f"{error} ({file}:{trace.tb_lineno})"


# -- the backend ---------------------------------------------------------------------------------


def prepare_imports(spec: Mapping[str, Any]) -> None:
    """Make the parent's modules importable: by its path, else by folder or file."""
    sys.path[:] = [*spec["sys_path"], *(p for p in sys.path[1:] if p not in spec["sys_path"])]
    for package, folders in spec["packages"].items():
        if not _importable(package):  # its folder, without its compiled parts
            found = importlib.machinery.ModuleSpec(package, None, is_package=True)
            found.submodule_search_locations = folders
            sys.modules[package] = importlib.util.module_from_spec(found)
    for name, file in spec["files"].items():
        if name == "__main__" or not _importable(name):
            _load_file(name, file)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _load_file(name: str, file: str) -> None:
    # As multiprocessing has it: the part of a script under `if __name__ == "__main__"` does not run.
    called = "__mp_main__" if name == "__main__" else name
    found = importlib.util.spec_from_file_location(called, file)
    if found is None or found.loader is None:
        raise ImportError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = sys.modules[called] = module
    found.loader.exec_module(module)


def build(
    backend: Any, batch_size: int
) -> tuple[Callable[..., Any], bool, bool, Callable[[], None]]:
    """Return (the loaded backend's function, is it asynchronous, does it promise rows, unload)."""
    target = backend.func if isinstance(backend, functools.partial) else backend
    instance = backend() if isinstance(target, type) else backend
    unload = getattr(instance, "unload", None) or (lambda: None)
    if hasattr(instance, "load"):
        instance.load(batch_size)
    if hasattr(instance, "submit"):
        return instance.submit, True, hasattr(instance, "predict"), unload
    if hasattr(instance, "predict"):
        return instance.predict, False, True, unload
    return instance, False, False, unload


def serve(bridge: Bridge, predict: Callable[..., Any], promises_rows: bool) -> None:
    """Answer batches one after the other."""
    now = time.monotonic_ns
    while (ticket := bridge.next()) is not None:
        feeds, samples = bridge.feeds(ticket)
        outputs: Any = None
        error: Exception | None = None
        entered = now()
        try:
            outputs = predict(feeds)
        except Exception as raised:  # noqa: BLE001 - a vendor's code raises what it likes
            error = raised
        bridge.answer(ticket, entered, outputs, error, samples if promises_rows else None)


def serve_asynchronous(bridge: Bridge, submit: Callable[..., Any], promises_rows: bool) -> None:
    """Submit batches as they come; they are answered from whatever thread calls ``done``."""
    while (ticket := bridge.next()) is not None:
        feeds, samples = bridge.feeds(ticket)
        done = Done(bridge, ticket, samples if promises_rows else None)
        error = _attempt(submit, feeds, done)
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
    parent, status, *descriptors = (int(text) for text in arguments)
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR1, all_threads=False)  # the parent asks where a call hangs
    spec = json.loads(sys.stdin.buffer.readline())
    bridge = Bridge(spec["layouts"], spec["slot_bytes"], *descriptors)
    try:
        prepare_imports(spec)
        backend, batch_size = pickle.loads(sys.stdin.buffer.read())
        call, asynchronous, promises_rows, unload = build(backend, batch_size)
    except BaseException as error:  # noqa: BLE001 - a vendor's code may raise SystemExit
        sys.excepthook(type(error), error, error.__traceback__)
        os.write(status, json.dumps([type(error).__name__, explain(error)]).encode() + b"\n")
        return 1
    threading.Thread(target=bridge.beat, daemon=True).start()
    os.write(status, b"loaded\n")
    os.close(status)
    (serve_asynchronous if asynchronous else serve)(bridge, call, promises_rows)
    unload()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
