"""HdrHistogram's V2 encoding: what hdrhistogram.org's tools and libraries read."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable

from bytemlperf.backend import Array

# The lowest byte of a cookie gives the word size of counts; 0x10: variable length.
_V2_COOKIE = 0x1C849303 | 0x10
_V2_COMPRESSED_COOKIE = 0x1C849304 | 0x10
_DIGITS = 3


def encode(lowest: Array, counts: Array, largest: int) -> bytes:
    """Return the compressed V2 encoding in base64.

    The core's buckets are those of three significant digits from 1 ns, so each count keeps its
    place.

    Args:
        lowest: lowest value of each non-empty bucket in ns, ascending.
        counts: their counts.
        largest: the largest value recorded, ns.
    """
    words = _zigzag_words(lowest, counts)
    header = struct.pack(
        ">iiiiqqd", _V2_COOKIE, len(words), 0, _DIGITS, 1, max(2, _trackable(largest)), 1.0
    )
    packed = zlib.compress(header + words)
    return base64.b64encode(struct.pack(">ii", _V2_COMPRESSED_COOKIE, len(packed)) + packed)


def _trackable(largest: int) -> int:
    """A bound above every bucket that is used: the next power of two."""
    return 1 << max(11, largest.bit_length() + 1)


def _place(value: int) -> int:
    """Index of a value's bucket: 2048 of 1 ns, then 1024 an octave."""
    shift = max(0, value.bit_length() - 11)
    return (shift << 10) + (value >> shift)


def _zigzag_words(lowest: Iterable[int], counts: Iterable[int]) -> bytes:
    """Counts in the order of their buckets; a negative number skips that many empty ones."""
    words = bytearray()
    next_place = 0
    for value, count in zip(lowest, counts, strict=True):
        place = _place(int(value))
        if place > next_place:
            words += _zigzag(next_place - place)
        words += _zigzag(int(count))
        next_place = place + 1
    return bytes(words)


def _zigzag(number: int) -> bytes:
    """ZigZag, then LEB128 of at most 9 bytes, as in HdrHistogram's ZigZagEncoding."""
    value = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    for _ in range(8):
        if value < 0x80:
            encoded.append(value)
            return bytes(encoded)
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value & 0xFF)
    return bytes(encoded)
