# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Difference statistics of two arrays in one pass, without the GIL."""

from libc.math cimport fabs, isfinite, isinf, isnan
from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport abs
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    // The place of v's highest bit, counted from 1; 0 for 0.
    static inline int bit_length(unsigned long long v) { return v ? 64 - __builtin_clzll(v) : 0; }
    """
    int bit_length(unsigned long long v) noexcept nogil

ctypedef fused real:
    float
    double
    int32_t
    int64_t
    uint8_t

# Elements are summed in blocks, and the blocks' sums with compensation: the error does not grow
# with the length of the array. A block stays in the first-level cache.
cdef enum:
    BLOCK = 1024
    SUMS = 6
    EXPONENTS = 2048
    ULPS = 65

cdef struct State:
    double total[SUMS]
    double lost[SUMS]
    double largest
    double largest_relative
    int64_t finite
    int64_t nan_reference
    int64_t nan_candidate
    int64_t inf_reference
    int64_t inf_candidate
    int64_t where


cdef inline void add(double* total, double* lost, double x) noexcept nogil:
    """Neumaier's compensated addition."""
    cdef double t = total[0] + x
    if fabs(total[0]) >= fabs(x):
        lost[0] += (total[0] - t) + x
    else:
        lost[0] += (x - t) + total[0]
    total[0] = t


cdef inline uint64_t steps(real r, real c) noexcept nogil:
    """How many numbers of the format lie between two finite ones: the order of their bit patterns."""
    cdef int32_t r32, c32
    cdef int64_t r64, c64, distance
    if real is float:
        memcpy(&r32, &r, 4)
        memcpy(&c32, &c, 4)
        r64 = ((r32 & INT32_MAX) ^ (r32 >> 31)) - <int64_t> (r32 >> 31)
        c64 = ((c32 & INT32_MAX) ^ (c32 >> 31)) - <int64_t> (c32 >> 31)
    elif real is double:
        memcpy(&r64, &r, 8)
        memcpy(&c64, &c, 8)
        r64 = ((r64 & INT64_MAX) ^ (r64 >> 63)) - (r64 >> 63)
        c64 = ((c64 & INT64_MAX) ^ (c64 >> 63)) - (c64 >> 63)
    else:
        r64 = <int64_t> r
        c64 = <int64_t> c
    distance = <int64_t> (<uint64_t> c64 - <uint64_t> r64)
    return <uint64_t> (distance if r64 <= c64 else -distance)


cdef inline void scan_block(const real* reference, const real* candidate, Py_ssize_t n,
                            Py_ssize_t first, State* s, int64_t* exponents,
                            int64_t* ulps) noexcept nogil:
    """Add n elements, of which ``first`` is the index of the first; ``ulps`` may be NULL."""
    cdef double[SUMS] block
    cdef double r, c, d, relative
    cdef uint64_t bits
    cdef Py_ssize_t i, k
    memset(block, 0, sizeof(block))
    for i in range(n):
        r = <double> reference[i]
        c = <double> candidate[i]
        if not (isfinite(r) and isfinite(c)):
            s.nan_reference += isnan(r) != 0
            s.nan_candidate += isnan(c) != 0
            s.inf_reference += isinf(r) != 0
            s.inf_candidate += isinf(c) != 0
            continue
        d = fabs(c - r)
        relative = d / fabs(r) if r != 0.0 else d
        s.finite += 1
        block[0] += d
        block[1] += d * d
        block[2] += relative
        block[3] += r * r
        block[4] += c * c
        block[5] += r * c
        if d > s.largest:
            s.largest = d
            s.where = first + i
        if relative > s.largest_relative:
            s.largest_relative = relative
        memcpy(&bits, &d, 8)
        exponents[bits >> 52] += 1
        if ulps != NULL:
            ulps[bit_length(steps(reference[i], candidate[i]))] += 1
    for k in range(SUMS):
        add(&s.total[k], &s.lost[k], block[k])


cdef inline float widen(uint16_t h, bint brain) noexcept nogil:
    """Return a bfloat16, or a float16, as the float of the same value."""
    cdef uint32_t bits
    cdef float value
    if brain:
        bits = <uint32_t> h << 16
        memcpy(&value, &bits, 4)
        return value
    bits = <uint32_t> (h & 0x7FFF) << 13
    memcpy(&value, &bits, 4)
    value *= 5.192296858534828e33  # 2**112: the exponents' biases are 127 and 15
    memcpy(&bits, &value, 4)
    # Inf and NaN keep the largest exponent.
    bits |= <uint32_t> (h & 0x8000) << 16 | (0x7F800000 if (h & 0x7C00) == 0x7C00 else 0)
    memcpy(&value, &bits, 4)
    return value


