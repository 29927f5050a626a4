# Moving rows, columns and axes, and rows scaled and added; see tensor.pyx.

def take_rows(const real[:, ::1] x, const int64_t[::1] index, real[:, ::1] y, int threads):
    """y[i] = x[index[i]]."""
    cdef Py_ssize_t n = index.shape[0], size = x.shape[1], i
    check_counts(y.shape[0] * y.shape[1], n * size)
    if n == 0:
        return
    check_index(&index[0], n, x.shape[0])
    if size == 0:
        return
    cdef const real* px = &x[0, 0]
    cdef const int64_t* pi = &index[0]
    cdef real* py = &y[0, 0]
    cdef int used = threads_for(n * size, threads)
    for i in prange(n, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        memcpy(py + i * size, px + pi[i] * size, size * sizeof(real))


def add_rows(const real[:, ::1] dy, const int64_t[::1] index, real[:, ::1] dx, int threads):
    """dx[index[i]] += dy[i], in the order of i; threads share the columns."""
    cdef Py_ssize_t n = index.shape[0], size = dx.shape[1], i, part, parts, first, count
    check_counts(dy.shape[0] * dy.shape[1], n * size)
    if n == 0:
        return
    check_index(&index[0], n, dx.shape[0])
    if size == 0:
        return
    cdef const real* pdy = &dy[0, 0]
    cdef const int64_t* pi = &index[0]
    cdef real* pdx = &dx[0, 0]
    cdef int used = threads_for(n * size, threads)
    parts = min(used, blocks_of(size, COLUMNS))
    for part in prange(parts, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        first = size * part // parts
        count = size * (part + 1) // parts - first
        for i in range(n):
            add_to(pdy + i * size + first, pdx + pi[i] * size + first, count)


def copy_columns(const real[:, ::1] x, Py_ssize_t x_first, real[:, ::1] y, Py_ssize_t y_first, Py_ssize_t count, int threads):
    """y[:, y_first : y_first + count] = x[:, x_first : x_first + count]."""
    cdef Py_ssize_t rows = x.shape[0], blocks = blocks_of(count, BLOCK), k, at, x_size = x.shape[1], y_size = y.shape[1]
    check_counts(y.shape[0], rows)
    if x_first < 0 or y_first < 0 or count < 0 or x_first + count > x_size or y_first + count > y_size:
        raise ValueError(f"{count} columns from {x_first} of {x_size}, to {y_first} of {y_size}")
    if rows * count == 0:
        return
    cdef const real* px = &x[0, 0] + x_first
    cdef real* py = &y[0, 0] + y_first
    cdef int used = threads_for(rows * count, threads)
    for k in prange(rows * blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k % blocks * BLOCK
        memcpy(py + k // blocks * y_size + at, px + k // blocks * x_size + at, min(BLOCK, count - at) * sizeof(real))


cdef void swap_rows(const real* x, real* y, Py_ssize_t a, Py_ssize_t b, Py_ssize_t first, Py_ssize_t inner) noexcept nogil:
    """The rows first to first + SQUARE of a matrix (a, b) to columns."""
    cdef Py_ssize_t rows = min(SQUARE, a - first), column, i
    if inner == 1:
        for i in range(blocks_of(b, SQUARE)):
            column = i * SQUARE
            swap_square(x + first * b + column, y + column * a + first, rows, min(SQUARE, b - column), b, a)
        return
    for i in range(first, first + rows):
        for column in range(b):
            memcpy(y + (column * a + i) * inner, x + (i * b + column) * inner, inner * sizeof(real))


def swap_axes(const real[:, :, :, ::1] x, real[:, :, :, ::1] y, int threads):
    """y (outer, b, a, inner) = x (outer, a, b, inner) with its middle axes exchanged."""
    cdef Py_ssize_t outer = x.shape[0], a = x.shape[1], b = x.shape[2], inner = x.shape[3], strips = blocks_of(a, SQUARE), k
    check_counts(y.shape[0] * y.shape[1] * y.shape[2] * y.shape[3], outer * a * b * inner)
    if outer * a * b * inner == 0:
        return
    cdef const real* px = &x[0, 0, 0, 0]
    cdef real* py = &y[0, 0, 0, 0]
    cdef int used = threads_for(outer * a * b * inner, threads)
    for k in prange(outer * strips, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        swap_rows(px + k // strips * a * b * inner, py + k // strips * a * b * inner, a, b, k % strips * SQUARE, inner)


def scale_add(const real[::1] scale, const real[:, ::1] x, const real[:, ::1] y, real[:, ::1] out, int threads):
    """out[row] = scale[row] * x[row] + y[row]; out may be x or y."""
    cdef Py_ssize_t rows = x.shape[0], size = x.shape[1], blocks = blocks_of(size, BLOCK), k, at
    check_counts(scale.shape[0], rows)
    check_counts(y.shape[0] * y.shape[1], rows * size)
    check_counts(out.shape[0] * out.shape[1], rows * size)
    if rows * size == 0:
        return
    cdef const real* ps = &scale[0]
    cdef const real* px = &x[0, 0]
    cdef const real* py = &y[0, 0]
    cdef real* po = &out[0, 0]
    cdef int used = threads_for(rows * size, threads)
    for k in prange(rows * blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k // blocks * size + k % blocks * BLOCK
        scale_add_block(ps[k // blocks], px + at, py + at, po + at, min(BLOCK, size - k % blocks * BLOCK))
