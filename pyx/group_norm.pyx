"""Instance, group and layer normalisation: statistics of each sample's groups of channels.

train      reads x twice (the second time from the cache where a group fits there), writes y: 8 bytes an element from memory
backward   reads x and dy twice, writes dx: 12 bytes an element; 20 where a channel has few values a sample

A group of a sample is a run of channels / groups * inner values; its sums are those of batch normalisation's rows
(norm_moments.pxi). Runs: inner >= COLUMNS_BELOW, vectors run along a channel's values, and the gradients of gamma and beta
come from the same sums as dx. Weighted: fewer, gamma and beta are laid out for each value of a sample, vectors run along
the group, and the gradients of gamma and beta are sums over columns, in a pass of their own: float over 64 samples, then
double. All in index order, groups shared out whole: the same bits for any number of threads.
"""

from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from common cimport real
from lanes cimport TILE
from norm_loops cimport *
from threads cimport threads_for
from views cimport *

from caffenorm.errors import ShapeError

include "norm_moments.pxi"


cdef extern from "group_rows.h" nogil:
    void set_group_backward(const void* x, channels* c, double inv_std, double from_x, double constant, Py_ssize_t n)
    void apply_weighted(const void* x, void* y, Py_ssize_t n, double mean, double inv_std, const void* gamma,
                        const void* beta)
    void add_weighted_gradients(const void* x, const void* dy, Py_ssize_t n, double mean, const void* gamma,
                                row_gradients* s)
    void backward_weighted(const void* x, const void* dy, void* dx, Py_ssize_t n, double mean, double inv_std,
                           const void* gamma, double from_x, double constant)
    void add_weight_gradients(const void* x, const void* dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                              const void* mean, const void* inv_std, Py_ssize_t step, double* dgamma, double* dbeta)


# Shapes, and arrays of the op's type. gamma and beta, NULL where there is none, are of each channel, or where `weighted`, of
# each of a sample's values. A group has `each` channels and `length` values; `rows` is samples * groups.
cdef struct Groups:
    Py_ssize_t samples, channels, inner, groups, each, length, rows
    bint weighted
    void* mean
    void* inv_std
    const void* gamma
    const void* beta


