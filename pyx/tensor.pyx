# CPU kernels of the tensor family.
#
# softmax, softmax_backward   arrays (outer, channels, inner), along the channels. inner == 1: a row at a time; else tiles of TILE
#                             neighbouring positions, channel by channel. Three passes over a tile, which stays in the cache.
#                             Floats by vector_math.h, sums in double for floats: at most 3 units in the last place.
# add_scaled                  y = a * x (first), then y += a * x: 12 B an element
# add_relu                    y = max(a + b, 0): 12 B an element
# maximum                     y = max(x, y) with the number of the winner: 16 B an element
#
# Threads share out whole rows, tiles or blocks; no sum crosses them.

from cython.parallel cimport prange
from libc.math cimport exp as exp_d

from common cimport real
from threads cimport threads_for

cdef extern from "vector_math.h" nogil:
    float fast_exp_f(float x)

cdef enum:
    TILE = 256
    BLOCK = 16384
    COST = 16           # elements of cheap work that an exponential counts as, for threads_for


cdef inline real exp_of(real x) noexcept nogil:
    if real is float:
        return fast_exp_f(x)
    else:
        return exp_d(x)


cdef void softmax_row(const real* x, real* y, Py_ssize_t channels) noexcept nogil:
    cdef Py_ssize_t c
    cdef real most = x[0], factor
    cdef double total = 0
    for c in range(1, channels):
        if x[c] > most or x[c] != x[c]:
            most = x[c]
    for c in range(channels):
        y[c] = exp_of(<real>(x[c] - most))
    for c in range(channels):
        total += y[c]
    factor = <real>(1 / total)
    for c in range(channels):
        y[c] = y[c] * factor


cdef void softmax_tile(const real* x, real* y, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t n) noexcept nogil:
    """n neighbouring positions, at most TILE."""
    cdef Py_ssize_t c, i
    cdef real[TILE] most
    cdef double[TILE] total
    for i in range(n):
        most[i] = x[i]
        total[i] = 0
    for c in range(1, channels):
        for i in range(n):
            most[i] = x[c * inner + i] if x[c * inner + i] > most[i] or x[c * inner + i] != x[c * inner + i] else most[i]
    for c in range(channels):
        for i in range(n):
            y[c * inner + i] = exp_of(<real>(x[c * inner + i] - most[i]))
        for i in range(n):
            total[i] += y[c * inner + i]
    for i in range(n):
        most[i] = <real>(1 / total[i])
    for c in range(channels):
        for i in range(n):
            y[c * inner + i] = y[c * inner + i] * most[i]


def softmax(const real[:, :, ::1] x, real[:, :, ::1] y, int threads):
    """y = exp(x - max x) / sum, along axis 1; y may be x."""
    cdef Py_ssize_t outer = x.shape[0], channels = x.shape[1], inner = x.shape[2], tiles = (inner + TILE - 1) // TILE, k, o, t
    cdef int used = threads_for(outer * channels * inner * COST, threads)
    if outer * channels * inner == 0:
        return
    if inner == 1:
        for o in prange(outer, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            softmax_row[real](&x[o, 0, 0], &y[o, 0, 0], channels)
        return
    for k in prange(outer * tiles, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        o = k // tiles
        t = k % tiles * TILE
        softmax_tile[real](&x[o, 0, t], &y[o, 0, t], channels, inner, min(TILE, inner - t))


cdef void softmax_backward_tile(
    const real* y, const real* dy, real* dx, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef double[TILE] dot
    for i in range(n):
        dot[i] = 0
    for c in range(channels):
        for i in range(n):
            dot[i] += <double>y[c * inner + i] * dy[c * inner + i]
    for c in range(channels):
        for i in range(n):
            dx[c * inner + i] = <real>(y[c * inner + i] * (dy[c * inner + i] - <real>dot[i]))


def softmax_backward(const real[:, :, ::1] y, const real[:, :, ::1] dy, real[:, :, ::1] dx, int threads):
    """dx = y * (dy - sum of y * dy), along axis 1; dx may be dy."""
    cdef Py_ssize_t outer = y.shape[0], channels = y.shape[1], inner = y.shape[2], tiles = (inner + TILE - 1) // TILE, k, o, t
    cdef int used = threads_for(outer * channels * inner * 2, threads)
    if outer * channels * inner == 0:
        return
    for k in prange(outer * tiles, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        o = k // tiles
        t = k % tiles * TILE
        softmax_backward_tile[real](&y[o, 0, t], &dy[o, 0, t], &dx[o, 0, t], channels, inner, min(TILE, inner - t))


cdef void scaled_block(const real* x, real* y, Py_ssize_t n, real a, bint first) noexcept nogil:
    cdef Py_ssize_t i
    if first:
        for i in range(n):
            y[i] = a * x[i]
    else:
        for i in range(n):
            y[i] = y[i] + a * x[i]


def add_scaled(const real[::1] x, double a, real[::1] y, bint first, int threads):
    """y = a * x where `first`, else y += a * x."""
    cdef Py_ssize_t n = x.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef int used = threads_for(n, threads)
    if n == 0:
        return
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        scaled_block[real](&x[k * BLOCK], &y[k * BLOCK], min(BLOCK, n - k * BLOCK), <real>a, first)


cdef void sum_block(const real* a, const real* b, real* y, Py_ssize_t n, bint relu) noexcept nogil:
    cdef Py_ssize_t i
    if relu:
        for i in range(n):
            y[i] = a[i] + b[i]
            y[i] = <real>0 if y[i] <= 0 else y[i]
    else:
        for i in range(n):
            y[i] = a[i] + b[i]


def add(const real[::1] a, const real[::1] b, real[::1] y, bint relu, int threads):
    """y = a + b, or max(a + b, 0)."""
    cdef Py_ssize_t n = a.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef int used = threads_for(n, threads)
    if n == 0:
        return
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        sum_block[real](&a[k * BLOCK], &b[k * BLOCK], &y[k * BLOCK], min(BLOCK, n - k * BLOCK), relu)


cdef void maximum_block(
    const real* x, real* y, int* winner, Py_ssize_t n, int number
) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint wins
    if number == 1:
        for i in range(n):
            wins = not (y[i] > x[i])
            y[i] = x[i] if wins else y[i]
            winner[i] = 1 if wins else 0
    else:
        for i in range(n):
            wins = x[i] > y[i]
            y[i] = x[i] if wins else y[i]
            winner[i] = number if wins else winner[i]


def maximum(const real[::1] x, real[::1] y, int[::1] winner, int number, int threads):
    """y = max(x, y), and winner = number where x wins: bottom 1 also on a tie, later ones only when larger."""
    cdef Py_ssize_t n = x.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef int used = threads_for(n, threads)
    if n == 0:
        return
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        maximum_block[real](&x[k * BLOCK], &y[k * BLOCK], &winner[k * BLOCK], min(BLOCK, n - k * BLOCK), number)