cdef inline void ulps16(const uint16_t* reference, const uint16_t* candidate, Py_ssize_t n,
                        bint brain, int64_t* ulps) noexcept nogil:
    """Count steps between the finite ones of n 16-bit numbers."""
    cdef uint16_t exponent = 0x7F80 if brain else 0x7C00
    cdef int32_t r, c
    cdef Py_ssize_t i
    for i in range(n):
        r = reference[i]
        c = candidate[i]
        if (r & exponent) == exponent or (c & exponent) == exponent:
            continue
        r = ((r & 0x7FFF) ^ -(r >> 15)) + (r >> 15)
        c = ((c & 0x7FFF) ^ -(c >> 15)) + (c >> 15)
        ulps[bit_length(<uint32_t> abs(c - r))] += 1


cdef void start(State* s) noexcept nogil:
    memset(s, 0, sizeof(State))
    s.largest = -1.0
    s.where = -1


cdef void finish(const State* s, double[::1] sums, double[::1] maxima,
                 int64_t[::1] counts) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(SUMS):
        sums[k] = s.total[k] + s.lost[k]
    maxima[0] = s.largest if s.largest > 0.0 else 0.0
    maxima[1] = s.largest_relative
    counts[0] = s.finite
    counts[1] = s.nan_reference
    counts[2] = s.nan_candidate
    counts[3] = s.inf_reference
    counts[4] = s.inf_candidate
    counts[5] = s.where


cdef int check(Py_ssize_t n, Py_ssize_t other, double[::1] sums, double[::1] maxima,
               int64_t[::1] counts, int64_t[::1] exponents, int64_t[::1] ulps) except -1:
    if n != other:
        raise ValueError("scan: arrays of different lengths")
    if (sums.shape[0] != SUMS or maxima.shape[0] != 2 or counts.shape[0] != 6
            or exponents.shape[0] != EXPONENTS or ulps.shape[0] != ULPS):
        raise ValueError("scan: accumulators of the wrong length")
    memset(&exponents[0], 0, EXPONENTS * sizeof(int64_t))
    memset(&ulps[0], 0, ULPS * sizeof(int64_t))
    return 0


def scan(const real[::1] reference, const real[::1] candidate, double[::1] sums,
         double[::1] maxima, int64_t[::1] counts, int64_t[::1] exponents, int64_t[::1] ulps):
    """Scan two arrays of one length and overwrite the accumulators.

    sums: |d|, d*d, relative |d|, r*r, c*c, r*c; with d = c - r, relative to |r|, or to 1 where r is 0.
    maxima: |d|, relative |d|.
    counts: finite pairs, NaN in the reference, in the candidate, Inf in the reference, in the
    candidate, index of the largest |d| (-1: none).
    exponents[2048]: finite pairs by the biased binary exponent of |d| as a double (0: equal).
    ulps[65]: finite pairs by the bit length of the number of steps of the format between the two:
    0, 1, 2-3, 4-7, ...
    """
    check(reference.shape[0], candidate.shape[0], sums, maxima, counts, exponents, ulps)
    cdef State s
    cdef Py_ssize_t n = reference.shape[0], first = 0
    with nogil:
        start(&s)
        while first < n:
            scan_block(&reference[first], &candidate[first], min(BLOCK, n - first), first, &s,
                       &exponents[0], &ulps[0])
            first += BLOCK
        finish(&s, sums, maxima, counts)


def scan16(const uint16_t[::1] reference, const uint16_t[::1] candidate, bint brain,
           double[::1] sums, double[::1] maxima, int64_t[::1] counts, int64_t[::1] exponents,
           int64_t[::1] ulps):
    """The same of the bits of two float16 arrays, or two bfloat16 arrays (``brain``)."""
    check(reference.shape[0], candidate.shape[0], sums, maxima, counts, exponents, ulps)
    cdef State s
    cdef float[BLOCK] r
    cdef float[BLOCK] c
    cdef Py_ssize_t n = reference.shape[0], first = 0, size, i
    with nogil:
        start(&s)
        while first < n:
            size = min(BLOCK, n - first)
            for i in range(size):
                r[i] = widen(reference[first + i], brain)
                c[i] = widen(candidate[first + i], brain)
            scan_block(<const float*> r, <const float*> c, size, first, &s, &exponents[0], NULL)
            ulps16(&reference[first], &candidate[first], size, brain, &ulps[0])
            first += size
        finish(&s, sums, maxima, counts)
