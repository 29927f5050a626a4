# Sums over all but the channels: what backward needs, and plain sums and products.

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
