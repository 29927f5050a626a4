"""Batch normalisation, forward and backward, with the Scale and activation that follow it."""

from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from common cimport real
from lanes cimport TILE, end_stream
from norm_loops cimport *
from threads cimport threads_for
from views cimport *

include "norm_moments.pxi"
include "norm_given.pxi"
include "norm_apply.pxi"
include "norm_sums.pxi"
include "norm_dx.pxi"


# ---- forward ----

cdef void train_tile(const real* x, real* y, real* x_hat, const View* v, Py_ssize_t tile, real* var, double eps,
                     const Given* given, int how) noexcept nogil:
    cdef double[TILE] mean
    cdef double[TILE] m2
    cdef Py_ssize_t first = tile * v.tile, n = channels_of(v, tile), piece
    cdef Cut cut = whole_tiles(v)
    whole_tile_moments(x, v, tile, mean, m2)
    keep_statistics(mean, m2, <double>(v.outer * v.inner), n, <real*>given.mean + first, var + first)
    invert_std(var + first, <real*>given.inv_std + first, eps, n)
    for piece in range(cut.pieces + cut.more):
        apply_part(x, y, x_hat, v, part_at(v, &cut, tile, piece), given, how, v.tile * v.inner if tile + 1 < v.tiles else 0)


cdef int train(const real* x, real* y, real* x_hat, const View* v, real* var, double eps, const Given* given,
               int threads) except -1 nogil:
    """Statistics and y: tile by tile in one go, or where tiles are few, one after the other."""
    cdef int how = how_to_apply(x, y, x_hat, v, given)
    cdef Py_ssize_t tile
    if in_one_go(v, threads):
        for tile in prange(v.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            train_tile(x, y, x_hat, v, tile, var, eps, given, how)
    else:
        statistics(x, v, <real*>given.mean, var, threads)
        invert_std(var, <real*>given.inv_std, eps, v.channels)
        apply_all(x, y, x_hat, v, given, threads)
    return 0


# ---- backward ----

cdef void backward_tile(const real* x, const real* dy, real* dx, const View* v, Py_ssize_t tile, const Given* given,
                        const Gradients* out, int how) noexcept nogil:
    """A tile's sums, and then its dx."""
    cdef double[TILE] g
    cdef double[TILE] gx
    cdef double[TILE] slope
    cdef channels c
    cdef Cut cut = whole_tiles(v)
    cdef Py_ssize_t piece
    read_channels(x, tile * v.tile, channels_of(v, tile), given, &c)
    whole_tile_gradients(x, dy, v, tile, &c, how_to_sum(given, out), g, gx, slope)
    finish_gradients(x, given, out, tile * v.tile, channels_of(v, tile), g, gx, slope)
    if dx != NULL:
        for piece in range(cut.pieces + cut.more):
            dx_part(x, dy, dx, v, part_at(v, &cut, tile, piece), given, g, gx, tile * v.tile,
                    1 / <double>(v.outer * v.inner), how, v.tile * v.inner if tile + 1 < v.tiles else 0)


cdef int sum_gradients(const real* x, const real* dy, const View* v, const Given* given, const Gradients* out, double* g,
                       double* g_x_hat, int threads) except -1 nogil:
    """Sums of g and g * x_hat of all channels; adds to the parameters' gradients."""
    cdef double* slope = <double*>malloc(v.channels * sizeof(double))
    if slope == NULL:
        raise MemoryError("no memory for sums")
    try:
        all_gradients(x, dy, v, given, g, g_x_hat, slope, how_to_sum(given, out), threads)
        finish_gradients(x, given, out, 0, v.channels, g, g_x_hat, slope)
    finally:
        free(slope)
    return 0


cdef int backward(const real* x, const real* dy, real* dx, const View* v, const Given* given, const Gradients* out,
                  bint use_global_stats, int threads) except -1 nogil:
    """Sums, unless nothing needs them, and dx; tile by tile in one go, or where those are few, one after the other."""
    cdef bint sums = not use_global_stats or out.gamma != NULL or out.beta != NULL or out.slope != NULL
    cdef int how = how_to_write(x, dy, dx, v, given, use_global_stats)
    cdef double* both
    cdef Py_ssize_t unit
    if sums and in_one_go(v, threads):
        for unit in prange(v.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            backward_tile(x, dy, dx, v, unit, given, out, how)
        return 0
    both = <double*>malloc(2 * v.channels * sizeof(double))
    if both == NULL:
        raise MemoryError("no memory for sums")
    try:
        if sums:
            sum_gradients(x, dy, v, given, out, both, both + v.channels, threads)
        if dx != NULL:
            apply_gradients(x, dy, dx, v, given, both, both + v.channels, 1 / <double>(v.outer * v.inner),
                            use_global_stats, threads)
    finally:
        free(both)
    return 0


# ---- entry points ----

def batch_norm_statistics(const real[:, :, ::1] x, real[::1] mean, real[::1] var, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    check_count(mean.shape[0], x.shape[1], "mean")
    check_count(var.shape[0], x.shape[1], "var")
    if size_of(x) == 0:
        mean[:] = 0
        var[:] = 0
        return
    with nogil:
        statistics(&x[0, 0, 0], &v, &mean[0], &var[0], n)


def batch_norm_moments(const real[:, :, ::1] x, double[::1] mean, double[::1] m2, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    check_count(mean.shape[0], x.shape[1], "mean")
    check_count(m2.shape[0], x.shape[1], "m2")
    if size_of(x) == 0:
        mean[:] = 0
        m2[:] = 0
        return
    with nogil:
        all_moments(&x[0, 0, 0], &v, &mean[0], &m2[0], n)


def inverse_std(const real[::1] var, real[::1] inv_std, double eps):
    check_count(inv_std.shape[0], var.shape[0], "inv_std")
    invert_std(&var[0], &inv_std[0], eps, var.shape[0])


def batch_norm_train(const real[:, :, ::1] x, real[:, :, ::1] y, real[::1] mean, real[::1] var, real[::1] inv_std,
                     double eps, const real[::1] gamma, const real[::1] beta, slope, real[:, :, ::1] x_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, y, "y")
    check_array(x, x_hat, "x_hat")
    check_count(var.shape[0], x.shape[1], "var")
    give(x, gamma, beta, slope, &given)
    give_statistics(x, mean, inv_std, &given)
    if size_of(x) == 0:
        mean[:] = 0
        var[:] = 0
        inverse_std(var, inv_std, eps)
        return
    with nogil:
        train(&x[0, 0, 0], &y[0, 0, 0], NULL if x_hat is None else &x_hat[0, 0, 0], &v, &var[0], eps, &given, n)


def batch_norm_apply(const real[:, :, ::1] x, real[:, :, ::1] y, const real[::1] mean, const real[::1] inv_std,
                     const real[::1] gamma, const real[::1] beta, slope, real[:, :, ::1] x_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, y, "y")
    check_array(x, x_hat, "x_hat")
    give(x, gamma, beta, slope, &given)
    give_statistics(x, mean, inv_std, &given)
    if size_of(x) > 0:
        with nogil:
            apply_all(&x[0, 0, 0], &y[0, 0, 0], NULL if x_hat is None else &x_hat[0, 0, 0], &v, &given, n)


def batch_norm_backward(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[:, :, ::1] dx, const real[::1] mean,
                        const real[::1] inv_std, const real[::1] gamma, const real[::1] beta, slope, real[::1] dgamma,
                        real[::1] dbeta, real[::1] dslope, bint use_global_stats, bint x_is_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    cdef Gradients out
    check_array(x, dy, "dy")
    check_array(x, dx, "dx")
    give(x, gamma, beta, slope, &given)
    give_statistics(x, mean, inv_std, &given)
    given.x_is_hat = x_is_hat
    out.gamma = targets(dgamma, x.shape[1], "dgamma")
    out.beta = targets(dbeta, x.shape[1], "dbeta")
    out.slope = targets(dslope, x.shape[1], "dslope") if slope is not None else NULL
    if size_of(x) > 0:
        with nogil:
            backward(&x[0, 0, 0], &dy[0, 0, 0], NULL if dx is None else &dx[0, 0, 0], &v, &given, &out, use_global_stats, n)


def batch_norm_backward_sums(const real[:, :, ::1] x, const real[:, :, ::1] dy, const real[::1] mean,
                             const real[::1] inv_std, double[::1] sum_g, double[::1] sum_g_x_hat, const real[::1] gamma,
                             const real[::1] beta, slope, real[::1] dslope, bint x_is_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    cdef Gradients out
    check_array(x, dy, "dy")
    check_count(sum_g.shape[0], x.shape[1], "sum_g")
    check_count(sum_g_x_hat.shape[0], x.shape[1], "sum_g_x_hat")
    give(x, gamma, beta, slope, &given)
    give_statistics(x, mean, inv_std, &given)
    given.x_is_hat = x_is_hat
    out.gamma = out.beta = NULL
    out.slope = targets(dslope, x.shape[1], "dslope") if slope is not None else NULL
    if size_of(x) == 0:
        sum_g[:] = 0
        sum_g_x_hat[:] = 0
        return
    with nogil:
        sum_gradients(&x[0, 0, 0], &dy[0, 0, 0], &v, &given, &out, &sum_g[0], &sum_g_x_hat[0], n)


def batch_norm_backward_apply(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[:, :, ::1] dx, const real[::1] mean,
                              const real[::1] inv_std, const double[::1] mean_g, const double[::1] mean_g_x_hat,
                              const real[::1] gamma, const real[::1] beta, slope, bint x_is_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, dy, "dy")
    check_array(x, dx, "dx")
    check_count(mean_g.shape[0], x.shape[1], "mean_g")
    check_count(mean_g_x_hat.shape[0], x.shape[1], "mean_g_x_hat")
    give(x, gamma, beta, slope, &given)
    give_statistics(x, mean, inv_std, &given)
    given.x_is_hat = x_is_hat
    if size_of(x) > 0:
        with nogil:
            apply_gradients(&x[0, 0, 0], &dy[0, 0, 0], &dx[0, 0, 0], &v, &given, &mean_g[0], &mean_g_x_hat[0], 1, False, n)
