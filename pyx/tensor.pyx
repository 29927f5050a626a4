# CPU kernels of the tensor family: softmax, several arrays to one, reductions, and moving rows and axes.
#
# softmax, softmax_backward   arrays (outer, channels, inner) along the channels; inner == 1: a row at a time, else tiles of
#                             POSITIONS neighbours. Three passes over what stays in the cache, an exponential an element
# sum_of, product_of, largest_of   one pass over all operands, 4 B each and 4 B written (float); sum_of streams large sums
# winner                      dx = dy where that operand won, else 0: 12 B an element
# reduce, spread              sums over rows, of values, sizes or squares, and their gradient: 4 B and 8 B an element
# top                         the largest values of (outer, channels, inner) along the channels, and their places: a heap
#                             of k for each position, O(channels log k)
# take_rows, add_rows         rows by number: y[i] = x[index[i]], dx[index[i]] += dy[i]
# copy_columns                some columns of one matrix to some of another: what joins and cuts blobs
# swap_axes                   (outer, a, b, inner) to (outer, b, a, inner); squares of SQUARE where inner == 1
# scale_add                   out = scale[row] * x + y: 12 B an element
#
# tensor_top.pxi has the largest values, tensor_moves.pxi the rows, columns and axes; tensor_loops.h the inner loops. Sums
# are accumulated in double: over lanes within blocks of BLOCK, over blocks in the order of their index; so results are the
# same for any number of threads and any instruction set.

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from common cimport real
from threads cimport threads_for

cdef extern from "tensor_loops.h" nogil:
    enum: POSITIONS, SQUARE, STREAMED_BYTES
    void softmax_row(const void* x, void* y, Py_ssize_t channels)
    void softmax_columns(const void* x, void* y, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t n)
    void softmax_backward_row(const void* y, const void* dy, void* dx, Py_ssize_t channels)
    void softmax_backward_columns(const void* y, const void* dy, void* dx, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t n)
    void sum_block(const void** arrays, const double* weights, Py_ssize_t count, Py_ssize_t at, void* y, Py_ssize_t n,
                   bint activated, double slope, bint streamed)
    void product_block(const void** arrays, Py_ssize_t count, Py_ssize_t at, void* y, Py_ssize_t n)
    void largest_block(const void** arrays, Py_ssize_t count, Py_ssize_t at, void* y, int32_t* winner, Py_ssize_t n)
    void winner_block(const void* dy, const int32_t* winner, int32_t number, void* dx, Py_ssize_t n)
    double reduce_block(int operation, const void* x, Py_ssize_t n)
    void spread_block(int operation, const void* x, double factor, void* dx, Py_ssize_t n)
    void scale_add_block(double scale, const void* x, const void* y, void* out, Py_ssize_t n)
    void add_to(const void* source, void* target, Py_ssize_t n)
    void swap_square(const void* x, void* y, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t x_stride, Py_ssize_t y_stride)

cdef enum:
    BLOCK = 16384       # 64 KiB of floats
    EXP_COST = 8        # elements of cheap work that an exponential counts as
    HEAP_COST = 8       # and a value that a heap looks at
    CACHE_LINE = 64
    COLUMNS = 64        # columns that a thread of add_rows takes at least: no two write one cache line


cdef inline Py_ssize_t blocks_of(Py_ssize_t count, Py_ssize_t size) noexcept nogil:
    return (count + size - 1) // size


cdef Py_ssize_t check_counts(Py_ssize_t found, Py_ssize_t expected) except -1:
    if found != expected:
        raise ValueError(f"arrays of {found} and {expected} values in one call")
    return 0


cdef Py_ssize_t check_index(const int64_t* index, Py_ssize_t n, Py_ssize_t rows) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        if index[i] < 0 or index[i] >= rows:
            raise IndexError(f"row {index[i]} at place {i}, of {rows} rows")
    return 0


# ---- softmax -----------------------------------------------------------------------------------------------


