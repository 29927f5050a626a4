# Means and variances.

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
        start_row_sums(x + p.offset + i * v.inner, p.rows, v.stride, p.n, row + i)
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
