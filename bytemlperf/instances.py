"""From what the user calls a backend to a function that makes one instance of it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from bytemlperf.errors import UsageError

Predict = Callable[..., Any]
Made = tuple[Predict, Callable[[], None]]

_MOST_IN_FLIGHT = 64


def instance_maker(backend: Any, batch_size: int) -> Callable[[], Made]:
    """Return a function that makes one instance: (predict, unload). The core calls it on each
    instance's own thread.

    Raises:
        UsageError: where ``backend`` is none of the kinds that can be driven.
    """
    if _builds_instances(backend):

        def build() -> Made:
            instance = backend()
            _load(instance, batch_size)
            return _call(instance), getattr(instance, "unload", _nothing)

        return build
    if hasattr(backend, "predict") or hasattr(backend, "submit"):
        return _share(backend, batch_size)
    if callable(backend):
        return lambda: (backend, _nothing)
    raise UsageError(
        f"a backend is a callable, or has a predict method; {type(backend).__name__} has neither"
    )


def in_flight(backend: Any) -> int:
    """Return how many batches an asynchronous backend takes at once, 0 for a synchronous one.

    A backend is asynchronous where it has ``submit(feeds, done)``; ``max_in_flight`` is read from
    its class or object, before any instance is built (default 1).

    Raises:
        UsageError: where ``max_in_flight`` is not between 1 and 64.
    """
    kind = backend.func if isinstance(backend, functools.partial) else backend
    if not hasattr(kind, "submit"):
        return 0
    depth = getattr(kind, "max_in_flight", 1)
    if not isinstance(depth, int) or not 1 <= depth <= _MOST_IN_FLIGHT:
        raise UsageError(f"max_in_flight must lie between 1 and {_MOST_IN_FLIGHT}, not {depth!r}")
    return depth


def threads_of(backend: Any) -> int:
    """Return the threads that an instance computes with, as far as the backend says."""
    kind = backend.func if isinstance(backend, functools.partial) else backend
    found = getattr(kind, "threads_per_instance", 1)
    return found if isinstance(found, int) else 1


def _call(instance: Any) -> Predict:
    """What the core calls: submit where there is one, else predict."""
    call: Predict = instance.submit if hasattr(instance, "submit") else instance.predict
    return call


def _builds_instances(backend: Any) -> bool:
    if isinstance(backend, functools.partial):
        return isinstance(backend.func, type)
    return isinstance(backend, type)


def _share(backend: Any, batch_size: int) -> Callable[[], Made]:
    """One object for all instances: loaded by the first, unloaded with the last."""
    lock = threading.Lock()
    users = 0

    def build() -> Made:
        nonlocal users
        with lock:
            if users == 0:
                _load(backend, batch_size)
            users += 1
        return _call(backend), leave

    def leave() -> None:
        nonlocal users
        with lock:
            users -= 1
            if users == 0:
                getattr(backend, "unload", _nothing)()

    return build


def _load(instance: Any, batch_size: int) -> None:
    load = getattr(instance, "load", None)
    if load is not None:
        load(batch_size)


def _nothing() -> None:
    pass
