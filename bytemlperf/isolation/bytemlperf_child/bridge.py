"""The shared memory, seen from the child. Its layout is csrc/core/bridge.h's."""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import attempt, explain
from .outputs import ALIGN, check, describe

_VERSION = 1
_SLOTS, _SLOT_MASK = 64, 0xFF
# 32-bit words of the control block.
_SPIN, _REQUESTS, _SLEEPS, _LEAVE, _ANSWERS, _PARENT_SLEEPS, _BEAT = 1, 16, 17, 18, 32, 33, 34
_REQUEST_RING, _ANSWER_RING, _FIRST_SLOT, _SLOT_WORDS = 48, 112, 176, 16
_BEAT_S = 0.25
_MOST_SKIPPED = 1023
_WAKE = (1).to_bytes(8, sys.byteorder)


class Bridge:
    """Takes batches from the parent and hands their answers back.

    Args:
        layouts: of the inputs in a slot, as moving.TensorLayout has them.
        slot_bytes: of one slot's inputs.
        prepare: makes what the backend is called with from (inputs by name, samples); once for
            each that there is.
        control, inputs, results, wake_child, wake_parent: descriptors.
    """

    def __init__(
        self,
        layouts: Sequence[Any],
        slot_bytes: int,
        prepare: Callable[[Mapping[str, Any], int], Any],
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
        self._results: memoryview | None = None
        self._wake_child, self._wake_parent = wake_child, wake_parent
        self._layouts, self._slot_bytes, self._prepare = layouts, slot_bytes, prepare
        self._batches: dict[tuple[int, int, int], Any] = {}
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

    def batch(self, ticket: int) -> tuple[Any, int]:
        """Return (what was prepared of the batch's inputs, its samples)."""
        slot = ticket & _SLOT_MASK
        base = _FIRST_SLOT + slot * _SLOT_WORDS
        layout, samples = self.words[base], self.words[base + 1]
        key = (slot, layout, samples)
        found = self._batches.get(key)
        if found is None:
            feeds = {
                name: np.ndarray(
                    ([samples] if batched else []) + shape,
                    np.dtype(dtype),
                    self._inputs,
                    slot * self._slot_bytes + offset,
                )
                for name, dtype, shape, offset, batched in self._layouts[layout]
            }
            found = self._batches[key] = self._prepare(feeds, samples)
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
            error = attempt(check, outputs, rows)
        completed = time.monotonic_ns()
        slot = ticket & _SLOT_MASK
        base = _FIRST_SLOT + slot * _SLOT_WORDS
        words = self.words
        with self._lock:
            if error is None and words[base + 2]:
                error = attempt(self._put_outputs, slot, outputs)
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
        first = -(-(8 + len(head)) // ALIGN) * ALIGN
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

    def _reserve(self, slot: int, size: int) -> tuple[int, memoryview]:
        """Return where a result goes: (offset, memory). The file grows where a slot's room is too
        small.
        """
        offset, room = self._room.get(slot, (0, 0))
        if self._results is None or size > room:
            offset, room = self._results_end, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            self._results_end += room
            os.ftruncate(self._results_fd, self._results_end)
            # PyPy's mmap takes bytes alone, its memoryview whatever has a buffer.
            self._results = memoryview(mmap.mmap(self._results_fd, self._results_end))
            self._room[slot] = (offset, room)
        return offset, self._results

    def beat(self) -> None:
        """Show, for ever, that the interpreter runs."""
        while True:
            self.words[_BEAT] = (self.words[_BEAT] + 1) & 0xFFFFFFFF
            time.sleep(_BEAT_S)
