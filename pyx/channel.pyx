"""One value a channel against an array (outer, channels, inner), sums over all but the channels, and PReLU.

scale, add, prelu           one pass, read x, write y: 8 bytes an element (float32)
prelu_backward              one pass, read x and dy, write dx: 12 bytes
total, dot, prelu_slope     one pass, read one array or two: 4 or 8 bytes

These are the loops of batch normalisation without statistics: walks over rows and columns, tiles, segments and streaming are
those of views.pxd, sums those of norm_sums.pxi: float lanes over blocks of 2048 values (columns: 64 rows), blocks added in
double in index order, so the same bits for any number of threads and any build. Error of a sum: below 64 roundings of
float32 of the sum of magnitudes, usually few.
"""

from cython.parallel cimport prange
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from common cimport real
from lanes cimport TILE, end_stream
from norm_loops cimport *
from threads cimport threads_for
from views cimport *

include "norm_given.pxi"
include "norm_apply.pxi"
include "norm_sums.pxi"
include "norm_dx.pxi"


def scale(const real[:, :, ::1] x, const real[::1] gamma, real[:, :, ::1] y, const real[::1] beta, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, y, "y")
    give(x, gamma, beta, None, &given)
    if size_of(x) > 0:
        with nogil:
            apply_all(&x[0, 0, 0], &y[0, 0, 0], <real*>NULL, &v, &given, n)


def add(const real[:, :, ::1] x, const real[::1] beta, real[:, :, ::1] y, int threads):
    cdef const real[::1] gamma = None
    scale(x, gamma, y, beta, threads)


cdef int give_slope(const real[:, :, ::1] x, const real[::1] slope, Given* given) except -1:
    """A PReLU's slopes, one for each channel or one for all."""
    give_nothing(given)
    given.slope, given.slope_step = &slope[0], slope.shape[0] != 1
    if slope.shape[0] != 1:
        check_count(slope.shape[0], x.shape[1], "slope")
    return 0


def prelu(const real[:, :, ::1] x, const real[::1] slope, real[:, :, ::1] y, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, y, "y")
    give_slope(x, slope, &given)
    if size_of(x) > 0:
        with nogil:
            apply_all(&x[0, 0, 0], &y[0, 0, 0], <real*>NULL, &v, &given, n)


def prelu_backward(const real[:, :, ::1] x, const real[:, :, ::1] dy, const real[::1] slope, real[:, :, ::1] dx,
                   int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, dy, "dy")
    check_array(x, dx, "dx")
    give_slope(x, slope, &given)
    given.x_is_hat = True
    if size_of(x) > 0:
        with nogil:
            apply_gradients(&x[0, 0, 0], &dy[0, 0, 0], &dx[0, 0, 0], &v, &given, NULL, NULL, 0, True, n)


cdef int add_up(const real[:, :, ::1] a, const real[:, :, ::1] b, real[::1] out, bint accumulate, int how,
                int threads) except -1:
    """The sum that `how` names of each channel, or where out has one value, of all of them."""
    cdef int n = threads_for(size_of(a), threads)
    cdef View v
    cdef Given given
    cdef double* sums
    cdef double* wanted
    cdef Py_ssize_t c
    check_array(a, b, "b")
    if out.shape[0] == 1:
        v = view_of(1, 1, size_of(a), sizeof(real), n)
    else:
        v = walk(a, n)
        check_count(out.shape[0], a.shape[1], "out")
    if not accumulate:
        out[:] = 0
    if size_of(a) == 0:
        return 0
    give_nothing(&given)
    given.x_is_hat = True
    sums = <double*>malloc(3 * v.channels * sizeof(double))
    if sums == NULL:
        raise MemoryError("no memory for sums")
    wanted = sums if how == TOTAL else sums + v.channels if how == DOT else sums + 2 * v.channels
    try:
        with nogil:
            all_gradients(&b[0, 0, 0], &a[0, 0, 0], &v, &given, sums, sums + v.channels, sums + 2 * v.channels, how, n)
        for c in range(v.channels):
            out[c] = <real>(out[c] + wanted[c])
    finally:
        free(sums)
    return 0


def total(const real[:, :, ::1] a, real[::1] out, bint accumulate, int threads):
    add_up(a, a, out, accumulate, TOTAL, threads)


def dot(const real[:, :, ::1] a, const real[:, :, ::1] b, real[::1] out, bint accumulate, int threads):
    add_up(a, b, out, accumulate, DOT, threads)


def prelu_slope(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[::1] dslope, int threads):
    add_up(dy, x, dslope, True, ACT | SLOPE, threads)
