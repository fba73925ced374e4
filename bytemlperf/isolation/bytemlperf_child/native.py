"""A shared library behind the C interface, called through ctypes: no GIL is held in its calls.

What is refused, and in which words, is csrc/core/plugin.cpp's.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import interface as c
from .errors import BadOutputs, NativeError

_NUMBERS = {name: number for number, name in c.DTYPES.items()}
# Handles that are kept, so that a second completion finds the batch that it repeats.
_REMEMBERED = 1024
_BFLOAT16 = _NUMBERS["bfloat16"]


class Library:
    """A loaded library that has been found fit to be called.

    Raises:
        NativeError: names the file: not loadable, no entry point, another version of the
            interface, or a table without what a backend has.
    """

    def __init__(self, path: str) -> None:
        try:
            loaded = ctypes.CDLL(path)
        except OSError as error:
            raise NativeError(f"{path}: cannot be loaded: {error}") from error
        try:
            table = c.entry_point(loaded)()
        except AttributeError as error:
            raise NativeError(f"{path}: exports no function bytemlperf_backend()") from error
        problem = "bytemlperf_backend() returned NULL" if not table else _problem(table.contents)
        if problem:
            raise NativeError(f"{path}: {problem}")
        self.api = table.contents
        self.asynchronous = bool(self.api.capabilities & c.ASYNCHRONOUS)
        self.max_in_flight = int(self.api.max_in_flight) if self.asynchronous else 0
        self.name = _text(self.api.name, path)


def _problem(api: Any) -> str:
    """Why this table cannot be used, or an empty string."""
    if api.abi_version != c.ABI_VERSION:
        return (
            f"was built for version {api.abi_version} of the interface, this is {c.ABI_VERSION}: "
            "rebuild it with this bytemlperf/backend.h"
        )
    if not c.has(api, "last_error"):
        return (
            f"its table says it has {api.size} bytes, too few for the functions that every "
            "backend has"
        )
    if not (api.create and api.load and api.destroy and api.last_error):
        return "create, load, destroy and last_error must not be NULL"
    if not api.capabilities & c.ASYNCHRONOUS:
        return "" if api.predict else "predict is NULL"
    if not c.has(api, "max_in_flight") or not api.submit:
        return "says it is asynchronous and has no submit"
    if not 1 <= api.max_in_flight <= c.MOST_IN_FLIGHT:
        return f"max_in_flight is {api.max_in_flight}, not between 1 and {c.MOST_IN_FLIGHT}"
    return ""


def look(path: str) -> None:
    """Print a JSON list for the parent: (what is wrong or None, ``max_in_flight``)."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no part of it
    try:
        found: list[Any] = [None, Library(path).max_in_flight]
    except NativeError as error:
        found = [str(error), 0]
    os.write(answer, json.dumps(found).encode())


def load_native(library: Library, config: str, batch_size: int) -> Instance:
    """Return an instance that is loaded for batches of up to ``batch_size`` samples."""
    kind = AsynchronousInstance if library.asynchronous else SynchronousInstance
    return kind(library, config, batch_size)


class Instance:
    """One instance of a library; created, called and destroyed on one thread."""

    call: Callable[..., Any]

    def __init__(self, library: Library, config: str, batch_size: int) -> None:
        self._api = library.api
        self._self = ctypes.c_void_p()
        self._views = OutputViews()
        # The library keeps a pointer to it, and it must keep the functions.
        self._host = c.Host(ctypes.sizeof(c.Host), None, c.DONE(self._done), c.ON_TOKENS(_ignore))
        host, self_pointer = ctypes.byref(self._host), ctypes.byref(self._self)
        if self._api.create(config.encode(), host, self_pointer) != 0 or self._self.value is None:
            self._self = ctypes.c_void_p()
            raise NativeError(f"{library.name}: create failed: {self._last_error()}")
        if self._api.load(self._self, batch_size) != 0:
            reason = self._last_error()
            self.unload()
            raise NativeError(f"{library.name}: load failed: {reason}")

    def prepare(self, feeds: Mapping[str, Any], samples: int) -> Any:
        """Return a reference to the batch that describes these inputs; it keeps them."""
        tensors = (c.Tensor * len(feeds))()
        kept: list[Any] = [feeds, tensors]
        for tensor, name in zip(tensors, feeds):  # noqa: B905 - strict is not in 3.9
            array = feeds[name]
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            tensor.size = ctypes.sizeof(c.Tensor)
            tensor.name = name.encode()
            tensor.dtype = _NUMBERS[array.dtype.name]
            tensor.rank = array.ndim
            tensor.shape = shape
            tensor.data = array.ctypes.data
            kept.append(shape)
        batch: Any = c.Batch(ctypes.sizeof(c.Batch), samples, len(feeds), tensors)
        batch.kept = kept
        return ctypes.byref(batch)

    def unload(self) -> None:
        if self._self.value is not None:
            self._api.destroy(self._self)
            self._self = ctypes.c_void_p()

    def _last_error(self) -> str:
        return _text(self._api.last_error(self._self), "no reason given")

    def _done(self, context: Any, handle: int, outputs: Any, error: bytes | None) -> None:
        """What an asynchronous library calls for each batch."""
        _complain(f"done() for handle {handle}, which was never given")


