# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Difference statistics of two arrays in one pass, without the GIL."""

from libc.math cimport fabs, isfinite, isinf, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

ctypedef fused real:
    float
    double
    int32_t
    int64_t
    uint8_t

# Elements are summed in blocks, and the blocks' sums with compensation: the error does not grow
# with the length of the array.
cdef enum:
    BLOCK = 4096
    SUMS = 6
    EXPONENTS = 2048


cdef inline void add(double* total, double* lost, double x) noexcept nogil:
    """Neumaier's compensated addition."""
    cdef double t = total[0] + x
    if fabs(total[0]) >= fabs(x):
        lost[0] += (total[0] - t) + x
    else:
        lost[0] += (x - t) + total[0]
    total[0] = t


def scan(const real[::1] reference, const real[::1] candidate, double[::1] sums,
         double[::1] maxima, int64_t[::1] counts, int64_t[::1] exponents):
    """Scan two arrays of one length and overwrite the accumulators.

    sums: |d|, d*d, relative |d|, r*r, c*c, r*c; with d = c - r, relative to |r|, or to 1 where r is 0.
    maxima: |d|, relative |d|.
    counts: finite pairs, NaN in the reference, in the candidate, Inf in the reference, in the
    candidate, index of the largest |d| (-1: none).
    exponents[2048]: finite pairs by the biased binary exponent of |d| as a double (0: equal).
    """
    cdef Py_ssize_t n = reference.shape[0]
    if candidate.shape[0] != n or sums.shape[0] != SUMS or maxima.shape[0] != 2:
        raise ValueError("scan: arrays of different lengths")
    if counts.shape[0] != 6 or exponents.shape[0] != EXPONENTS:
        raise ValueError("scan: accumulators of the wrong length")
    cdef double[SUMS] total
    cdef double[SUMS] lost
    cdef double[SUMS] block
    cdef double r, c, d, relative, largest = -1.0, largest_relative = 0.0
    cdef int64_t finite = 0, nan_r = 0, nan_c = 0, inf_r = 0, inf_c = 0, where = -1
    cdef uint64_t bits
    cdef Py_ssize_t start, stop, i, k
    for k in range(EXPONENTS):
        exponents[k] = 0
    with nogil:
        for k in range(SUMS):
            total[k] = 0.0
            lost[k] = 0.0
        start = 0
        while start < n:
            stop = min(start + BLOCK, n)
            for k in range(SUMS):
                block[k] = 0.0
            for i in range(start, stop):
                r = <double> reference[i]
                c = <double> candidate[i]
                if not (isfinite(r) and isfinite(c)):
                    nan_r += isnan(r) != 0
                    nan_c += isnan(c) != 0
                    inf_r += isinf(r) != 0
                    inf_c += isinf(c) != 0
                    continue
                d = fabs(c - r)
                relative = d / fabs(r) if r != 0.0 else d
                finite += 1
                block[0] += d
                block[1] += d * d
                block[2] += relative
                block[3] += r * r
                block[4] += c * c
                block[5] += r * c
                if d > largest:
                    largest = d
                    where = i
                if relative > largest_relative:
                    largest_relative = relative
                memcpy(&bits, &d, 8)
                exponents[<Py_ssize_t> (bits >> 52)] += 1
            for k in range(SUMS):
                add(&total[k], &lost[k], block[k])
            start = stop
        for k in range(SUMS):
            sums[k] = total[k] + lost[k]
        maxima[0] = largest if largest > 0.0 else 0.0
        maxima[1] = largest_relative
        counts[0] = finite
        counts[1] = nan_r
        counts[2] = nan_c
        counts[3] = inf_r
        counts[4] = inf_c
        counts[5] = where
