"""Batch normalisation, forward and backward, with the Scale and activation that follow it."""

from cpython.sequence cimport PySequence_Check
from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from common cimport real
from lanes cimport TILE, end_stream
from norm_loops cimport *
from threads cimport threads_for
from views cimport *

from caffenorm.errors import ShapeError

# What an op is given for each channel: arrays of the op's type, NULL where there is none. With slope_step 0 the slope is one
# value for all channels.
cdef struct Given:
    void* mean
    void* inv_std
    const void* gamma
    const void* beta
    const void* slope
    Py_ssize_t slope_step
    float one_float
    double one_double
    bint x_is_hat


# ---- statistics ----

cdef void tile_moments(const real* x, const View* v, Py_ssize_t tile, Py_ssize_t segment, double* mean,
                       double* m2) noexcept nogil:
    """Mean and sum of squared deviations of a tile's channels in one segment."""
    cdef column_sums column
    cdef row_sums[MOST_RUNS] row
    cdef moments m
    cdef Part p
    cdef Py_ssize_t i, k
    if v.repeat:
        p = strip_at(v, tile, segment)
        start_column_sums(x + p.offset, p.rows, p.stride, p.channels * v.inner, p.repeat, v.inner, &column)
        for i in range((p.rows + ROWS - 1) // ROWS):
            add_column_sums(x + p.offset + i * ROWS * p.stride, min(ROWS, p.rows - i * ROWS), p.stride, &column)
        end_column_sums(x, &column, mean, m2)
        return
    p = block_at(v, tile, first_block(v, segment))
    for i in range(p.channels):
        start_row_sums(x + p.offset + i * v.inner, p.n, row + i)
    for k in range(first_block(v, segment), first_block(v, segment + 1)):
        p = block_at(v, tile, k)
        add_row_sums(x + p.offset, p.rows, v.stride, p.n, p.channels, row)
    for i in range(p.channels):
        m = end_row_sums(row + i)
        mean[i], m2[i] = m.mean, m.m2


cdef void whole_tile_moments(const real* x, const View* v, Py_ssize_t tile, double* mean, double* m2) noexcept nogil:
    """The same in all segments, merged in order."""
    cdef double[TILE] more_mean
    cdef double[TILE] more_m2
    cdef double count = values_in(v, 0), more
    cdef Py_ssize_t segment
    tile_moments(x, v, tile, 0, mean, m2)
    for segment in range(1, v.segments):
        tile_moments(x, v, tile, segment, more_mean, more_m2)
        more = values_in(v, segment)
        merge_moments(count, mean, m2, more, more_mean, more_m2, channels_of(v, tile))
        count += more


cdef int all_moments(const real* x, const View* v, double* mean, double* m2, int threads) except -1 nogil:
    """The same for all channels, with threads sharing tiles and segments."""
    cdef Py_ssize_t unit, tile, segment, size = v.segments * v.channels
    cdef double count = values_in(v, 0)
    cdef double* parts = <double*>malloc(2 * size * sizeof(double))
    if parts == NULL:
        raise MemoryError("no memory for partial sums")
    for unit in prange(v.tiles * v.segments, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        tile = unit % v.tiles
        segment = unit // v.tiles
        tile_moments(x, v, tile, segment, parts + segment * v.channels + tile * v.tile,
                     parts + size + segment * v.channels + tile * v.tile)
    for segment in range(1, v.segments):
        merge_moments(count, parts, parts + size, values_in(v, segment), parts + segment * v.channels,
                      parts + size + segment * v.channels, v.channels)
        count += values_in(v, segment)
    for unit in range(v.channels):
        mean[unit], m2[unit] = parts[unit], parts[size + unit]
    free(parts)
    return 0


cdef void keep_statistics(const double* mean, const double* m2, double count, Py_ssize_t channels, real* out_mean,
                          real* var) noexcept nogil:
    cdef Py_ssize_t c
    cdef double share = 1 / count
    for c in range(channels):
        out_mean[c] = <real>mean[c]
        var[c] = <real>(m2[c] * share)


cdef void invert_std(const real* var, real* inv_std, double eps, Py_ssize_t channels) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(channels):
        inv_std[c] = <real>(1 / sqrt(<double>var[c] + eps))


# ---- forward ----

cdef void read_channels(const real* x, Py_ssize_t first, Py_ssize_t n, const Given* given, channels* c) noexcept nogil:
    """The parameters of n channels, but for those of backward. x says which type the arrays have."""
    fill(x, &c.mean, NULL if given.x_is_hat else given.mean, first, 1, 0, n)
    fill(x, &c.inv_std, NULL if given.x_is_hat else given.inv_std, first, 1, 1, n)
    fill(x, &c.gamma, given.gamma, first, 1, 1, n)
    fill(x, &c.beta, given.beta, first, 1, 0, n)
    fill(x, &c.slope, given.slope, first, given.slope_step, 0, n)


cdef void apply_part(const real* x, real* y, real* x_hat, const View* v, Part p, const Given* given, int how,
                     Py_ssize_t ahead) noexcept nogil:
    cdef channels c
    cdef columns column
    cdef real* h = NULL if x_hat == NULL else x_hat + p.offset
    read_channels(x, p.first, p.channels, given, &c)
    if v.repeat:
        column.width, column.repeat, column.inner = p.channels * v.inner, p.repeat, v.inner
        set_columns(x, &c, False, &column)
        apply_columns(x + p.offset, y + p.offset, h, p.rows, p.stride, ahead, &column, how)
    else:
        apply_rows(x + p.offset, y + p.offset, h, p.rows, p.stride, p.n, p.channels, ahead, &c, how)
    if how & STREAM:
        end_stream()


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


cdef int statistics(const real* x, const View* v, real* mean, real* var, int threads) except -1 nogil:
    cdef double* both = <double*>malloc(2 * v.channels * sizeof(double))
    if both == NULL:
        raise MemoryError("no memory for partial sums")
    try:
        all_moments(x, v, both, both + v.channels, threads)
        keep_statistics(both, both + v.channels, <double>(v.outer * v.inner), v.channels, mean, var)
    finally:
        free(both)
    return 0


cdef int forward(const real* x, real* y, real* x_hat, const View* v, real* var, double eps, const Given* given,
                 int threads) except -1 nogil:
    """Statistics where var is given, and y; channel by channel in one go, or where those are few, one after the other."""
    cdef int how = (ACT if given.slope != NULL else 0) | (HAT if x_hat != NULL else 0)
    cdef Cut cut
    cdef Py_ssize_t unit
    if pays_to_stream(v, sizeof(real)) and x != (y if x_hat == NULL else x_hat):
        how |= STREAM
    if var != NULL and in_one_go(v, threads):
        for unit in prange(v.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
            train_tile(x, y, x_hat, v, unit, var, eps, given, how)
        return 0
    if var != NULL:
        statistics(x, v, <real*>given.mean, var, threads)
        invert_std(var, <real*>given.inv_std, eps, v.channels)
    cut = cut_for(v, threads)
    for unit in prange((cut.pieces + cut.more) * cut.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        apply_part(x, y, x_hat, v, part_at(v, &cut, unit % cut.tiles, unit // cut.tiles), given, how, 0)
    return 0



# ---- backward ----

# What backward adds to, arrays of the op's type or NULL.
cdef struct Gradients:
    void* gamma
    void* beta
    void* slope


cdef inline int how_to_sum(const Given* given, const Gradients* out) noexcept nogil:
    return (ACT if given.slope != NULL else 0) | (SLOPE if out.slope != NULL else 0)


cdef void tile_gradients(const real* x, const real* dy, const View* v, Py_ssize_t tile, Py_ssize_t segment,
                         const channels* c, int how, double* g, double* gx, double* slope) noexcept nogil:
    """Sums of g, g * (x - mean) and of what is for the slope, of a tile's channels in one segment."""
    cdef column_gradients column_sums
    cdef row_gradients[MOST_RUNS] row_sums
    cdef gradients sums
    cdef columns column
    cdef Part p
    cdef Py_ssize_t i, k
    if v.repeat:
        p = strip_at(v, tile, segment)
        column.width, column.repeat, column.inner = p.channels * v.inner, p.repeat, v.inner
        set_columns(x, c, False, &column)
        start_column_gradients(&column, &column_sums)
        for i in range((p.rows + ROWS - 1) // ROWS):
            add_column_gradients(x + p.offset + i * ROWS * p.stride, dy + p.offset + i * ROWS * p.stride,
                                 min(ROWS, p.rows - i * ROWS), p.stride, &column, how, &column_sums)
        end_column_gradients(&column, &column_sums, g, gx, slope)
        return
    memset(row_sums, 0, channels_of(v, tile) * sizeof(row_gradients))
    for k in range(first_block(v, segment), first_block(v, segment + 1)):
        p = block_at(v, tile, k)
        add_row_gradients(x + p.offset, dy + p.offset, p.rows, p.stride, p.n, p.channels, c, how, row_sums)
    for i in range(channels_of(v, tile)):
        sums = end_row_gradients(row_sums + i)
        g[i], gx[i], slope[i] = sums.g, sums.gx, sums.slope


cdef void whole_tile_gradients(const real* x, const real* dy, const View* v, Py_ssize_t tile, const channels* c, int how,
                               double* g, double* gx, double* slope) noexcept nogil:
    """The same in all segments, added in order."""
    cdef double[TILE] more_g
    cdef double[TILE] more_gx
    cdef double[TILE] more_slope
    cdef Py_ssize_t segment, i
    tile_gradients(x, dy, v, tile, 0, c, how, g, gx, slope)
    for segment in range(1, v.segments):
        tile_gradients(x, dy, v, tile, segment, c, how, more_g, more_gx, more_slope)
        for i in range(channels_of(v, tile)):
            g[i] += more_g[i]
            gx[i] += more_gx[i]
            slope[i] += more_slope[i]


cdef void finish_gradients(const real* x, const Given* given, const Gradients* out, Py_ssize_t first, Py_ssize_t n,
                           double* g, double* gx, double* slope) noexcept nogil:
    """Turns sums of g * (x - mean) into such of g * x_hat, and adds to the parameters' gradients."""
    cdef real* dgamma = <real*>out.gamma
    cdef real* dbeta = <real*>out.beta
    cdef real* dslope = <real*>out.slope
    cdef Py_ssize_t c
    for c in range(n):
        if not given.x_is_hat:
            gx[c] *= <double>(<const real*>given.inv_std)[first + c]
        if dgamma != NULL:
            dgamma[first + c] = <real>(dgamma[first + c] + gx[c])
        if dbeta != NULL:
            dbeta[first + c] = <real>(dbeta[first + c] + g[c])
        if dslope != NULL:
            dslope[first + c] = <real>(dslope[first + c] + slope[c])


cdef int all_gradients(const real* x, const real* dy, const View* v, const Given* given, double* g, double* gx,
                       double* slope, int how, int threads) except -1 nogil:
    """The same for all channels, with threads sharing tiles and segments."""
    cdef Py_ssize_t unit, segment, c, size = v.segments * v.channels
    cdef double* parts = <double*>malloc(3 * size * sizeof(double))
    if parts == NULL:
        raise MemoryError("no memory for partial sums")
    for unit in prange(v.tiles * v.segments, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        gradients_unit(x, dy, v, unit % v.tiles, unit // v.tiles, given, how, parts, size)
    for c in range(v.channels):
        g[c] = gx[c] = slope[c] = 0
        for segment in range(v.segments):
            g[c] += parts[segment * v.channels + c]
            gx[c] += parts[size + segment * v.channels + c]
            slope[c] += parts[2 * size + segment * v.channels + c]
    free(parts)
    return 0


cdef void gradients_unit(const real* x, const real* dy, const View* v, Py_ssize_t tile, Py_ssize_t segment,
                         const Given* given, int how, double* parts, Py_ssize_t size) noexcept nogil:
    cdef channels c
    cdef double* part = parts + segment * v.channels + tile * v.tile
    read_channels(x, tile * v.tile, channels_of(v, tile), given, &c)
    tile_gradients(x, dy, v, tile, segment, &c, how, part, part + size, part + 2 * size)


cdef void dx_part(const real* x, const real* dy, real* dx, const View* v, Part p, const Given* given, const double* g,
                  const double* g_x_hat, Py_ssize_t base, double share, int how, Py_ssize_t ahead) noexcept nogil:
    """dx from share times the sums of the channels from `base` on; of given statistics, without sums."""
    cdef channels c
    cdef columns column
    cdef const double* sums = NULL
    cdef const double* sums_x_hat = NULL
    if not how & GIVEN:
        sums, sums_x_hat = g + (p.first - base), g_x_hat + (p.first - base)
    read_channels(x, p.first, p.channels, given, &c)
    set_backward(x, &c, given.inv_std, p.first, sums, sums_x_hat, share, p.channels)
    if v.repeat:
        column.width, column.repeat, column.inner = p.channels * v.inner, p.repeat, v.inner
        set_columns(x, &c, True, &column)
        backward_columns(x + p.offset, dy + p.offset, dx + p.offset, p.rows, p.stride, ahead, &column, how)
    else:
        backward_rows(x + p.offset, dy + p.offset, dx + p.offset, p.rows, p.stride, p.n, p.channels, ahead, &c, how)
    if how & STREAM:
        end_stream()


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


cdef int how_to_write(const real* x, const real* dy, const real* dx, const View* v, const Given* given,
                      bint use_global_stats) noexcept nogil:
    cdef int how = (ACT if given.slope != NULL else 0) | (GIVEN if use_global_stats else 0)
    return how | STREAM if pays_to_stream(v, sizeof(real)) and dx != dy and dx != x else how


cdef void apply_gradients(const real* x, const real* dy, real* dx, const View* v, const Given* given, const double* g,
                          const double* g_x_hat, double share, bint use_global_stats, int threads) noexcept nogil:
    """dx of all channels, from share times their sums."""
    cdef int how = how_to_write(x, dy, dx, v, given, use_global_stats)
    cdef Cut cut = cut_for(v, threads)
    cdef Py_ssize_t unit
    for unit in prange((cut.pieces + cut.more) * cut.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        dx_part(x, dy, dx, v, part_at(v, &cut, unit % cut.tiles, unit // cut.tiles), given, g, g_x_hat, 0, share, how, 0)


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


# ---- entry points: they check shapes, for what they pass on is pointers ----

cdef int check_array(const real[:, :, ::1] x, const real[:, :, ::1] a, str name) except -1:
    """Raises unless an array has x's shape, or is None."""
    if a is not None and (a.shape[0] != x.shape[0] or a.shape[1] != x.shape[1] or a.shape[2] != x.shape[2]):
        raise ShapeError(f"{name} has shape {a.shape[0]} x {a.shape[1]} x {a.shape[2]}, but x has "
                         f"{x.shape[0]} x {x.shape[1]} x {x.shape[2]}")
    return 0


cdef int check_count(Py_ssize_t count, Py_ssize_t channels, str name) except -1:
    if count != channels:
        raise ShapeError(f"{name} has {count} values, but x has {channels} channels")
    return 0


cdef real* values(real[::1] a, Py_ssize_t channels, str name) except? NULL:
    """The first of an array's values, one a channel; NULL for None."""
    if a is None:
        return NULL
    check_count(a.shape[0], channels, name)
    return &a[0]


cdef int give(const real[:, :, ::1] x, const real[::1] mean, const real[::1] inv_std, const real[::1] gamma,
              const real[::1] beta, object slope, Given* given) except -1:
    """What is given for each channel. The pointers live as long as the arrays and `given`."""
    cdef Py_ssize_t channels = x.shape[1]
    cdef const real[::1] slopes
    check_count(mean.shape[0], channels, "mean")
    check_count(inv_std.shape[0], channels, "inv_std")
    given.mean, given.inv_std = <void*><const void*>&mean[0], <void*><const void*>&inv_std[0]
    given.gamma = given.beta = given.slope = NULL
    given.x_is_hat = False
    if gamma is not None:
        check_count(gamma.shape[0], channels, "gamma")
        given.gamma = &gamma[0]
    if beta is not None:
        check_count(beta.shape[0], channels, "beta")
        given.beta = &beta[0]
    if slope is None:
        return 0
    if PySequence_Check(slope):
        slopes = slope
        check_count(slopes.shape[0], channels, "slope")
        given.slope, given.slope_step = &slopes[0], 1
    else:
        given.one_float = given.one_double = slope
        given.slope, given.slope_step = <const void*>&given.one_float if real is float else <const void*>&given.one_double, 0
    return 0


cdef inline View walk(const real[:, :, ::1] x, int threads) noexcept:
    return view_of(x.shape[0], x.shape[1], x.shape[2], sizeof(real), threads)


cdef inline Py_ssize_t size_of(const real[:, :, ::1] x) noexcept:
    return x.shape[0] * x.shape[1] * x.shape[2]


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
    give(x, mean, inv_std, gamma, beta, slope, &given)
    if size_of(x) == 0:
        mean[:] = 0
        var[:] = 0
        inverse_std(var, inv_std, eps)
        return
    with nogil:
        forward(&x[0, 0, 0], &y[0, 0, 0], NULL if x_hat is None else &x_hat[0, 0, 0], &v, &var[0], eps, &given, n)


def batch_norm_apply(const real[:, :, ::1] x, real[:, :, ::1] y, const real[::1] mean, const real[::1] inv_std,
                     const real[::1] gamma, const real[::1] beta, slope, real[:, :, ::1] x_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    check_array(x, y, "y")
    check_array(x, x_hat, "x_hat")
    give(x, mean, inv_std, gamma, beta, slope, &given)
    if size_of(x) > 0:
        with nogil:
            forward(&x[0, 0, 0], &y[0, 0, 0], NULL if x_hat is None else &x_hat[0, 0, 0], &v, NULL, 0, &given, n)


def batch_norm_backward(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[:, :, ::1] dx, const real[::1] mean,
                        const real[::1] inv_std, const real[::1] gamma, const real[::1] beta, slope, real[::1] dgamma,
                        real[::1] dbeta, real[::1] dslope, bint use_global_stats, bint x_is_hat, int threads):
    cdef int n = threads_for(size_of(x), threads)
    cdef View v = walk(x, n)
    cdef Given given
    cdef Gradients out
    check_array(x, dy, "dy")
    check_array(x, dx, "dx")
    give(x, mean, inv_std, gamma, beta, slope, &given)
    given.x_is_hat = x_is_hat
    out.gamma = values(dgamma, x.shape[1], "dgamma")
    out.beta = values(dbeta, x.shape[1], "dbeta")
    out.slope = values(dslope, x.shape[1], "dslope") if slope is not None else NULL
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
    give(x, mean, inv_std, gamma, beta, slope, &given)
    given.x_is_hat = x_is_hat
    out.gamma = out.beta = NULL
    out.slope = values(dslope, x.shape[1], "dslope") if slope is not None else NULL
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
    give(x, mean, inv_std, gamma, beta, slope, &given)
    given.x_is_hat = x_is_hat
    if size_of(x) > 0:
        with nogil:
            apply_gradients(&x[0, 0, 0], &dy[0, 0, 0], &dx[0, 0, 0], &v, &given, &mean_g[0], &mean_g_x_hat[0], 1, False, n)