class SynchronousInstance(Instance):
    def __init__(self, library: Library, config: str, batch_size: int) -> None:
        super().__init__(library, config, batch_size)
        self._predict = self._api.predict  # each look at the table makes a new function
        self._outputs = c.Outputs(ctypes.sizeof(c.Outputs), 0, None)
        self._outputs_reference = ctypes.byref(self._outputs)

    def call(self, batch: Any) -> dict[str, Any]:
        """Run a batch; its outputs are views of the library's memory until the next call."""
        outputs = self._outputs
        outputs.count, outputs.tensors = 0, None
        if self._predict(self._self, batch, self._outputs_reference) != 0:
            raise NativeError(self._last_error())
        return self._views.of(outputs)


class AsynchronousInstance(Instance):
    def __init__(self, library: Library, config: str, batch_size: int) -> None:
        self._handles = itertools.count(1)
        self._given: list[tuple[int, Any]] = [(0, None)] * _REMEMBERED
        super().__init__(library, config, batch_size)
        self._submit = self._api.submit

    def call(self, batch: Any, done: Callable[..., None]) -> None:
        """Submit a batch. ``done`` is called with views that are valid until it returns."""
        handle = next(self._handles)
        self._given[handle % _REMEMBERED] = (handle, done)
        if self._submit(self._self, batch, handle) != 0:
            raise NativeError(self._last_error())

    def _done(self, context: Any, handle: int, outputs: Any, error: bytes | None) -> None:
        given, done = self._given[handle % _REMEMBERED]
        if given != handle or done is None:
            super()._done(context, handle, outputs, error)
            return
        arrays: dict[str, Any] | None = None
        failure: Exception | None = None
        try:
            if error is not None:
                raise NativeError(_text(error, ""))
            if not outputs:
                raise BadOutputs("done() without outputs and without an error")
            arrays = self._views.of(outputs.contents)
        except (BadOutputs, NativeError) as raised:
            failure = raised
        try:
            done(arrays, failure)
        except RuntimeError as repeated:  # which has been counted
            _complain(f"{repeated} (handle {handle})")


class OutputViews:
    """Views of a library's outputs. A library mostly describes the same memory again: where every
    byte of its description is what it was, so are the views. This is in the service time.
    """

    def __init__(self) -> None:
        # Of the last outputs: count, address, (part of the description, its bytes), views. One
        # object, for done() is called from several threads.
        self._last: tuple[int, int | None, list[tuple[Any, bytes]], dict[str, Any]]
        self._last = (0, None, [], {})

    def of(self, outputs: Any) -> dict[str, Any]:
        """Return the outputs by name.

        Raises:
            BadOutputs: where they cannot be right.
        """
        count, tensors, described, found = self._last
        if outputs.count == count and outputs.tensors == tensors:
            for part, was in described:
                if part.raw != was:
                    break
            else:
                return found
        return self._describe(outputs.count, outputs.tensors)

    def _describe(self, count: int, tensors: int | None) -> dict[str, Any]:
        if count == 0:
            return {}
        if not tensors:
            raise BadOutputs("outputs without tensors")
        parts = [_bytes_at(tensors, count * c.TENSOR.size)]
        found: dict[str, Any] = {}
        copied = False
        for size, name, dtype, rank, shape, data in c.TENSOR.iter_unpack(parts[0].raw):
            if size < c.TENSOR.size:
                raise BadOutputs("a tensor with a wrong size field")
            named = ctypes.string_at(name) if name else None
            text = _text(named, "?")
            if not 1 <= rank <= c.MOST_DIMENSIONS or not shape:
                raise BadOutputs(f"output {text!r} has no shape")
            parts.append(_bytes_at(shape, 8 * rank))
            found[text] = _view(text, data, dtype, parts[-1].raw)
            if named is not None:
                parts.append(_bytes_at(name, len(named) + 1))
            copied = copied or dtype == _BFLOAT16
        if not copied:
            self._last = (count, tensors, [(part, part.raw) for part in parts], found)
        return found


def _bytes_at(address: int, size: int) -> Any:
    return (ctypes.c_char * size).from_address(address)


def _view(name: str, data: int | None, dtype: int, dimensions: bytes) -> Any:
    if dtype not in c.DTYPES:
        raise BadOutputs(f"output {name!r} has an unknown dtype")
    shape = np.frombuffer(dimensions, np.int64)
    stored = np.dtype("uint16" if dtype == _BFLOAT16 else c.DTYPES[dtype])
    if shape.min() <= 0:
        return np.zeros(np.maximum(shape, 0), stored)
    if not data:
        raise BadOutputs(f"output {name!r} has no data")
    memory = _bytes_at(data, math.prod(shape.tolist()) * stored.itemsize)
    array = np.frombuffer(memory, stored).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == _BFLOAT16 else array


def _text(found: bytes | None, otherwise: str) -> str:
    return otherwise if found is None else found.decode("utf-8", "replace")


def _ignore(context: Any, handle: int, count: int) -> None:
    """Tokens are part of the interface; the generator does not count them yet."""


def _complain(text: str) -> None:
    print(f"bytemlperf: {text}", file=sys.stderr, flush=True)
