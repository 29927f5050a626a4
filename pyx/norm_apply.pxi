# y, and x_hat, from given parameters: elementwise, in the order of memory as far as threads allow.

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


cdef inline int how_to_apply(const real* x, const real* y, const real* x_hat, const View* v, const Given* given) noexcept nogil:
    cdef int how = (ACT if given.slope != NULL else 0) | (HAT if x_hat != NULL else 0)
    if given.inv_std == NULL:
        how |= LINEAR
    return how | STREAM if pays_to_stream(v, sizeof(real)) and x != (y if x_hat == NULL else x_hat) else how


cdef void apply_all(const real* x, real* y, real* x_hat, const View* v, const Given* given, int threads) noexcept nogil:
    cdef int how = how_to_apply(x, y, x_hat, v, given)
    cdef Cut cut = cut_for(v, threads)
    cdef Py_ssize_t unit
    for unit in prange((cut.pieces + cut.more) * cut.tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        apply_part(x, y, x_hat, v, part_at(v, &cut, unit % cut.tiles, unit // cut.tiles), given, how, 0)
