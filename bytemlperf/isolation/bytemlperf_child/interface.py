"""csrc/include/bytemlperf/backend.h for ctypes: the same structs, member by member."""

from __future__ import annotations

import ctypes
import struct
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

ABI_VERSION = 1
ASYNCHRONOUS = 1 << 0
TENSOR = struct.Struct("@NPiiPP")  # a Tensor's members at once: ctypes takes long for each
MOST_IN_FLIGHT = 64
MOST_DIMENSIONS = 32

# bytemlperf_dtype by number. numpy has no bfloat16: its upper half of a float32 is widened.
DTYPES = {
    0: "bool",
    1: "uint8",
    2: "int8",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "bfloat16",
    7: "float32",
    8: "float64",
}


class Tensor(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("name", c_char_p),
        ("dtype", c_int),
        ("rank", c_int32),
        ("shape", POINTER(c_int64)),
        ("data", c_void_p),
    )


class Batch(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("samples", c_uint32),
        ("input_count", c_uint32),
        ("inputs", POINTER(Tensor)),
    )


class Outputs(Structure):
    _fields_ = (("size", c_size_t), ("count", c_uint32), ("tensors", c_void_p))


DONE = CFUNCTYPE(None, c_void_p, c_uint64, POINTER(Outputs), c_char_p)
ON_TOKENS = CFUNCTYPE(None, c_void_p, c_uint64, c_uint32)


class Host(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("context", c_void_p),
        ("done", DONE),
        ("on_tokens", ON_TOKENS),
    )


class Api(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("abi_version", c_uint32),
        ("capabilities", c_uint32),
        ("name", c_char_p),
        ("create", CFUNCTYPE(c_int, c_char_p, POINTER(Host), POINTER(c_void_p))),
        ("load", CFUNCTYPE(c_int, c_void_p, c_uint32)),
        ("predict", CFUNCTYPE(c_int, c_void_p, POINTER(Batch), POINTER(Outputs))),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("last_error", CFUNCTYPE(c_char_p, c_void_p)),
        ("submit", CFUNCTYPE(c_int, c_void_p, POINTER(Batch), c_uint64)),
        ("max_in_flight", c_uint32),
    )


def has(api: Any, member: str) -> bool:
    """True where the library's table, as it was compiled, has all of this member."""
    found = getattr(Api, member)
    return bool(found.offset + found.size <= api.size)


def entry_point(library: ctypes.CDLL) -> Any:
    """Return ``bytemlperf_backend``; raises AttributeError where it is not exported."""
    entry = library.bytemlperf_backend
    entry.restype = POINTER(Api)
    entry.argtypes = ()
    return entry
