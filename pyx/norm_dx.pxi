# dx from sums: elementwise, in the order of memory as far as threads allow.

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