cdef real* laid_out(const real* values, Py_ssize_t channels, Py_ssize_t inner) except? NULL:
    """Each channel's value `inner` times."""
    cdef Py_ssize_t i
    cdef real* out = NULL
    if values != NULL:
        out = <real*>malloc(channels * inner * sizeof(real))
        if out == NULL:
            raise MemoryError("no memory for gamma and beta of each value")
        for i in range(channels * inner):
            out[i] = values[i // inner]
    return out


cdef inline const real* beyond(const real* values, Py_ssize_t n) noexcept nogil:
    """The n-th value of an array that may be missing."""
    if values == NULL:
        return NULL
    return values + n


# ---- forward ----

cdef void read_group(const real* x, const Groups* q, Py_ssize_t row, Py_ssize_t first, Py_ssize_t n,
                     channels* c) noexcept nogil:
    """The parameters of n of a group's channels from its first-th on."""
    first += row % q.groups * q.each
    fill(x, &c.mean, <const real*>q.mean + row, 0, 0, 0, n)
    fill(x, &c.inv_std, <const real*>q.inv_std + row, 0, 0, 1, n)
    fill(x, &c.gamma, q.gamma, first, 1, 1, n)
    fill(x, &c.beta, q.beta, first, 1, 0, n)
    fill(x, &c.slope, NULL, 0, 0, 0, n)


cdef void apply_group(const real* x, real* y, const Groups* q, Py_ssize_t row) noexcept nogil:
    """y of one group of one sample."""
    cdef channels c
    cdef Py_ssize_t k, n, at = row * q.length, values = row % q.groups * q.length
    if q.weighted:
        apply_weighted(x + at, y + at, q.length, (<const real*>q.mean)[row], (<const real*>q.inv_std)[row],
                       beyond(<const real*>q.gamma, values), beyond(<const real*>q.beta, values))
        return
    for k in range((q.each + TILE - 1) // TILE):
        n = min(TILE, q.each - k * TILE)
        read_group(x, q, row, k * TILE, n, &c)
        at = row * q.length + k * TILE * q.inner
        apply_rows(x + at, y + at, NULL, 1, 0, q.inner, n, 0, &c, 0)


cdef void train_tile(const real* x, real* y, const View* v, Py_ssize_t tile, const Groups* q, real* var,
                     double eps) noexcept nogil:
    cdef double[TILE] mean
    cdef double[TILE] m2
    cdef Py_ssize_t first = tile * v.tile, n = channels_of(v, tile), row
    whole_tile_moments(x, v, tile, mean, m2)
    keep_statistics(mean, m2, <double>q.length, n, <real*>q.mean + first, var + first)
    invert_std(var + first, <real*>q.inv_std + first, eps, n)
    for row in range(first, first + n):
        apply_group(x, y, q, row)


cdef int train(const real* x, real* y, const Groups* q, real* var, double eps, int threads) except -1 nogil:
    """Groups are to the statistics what channels are to those of batch normalisation."""
    cdef View v = view_of(1, q.rows, q.length, sizeof(real), threads)
    cdef Py_ssize_t k
    if in_one_go(&v, threads):
        for k in prange(v.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            train_tile(x, y, &v, k, q, var, eps)
    else:
        statistics(x, &v, <real*>q.mean, var, threads)
        invert_std(var, <real*>q.inv_std, eps, q.rows)
        for k in prange(q.rows, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            apply_group(x, y, q, k)
    return 0


# ---- backward ----

cdef void run_sums(const real* x, const real* dy, const Groups* q, Py_ssize_t row, double* g, double* gx) noexcept nogil:
    """Sums of dy and dy * (x - mean) of each channel of a group."""
    cdef channels c
    cdef row_gradients[MOST_RUNS] sums
    cdef gradients total
    cdef View v = view_of(1, q.each, q.inner, sizeof(real), 1)
    cdef Part p
    cdef Py_ssize_t tile, block, i
    for tile in range(v.tiles):
        read_group(x, q, row, tile * v.tile, channels_of(&v, tile), &c)
        memset(sums, 0, channels_of(&v, tile) * sizeof(row_gradients))
        for block in range(v.blocks):
            p = block_at(&v, tile, block)
            p.offset += row * q.length
            add_row_gradients(x + p.offset, dy + p.offset, p.rows, p.stride, p.n, p.channels, &c, 0, sums)
        for i in range(channels_of(&v, tile)):
            total = end_row_gradients(sums + i)
            g[tile * v.tile + i], gx[tile * v.tile + i] = total.g, total.gx


cdef void runs_backward(const real* x, const real* dy, real* dx, const Groups* q, Py_ssize_t row, double* g,
                        double* gx) noexcept nogil:
    """A group's sums, kept in g and gx, and its dx."""
    cdef channels c
    cdef double sum_g = 0, sum_gx = 0, weight, inv_std = (<const real*>q.inv_std)[row]
    cdef Py_ssize_t k, n, at
    run_sums(x, dy, q, row, g, gx)
    if dx == NULL:
        return
    for k in range(q.each):
        weight = 1 if q.gamma == NULL else (<const real*>q.gamma)[row % q.groups * q.each + k]
        sum_g += weight * g[k]
        sum_gx += weight * gx[k]
    for k in range((q.each + TILE - 1) // TILE):
        n = min(TILE, q.each - k * TILE)
        at = row * q.length + k * TILE * q.inner
        read_group(x, q, row, k * TILE, n, &c)
        set_group_backward(x, &c, inv_std, -inv_std * inv_std * inv_std * sum_gx / q.length, -inv_std * sum_g / q.length, n)
        backward_rows(x + at, dy + at, dx + at, 1, 0, q.inner, n, 0, &c, 0)


cdef void weighted_backward(const real* x, const real* dy, real* dx, const Groups* q, Py_ssize_t row) noexcept nogil:
    """dx of a group whose values have weights of their own."""
    cdef row_gradients sums
    cdef gradients total
    cdef double mean = (<const real*>q.mean)[row], inv_std = (<const real*>q.inv_std)[row]
    cdef Py_ssize_t start, at = row * q.length
    cdef const real* gamma = beyond(<const real*>q.gamma, row % q.groups * q.length)
    memset(&sums, 0, sizeof(sums))
    for start in range(0, q.length, 2048):
        add_weighted_gradients(x + at + start, dy + at + start, min(2048, q.length - start), mean,
                               beyond(gamma, start), &sums)
    total = end_row_gradients(&sums)
    backward_weighted(x + at, dy + at, dx + at, q.length, mean, inv_std, gamma,
                      -inv_std * inv_std * inv_std * total.gx / q.length, -inv_std * total.g / q.length)


cdef void weight_gradients(const real* x, const real* dy, const Groups* q, Py_ssize_t group, Py_ssize_t first, Py_ssize_t n,
                           real* dgamma, real* dbeta) noexcept nogil:
    """Adds the gradients of n of a group's channels from its first-th on, all samples."""
    cdef double[TILE] gamma_sums
    cdef double[TILE] beta_sums
    cdef double gamma_sum, beta_sum
    cdef Py_ssize_t sample, c, i, stride = q.channels * q.inner, at, channel
    memset(gamma_sums, 0, n * q.inner * sizeof(double))
    memset(beta_sums, 0, n * q.inner * sizeof(double))
    for sample in range(0, q.samples, 64):
        at = sample * stride + group * q.length + first * q.inner
        add_weight_gradients(x + at, dy + at, min(64, q.samples - sample), stride, n * q.inner,
                             <const real*>q.mean + sample * q.groups + group,
                             <const real*>q.inv_std + sample * q.groups + group, q.groups, gamma_sums, beta_sums)
    for c in range(n):
        gamma_sum = beta_sum = 0
        channel = group * q.each + first + c
        for i in range(c * q.inner, (c + 1) * q.inner):
            gamma_sum += gamma_sums[i]
            beta_sum += beta_sums[i]
        if dgamma != NULL:
            dgamma[channel] = <real>(dgamma[channel] + gamma_sum)
        if dbeta != NULL:
            dbeta[channel] = <real>(dbeta[channel] + beta_sum)


cdef void backward_weights(const real* x, const real* dy, real* dx, const Groups* q, real* dgamma, real* dbeta,
                           int threads) noexcept nogil:
    """Few values a channel: first the parameters' gradients, for dx may overwrite x or dy."""
    cdef Py_ssize_t k, most = max(1, TILE // q.inner), tiles = (q.each + most - 1) // most
    if dgamma != NULL or dbeta != NULL:
        for k in prange(q.groups * tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            weight_gradients(x, dy, q, k // tiles, k % tiles * most, min(most, q.each - k % tiles * most), dgamma, dbeta)
    if dx != NULL:
        for k in prange(q.rows, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            weighted_backward(x, dy, dx, q, k)


cdef int backward_runs(const real* x, const real* dy, real* dx, const Groups* q, real* dgamma, real* dbeta,
                       int threads) except -1 nogil:
    """Many values a channel: the sums serve dx and the parameters' gradients."""
    cdef Py_ssize_t k, c, at
    cdef double gamma_sum, beta_sum
    cdef double* g = <double*>malloc(2 * q.samples * q.channels * sizeof(double))
    cdef double* gx = g + q.samples * q.channels
    if g == NULL:
        raise MemoryError("no memory for sums")
    for k in prange(q.rows, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        runs_backward(x, dy, dx, q, k, g + k * q.each, gx + k * q.each)
    for c in range(q.channels):
        gamma_sum = beta_sum = 0
        for k in range(q.samples):
            at = k * q.channels + c
            beta_sum += g[at]
            gamma_sum += gx[at] * <double>(<const real*>q.inv_std)[at // q.each]
        if dgamma != NULL:
            dgamma[c] = <real>(dgamma[c] + gamma_sum)
        if dbeta != NULL:
            dbeta[c] = <real>(dbeta[c] + beta_sum)
    free(g)
    return 0


# ---- entry points ----

cdef int check_count(Py_ssize_t count, Py_ssize_t expected, str name) except -1:
    if count != expected:
        raise ShapeError(f"{name} has {count} values, expected {expected}")
    return 0


cdef int give_groups(const real[:, :, ::1] x, const real[:, :, ::1] a, const real[::1] mean, const real[::1] inv_std,
                     Py_ssize_t groups, const real[::1] gamma, const real[::1] beta, Groups* q) except -1:
    """Shapes and arrays; `a` is another array of x's shape. free_groups must follow."""
    if groups < 1 or x.shape[1] % groups != 0:
        raise ShapeError(f"{groups} groups do not divide {x.shape[1]} channels")
    if a is not None and (a.shape[0] != x.shape[0] or a.shape[1] != x.shape[1] or a.shape[2] != x.shape[2]):
        raise ShapeError(f"an array has shape {a.shape[0]} x {a.shape[1]} x {a.shape[2]}, but x has "
                         f"{x.shape[0]} x {x.shape[1]} x {x.shape[2]}")
    q.samples, q.channels, q.inner, q.groups = x.shape[0], x.shape[1], x.shape[2], groups
    q.each, q.rows = q.channels // groups, q.samples * groups
    q.length = q.each * q.inner
    q.weighted = q.inner < COLUMNS_BELOW
    check_count(mean.shape[0], q.rows, "mean")
    check_count(inv_std.shape[0], q.rows, "inv_std")
    q.mean, q.inv_std = <void*><const void*>&mean[0], <void*><const void*>&inv_std[0]
    q.gamma = q.beta = NULL
    if gamma is not None:
        check_count(gamma.shape[0], q.channels, "gamma")
        q.gamma = &gamma[0]
    if beta is not None:
        check_count(beta.shape[0], q.channels, "beta")
        q.beta = &beta[0]
    return 0


cdef int lay_out(const real* x, Groups* q) except -1:
    """Gives weighted groups copies of gamma and beta with a value for each of a sample's; free_copies must follow."""
    cdef const real* gamma = <const real*>q.gamma
    cdef const real* beta = <const real*>q.beta
    if q.weighted and q.inner > 1:
        q.gamma = q.beta = NULL
        q.gamma = laid_out(gamma, q.channels, q.inner)
        q.beta = laid_out(beta, q.channels, q.inner)
    return 0


cdef int free_copies(Groups* q) noexcept:
    if q.weighted and q.inner > 1:
        free(<void*>q.gamma)
        free(<void*>q.beta)
    return 0


def group_norm_train(const real[:, :, ::1] x, real[:, :, ::1] y, real[::1] mean, real[::1] var, real[::1] inv_std,
                     Py_ssize_t groups, double eps, const real[::1] gamma, const real[::1] beta, int threads):
    cdef Py_ssize_t size = x.shape[0] * x.shape[1] * x.shape[2]
    cdef int n = threads_for(size, threads)
    cdef Groups q
    give_groups(x, y, mean, inv_std, groups, gamma, beta, &q)
    check_count(var.shape[0], q.rows, "var")
    if size == 0:
        mean[:] = 0
        var[:] = 0
        invert_std(&var[0], &inv_std[0], eps, q.rows)
        return
    try:
        lay_out(&x[0, 0, 0], &q)
        with nogil:
            train(&x[0, 0, 0], &y[0, 0, 0], &q, &var[0], eps, n)
    finally:
        free_copies(&q)


def group_norm_backward(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[:, :, ::1] dx, const real[::1] mean,
                        const real[::1] inv_std, Py_ssize_t groups, const real[::1] gamma, real[::1] dgamma, real[::1] dbeta,
                        int threads):
    cdef Py_ssize_t size = x.shape[0] * x.shape[1] * x.shape[2]
    cdef int n = threads_for(size, threads)
    cdef Groups q
    cdef const real[::1] beta = None
    cdef real* pdx = NULL
    cdef real* pdgamma = NULL
    cdef real* pdbeta = NULL
    give_groups(x, dy, mean, inv_std, groups, gamma, beta, &q)
    give_groups(x, dx, mean, inv_std, groups, gamma, beta, &q)
    if dx is not None:
        pdx = &dx[0, 0, 0]
    if dgamma is not None:
        check_count(dgamma.shape[0], q.channels, "dgamma")
        pdgamma = &dgamma[0]
    if dbeta is not None:
        check_count(dbeta.shape[0], q.channels, "dbeta")
        pdbeta = &dbeta[0]
    if size == 0:
        return
    try:
        lay_out(&x[0, 0, 0], &q)
        with nogil:
            if q.weighted:
                backward_weights(&x[0, 0, 0], &dy[0, 0, 0], pdx, &q, pdgamma, pdbeta, n)
            else:
                backward_runs(&x[0, 0, 0], &dy[0, 0, 0], pdx, &q, pdgamma, pdbeta, n)
    finally:
        free_copies(&q)