def softmax(const real[:, :, ::1] x, real[:, :, ::1] y, int threads):
    """y = exp(x - max x) / sum, along axis 1; y may be x."""
    cdef Py_ssize_t outer = x.shape[0], channels = x.shape[1], inner = x.shape[2]
    cdef Py_ssize_t tiles = blocks_of(inner, POSITIONS), k, at
    check_counts(y.shape[0] * y.shape[1] * y.shape[2], outer * channels * inner)
    if outer * channels * inner == 0:
        return
    cdef const real* px = &x[0, 0, 0]
    cdef real* py = &y[0, 0, 0]
    cdef int used = threads_for(outer * channels * inner * EXP_COST, threads)
    if inner == 1:
        for k in prange(outer, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            softmax_row(px + k * channels, py + k * channels, channels)
    else:
        for k in prange(outer * tiles, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            at = k // tiles * channels * inner + k % tiles * POSITIONS
            softmax_columns(px + at, py + at, channels, inner, min(POSITIONS, inner - k % tiles * POSITIONS))


def softmax_backward(const real[:, :, ::1] y, const real[:, :, ::1] dy, real[:, :, ::1] dx, int threads):
    """dx = (dy - sum of y * dy) * y, along axis 1; dx may be dy."""
    cdef Py_ssize_t outer = y.shape[0], channels = y.shape[1], inner = y.shape[2]
    cdef Py_ssize_t tiles = blocks_of(inner, POSITIONS), k, at
    check_counts(dy.shape[0] * dy.shape[1] * dy.shape[2], outer * channels * inner)
    check_counts(dx.shape[0] * dx.shape[1] * dx.shape[2], outer * channels * inner)
    if outer * channels * inner == 0:
        return
    cdef const real* py = &y[0, 0, 0]
    cdef const real* pdy = &dy[0, 0, 0]
    cdef real* pdx = &dx[0, 0, 0]
    cdef int used = threads_for(outer * channels * inner * 2, threads)
    if inner == 1:
        for k in prange(outer, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            softmax_backward_row(py + k * channels, pdy + k * channels, pdx + k * channels, channels)
    else:
        for k in prange(outer * tiles, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            at = k // tiles * channels * inner + k % tiles * POSITIONS
            softmax_backward_columns(py + at, pdy + at, pdx + at, channels, inner,
                                     min(POSITIONS, inner - k % tiles * POSITIONS))


# ---- several arrays to one ---------------------------------------------------------------------------------


cdef class Operands:
    """The addresses of flat arrays of one length and dtype, with a weight for each."""

    cdef const void** arrays
    cdef double* weights
    cdef Py_ssize_t count
    cdef list kept

    def __cinit__(self, Py_ssize_t count):
        self.count = count
        self.kept = []
        self.arrays = <const void**>malloc((count + 1) * sizeof(void*))
        self.weights = <double*>malloc((count + 1) * sizeof(double))
        if self.arrays == NULL or self.weights == NULL:
            raise MemoryError("no memory for the addresses of operands")

    def __dealloc__(self):
        free(self.arrays)
        free(self.weights)


cdef Operands operands(list arrays, real[::1] like):
    """The operands, each as long as `like`, with weights of 1."""
    cdef Operands found = Operands(len(arrays))
    cdef const real[::1] view
    cdef Py_ssize_t k
    if not arrays:
        raise ValueError("no operands")
    for k in range(found.count):
        view = arrays[k]
        check_counts(view.shape[0], like.shape[0])
        found.kept.append(arrays[k])
        found.arrays[k] = &view[0] if view.shape[0] else NULL
        found.weights[k] = 1
    return found


def sum_of(list arrays, weights, real[::1] y, bint activated, double slope, int threads):
    """y = sum of weights[k] * arrays[k], then (leaky) ReLU where `activated`; y may be any of the arrays."""
    cdef Operands given = operands(arrays, y)
    cdef Py_ssize_t n = y.shape[0], blocks = blocks_of(n, BLOCK), k, at
    if weights is not None:
        check_counts(len(weights), given.count)
        for k in range(given.count):
            given.weights[k] = weights[k]
    if n == 0:
        return
    cdef const void** addresses = given.arrays
    cdef const double* factors = given.weights
    cdef Py_ssize_t count = given.count
    cdef real* py = &y[0]
    cdef bint streamed = n * sizeof(real) >= STREAMED_BYTES and <size_t>py % CACHE_LINE == 0
    for k in range(count):
        if addresses[k] == <const void*>py:
            streamed = False
    cdef int used = threads_for(n * count, threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k * BLOCK
        sum_block(addresses, factors, count, at, py + at, min(BLOCK, n - at), activated, slope, streamed)


def product_of(list arrays, real[::1] y, int threads):
    """y = product of the arrays, from the first on; y may be any of them."""
    cdef Operands given = operands(arrays, y)
    cdef Py_ssize_t n = y.shape[0], blocks = blocks_of(n, BLOCK), k, at, count = given.count
    if n == 0:
        return
    cdef const void** addresses = given.arrays
    cdef real* py = &y[0]
    cdef int used = threads_for(n * count, threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k * BLOCK
        product_block(addresses, count, at, py + at, min(BLOCK, n - at))


def largest_of(list arrays, real[::1] y, int32_t[::1] winner, int threads):
    """y = largest of the arrays, and whose it is (None: not wanted); y may be any of the arrays."""
    cdef Operands given = operands(arrays, y)
    cdef Py_ssize_t n = y.shape[0], blocks = blocks_of(n, BLOCK), k, at, count = given.count
    cdef int32_t* won = NULL
    if winner is not None:
        check_counts(winner.shape[0], n)
    if n == 0:
        return
    if winner is not None:
        won = &winner[0]
    cdef const void** addresses = given.arrays
    cdef real* py = &y[0]
    cdef int used = threads_for(n * count, threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k * BLOCK
        largest_block(addresses, count, at, py + at, NULL if won == NULL else won + at, min(BLOCK, n - at))


def winner(const real[::1] dy, const int32_t[::1] won, int number, real[::1] dx, int threads):
    """dx = dy where `won` is `number`, else 0; dx may be dy."""
    cdef Py_ssize_t n = dy.shape[0], blocks = blocks_of(n, BLOCK), k, at
    check_counts(won.shape[0], n)
    check_counts(dx.shape[0], n)
    if n == 0:
        return
    cdef const real* pdy = &dy[0]
    cdef const int32_t* pw = &won[0]
    cdef real* pdx = &dx[0]
    cdef int used = threads_for(n, threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k * BLOCK
        winner_block(pdy + at, pw + at, number, pdx + at, min(BLOCK, n - at))


# ---- reductions --------------------------------------------------------------------------------------------


def reduce(int operation, const real[:, ::1] x, real[::1] y, double factor, int threads):
    """y[row] = factor * the sum of the row's values (operation 0), sizes (1) or squares (2)."""
    cdef Py_ssize_t rows = x.shape[0], size = x.shape[1], row, k
    cdef Py_ssize_t blocks = blocks_of(size, BLOCK)
    check_counts(y.shape[0], rows)
    if rows == 0:
        return
    if size == 0:
        for row in range(rows):
            y[row] = <real>(factor * 0)
        return
    cdef const real* px = &x[0, 0]
    cdef double total
    cdef double* parts = <double*>malloc(rows * blocks * sizeof(double))
    if parts == NULL:
        raise MemoryError("no memory for partial sums")
    cdef int used = threads_for(rows * size, threads)
    for k in prange(rows * blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        parts[k] = reduce_block(operation, px + k // blocks * size + k % blocks * BLOCK, min(BLOCK, size - k % blocks * BLOCK))
    for row in range(rows):
        total = 0
        for k in range(blocks):
            total += parts[row * blocks + k]
        y[row] = <real>(factor * total)
    free(parts)


def spread(int operation, const real[:, ::1] x, const real[::1] dy, real[:, ::1] dx, double factor, int threads):
    """dx[row] = factor * dy[row] * the derivative of `reduce`."""
    cdef Py_ssize_t rows = dx.shape[0], size = dx.shape[1], k, at
    cdef Py_ssize_t blocks = blocks_of(size, BLOCK)
    check_counts(x.shape[0] * x.shape[1], rows * size)
    check_counts(dy.shape[0], rows)
    if rows * size == 0:
        return
    cdef const real* px = &x[0, 0]
    cdef const real* pdy = &dy[0]
    cdef real* pdx = &dx[0, 0]
    cdef int used = threads_for(rows * size, threads)
    for k in prange(rows * blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        at = k // blocks * size + k % blocks * BLOCK
        spread_block(operation, px + at, factor * pdy[k // blocks], pdx + at, min(BLOCK, size - k % blocks * BLOCK))


include "tensor_top.pxi"
include "tensor_moves.pxi"
