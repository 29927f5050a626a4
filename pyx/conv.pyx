# CPU kernels of the conv family: convolution, its gradients, transposed convolution, and products of matrices.
#
# convolve        y = act(conv(x, w) + bias + more): the product of gather.h; a transposed convolution is one product for
#                 each remainder of the strides, so that its output is gathered and not scattered into
# add_gradient    dw += the gradient of w: products along rows
# multiply        out = a b, with either transposed
#
# See tiles.h for the inner loops and their speed, gather.h for how the input is read, products.h, gradient.h and row_products.h for
# blocks and threads. Sums are in the arrays' own type, in an order that does not depend on the number of threads.

from cython.parallel cimport prange
from libc.stdlib cimport calloc, free

from common cimport real
from threads cimport threads_for

cdef extern from "products.h" nogil:
    enum: TILE_ROWS

    struct source:
        Py_ssize_t channels, channel_size, rows, length, step
        const Py_ssize_t* from_ "from"
        const Py_ssize_t* left
        const Py_ssize_t* count

    struct product:
        Py_ssize_t depth, runs, run, step, left_at
        const Py_ssize_t* offset
        const Py_ssize_t* weight
        const Py_ssize_t* from_ "from"
        const Py_ssize_t* to

    struct products:
        Py_ssize_t images, chunk, groups, rows
        Py_ssize_t in_image, right_image, right_group, out_image, out_group, out_row, weight_group, weight_row
        source source
        Py_ssize_t count
        const product* product

    Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b)
    Py_ssize_t aligned_size(Py_ssize_t bytes)
    void pack_left(const products* c, const product* p, const void* weights, void* left, Py_ssize_t tile)
    Py_ssize_t products_bytes(const void* x, const products* c, int threads)
    void run_products(
        const products* c, const void* left, const void* x, void* y, const void* bias, const void* more,
        Py_ssize_t more_stride, bint has_slope, double slope, int threads, unsigned char* work)

cdef extern from "gradient.h" nogil:
    Py_ssize_t gradient_bytes(const void* x, const products* c, int threads)
    void left_gradient(
        const products* c, const void* x, const void* dy, void* dw, int threads, unsigned char* work)

cdef extern from "row_products.h" nogil:
    void dot_rows(
        const void* a, Py_ssize_t rows, const void* b, Py_ssize_t columns, Py_ssize_t depth, void* out, bint accumulate,
        const void* bias, bint has_slope, double slope, int threads)

cdef enum:
    MULTIPLIES = 16  # multiply-adds of a product that count as one element of cheap work, for threads_for


cdef class Plan:
    """What one direction of a convolution needs to know beside its arrays.

    Args:
        sizes: images, images that are copied at a time, groups, rows of a group, and the distances from image to image
            of the input and of the right side, from group to group of the right side, from image to image, group to
            group and row to row of the output, and from group to group and row to row of the weights.
        source: None, or how the input is copied: channels, values of a channel, rows of its copy, values of a row of it,
            step, and for each row where it begins in the channel, the zeros before, and the values.
        parts: for each product: values of a run, their step in the output, for each k its offset in the right side and
            in the weights, for each run where it begins in the right side and in the output.
    """

    cdef products c
    cdef product* part
    cdef list tables
    cdef readonly Py_ssize_t x_count, y_count, weight_count, packed_count, columns, work

    def __cinit__(self, sizes, source, parts):
        self.tables = []
        self.part = <product*>calloc(max(1, len(parts)), sizeof(product))
        if self.part == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.part)

    def __init__(self, sizes, source, parts):
        (self.c.images, self.c.chunk, self.c.groups, self.c.rows, self.c.in_image, self.c.right_image,
         self.c.right_group, self.c.out_image, self.c.out_group, self.c.out_row, self.c.weight_group,
         self.c.weight_row) = sizes
        if source is not None:
            (self.c.source.channels, self.c.source.channel_size, self.c.source.rows, self.c.source.length,
             self.c.source.step) = source[:5]
            self.c.source.from_ = self.table(source[5])
            self.c.source.left = self.table(source[6])
            self.c.source.count = self.table(source[7])
        self.c.count = len(parts)
        self.c.product = self.part
        cdef Py_ssize_t tiles = self.c.groups * ceil_div(self.c.rows, TILE_ROWS)
        cdef product* p
        for i, (run, step, offset, weight, start, to) in enumerate(parts):
            p = &self.part[i]
            p.run, p.step, p.depth, p.runs, p.left_at = run, step, len(offset), len(start), self.packed_count
            p.offset, p.weight = self.table(offset), self.table(weight)
            p.from_, p.to = self.table(start), self.table(to)
            self.packed_count += tiles * TILE_ROWS * p.depth
            self.work += p.depth * p.runs * p.run * self.c.rows * self.c.groups * self.c.images
        self.x_count = self.c.images * self.c.in_image
        self.y_count = self.c.images * self.c.out_image
        self.weight_count = self.c.groups * self.c.weight_group

    cdef const Py_ssize_t* table(self, values) except? NULL:
        cdef const Py_ssize_t[::1] view = values
        self.tables.append(view)
        return &view[0] if view.shape[0] else NULL

    cdef int threads(self, int threads) noexcept:
        return threads_for(self.work // MULTIPLIES + self.x_count, threads)

    def work_bytes(self, itemsize, int threads):
        """Bytes of work space that `convolve` needs."""
        cdef int n = self.threads(threads)
        cdef const float* single = NULL
        cdef const double* double_ = NULL
        return products_bytes(single, &self.c, n) if itemsize == 4 else products_bytes(double_, &self.c, n)

    def gradient_work_bytes(self, itemsize, int threads):
        """Bytes of work space that `add_gradient` needs."""
        cdef int n = self.threads(threads)
        cdef const float* single = NULL
        cdef const double* double_ = NULL
        return gradient_bytes(single, &self.c, n) if itemsize == 4 else gradient_bytes(double_, &self.c, n)


def pack(Plan plan, const real[::1] weights not None, real[::1] packed not None, int threads):
    """Lays out the weights as `convolve` reads them."""
    cdef Py_ssize_t i, tile, tiles = plan.c.groups * ceil_div(plan.c.rows, TILE_ROWS)
    cdef int n = threads_for(plan.packed_count, threads)
    cdef const real* w
    cdef real* to
    check(weights.shape[0], plan.weight_count, "weights")
    check(packed.shape[0], plan.packed_count, "packed")
    if plan.packed_count == 0:
        return
    w, to = &weights[0], &packed[0]
    for i in range(plan.c.count):
        for tile in prange(tiles, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
            pack_left(&plan.c, &plan.part[i], w, to, tile)


def convolve(
    Plan plan,
    const real[::1] x not None,
    const real[::1] packed not None,
    real[::1] y not None,
    const real[::1] bias,
    const real[::1] more,
    slope,
    int threads,
    unsigned char[::1] work not None,
):
    """y = act(product + bias + more); bias has a value a row, more the shape of y; both may be None, as may slope."""
    cdef int n = plan.threads(threads)
    cdef bint has_slope = slope is not None
    cdef double a = slope if has_slope else 0.0
    check(x.shape[0], plan.x_count, "x")
    check(packed.shape[0], plan.packed_count, "packed")
    check(y.shape[0], plan.y_count, "y")
    check_work(work.shape[0], plan.work_bytes(sizeof(real), n))
    if bias is not None:
        check(bias.shape[0], plan.c.groups * plan.c.rows, "bias")
    if more is not None:
        check(more.shape[0], plan.y_count, "more")
    if plan.y_count == 0:
        return
    cdef const real* b = NULL
    cdef const real* m = NULL
    if bias is not None:
        b = &bias[0]
    if more is not None:
        m = &more[0]
    with nogil:
        run_products(&plan.c, &packed[0], &x[0], &y[0], b, m, plan.c.out_row, has_slope, a, n, &work[0])


def add_gradient(
    Plan plan,
    const real[::1] x not None,
    const real[::1] dy not None,
    real[::1] dw not None,
    int threads,
    unsigned char[::1] work not None,
):
    """dw += the gradient of the weights, for a plan of one product."""
    cdef int n = plan.threads(threads)
    check(x.shape[0], plan.x_count, "x")
    check(dy.shape[0], plan.y_count, "dy")
    check(dw.shape[0], plan.weight_count, "dw")
    check(plan.c.count, 1, "products of the plan")
    check_work(work.shape[0], plan.gradient_work_bytes(sizeof(real), n))
    if plan.y_count == 0:
        return
    with nogil:
        left_gradient(&plan.c, &x[0], &dy[0], &dw[0], n, &work[0])


def matrix_work_bytes(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t depth, Py_ssize_t itemsize, int threads):
    """Bytes of work space that `multiply` needs."""
    cdef products c = matrix_products(rows, columns, depth, True)
    cdef const float* single = NULL
    cdef const double* double_ = NULL
    cdef Py_ssize_t left = aligned_size(ceil_div(rows, TILE_ROWS) * TILE_ROWS * depth * itemsize)
    return left + aligned_size(2 * depth * sizeof(Py_ssize_t)) + (
        products_bytes(single, &c, threads) if itemsize == 4 else products_bytes(double_, &c, threads)
    )


def multiply(
    const real[:, ::1] a not None,
    const real[:, ::1] b not None,
    real[:, ::1] out not None,
    bint transpose_a,
    bint transpose_b,
    bint accumulate,
    const real[::1] bias,
    slope,
    int threads,
    unsigned char[::1] work not None,
):
    """out = act(a b + bias), or out += a b; bias has a value a column."""
    cdef Py_ssize_t rows = a.shape[transpose_a], depth = a.shape[1 - transpose_a], columns = b.shape[1 - transpose_b]
    cdef bint has_slope = slope is not None
    cdef double s = slope if has_slope else 0.0
    cdef int n = threads_for(rows * columns * depth // MULTIPLIES, threads)
    check(b.shape[transpose_b], depth, "rows of the right matrix")
    check(out.shape[0], rows, "rows of the result")
    check(out.shape[1], columns, "columns of the result")
    check_work(work.shape[0], matrix_work_bytes(rows, columns, depth, sizeof(real), n))
    if bias is not None:
        check(bias.shape[0], columns, "bias")
    if rows == 0 or columns == 0:
        return
    cdef const real* more = NULL
    cdef const real* left = NULL
    cdef const real* right = NULL
    if bias is not None:
        more = &bias[0]
    if depth:
        left, right = &a[0, 0], &b[0, 0]
    if transpose_b and not transpose_a:
        with nogil:
            dot_rows(left, rows, right, columns, depth, &out[0, 0], accumulate, more, has_slope, s, n)
        return
    if accumulate:
        more = &out[0, 0]
    with nogil:
        multiply_packed(left, right, &out[0, 0], rows, columns, depth, transpose_a, transpose_b, more,
                        columns if accumulate else 0, has_slope, s, n, &work[0])


cdef products matrix_products(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t depth, bint copies) noexcept nogil:
    """A product of matrices as a convolution over one row of pixels; tables are missing."""
    cdef products c
    c.images = c.chunk = c.groups = 1
    c.rows = rows
    c.in_image = c.right_image = c.right_group = depth * columns
    c.out_image = c.out_group = rows * columns
    c.out_row = columns
    c.weight_group = rows * depth
    c.weight_row = depth
    c.source.rows = copies
    c.source.channels = c.source.step = depth
    c.source.channel_size = 1
    c.source.length = columns
    c.count = 1
    return c


cdef void multiply_packed(
    const real* a, const real* b, real* out, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t depth, bint transpose_a,
    bint transpose_b, const real* more, Py_ssize_t more_row, bint has_slope, double slope, int threads, unsigned char* work
) noexcept nogil:
    """A product of matrices; the left one is packed, the right one turned first where it is transposed."""
    cdef products c = matrix_products(rows, columns, depth, transpose_b)
    cdef product p
    cdef Py_ssize_t k, tile, zero = 0, tiles = ceil_div(rows, TILE_ROWS)
    cdef Py_ssize_t* offset = <Py_ssize_t*>work
    cdef Py_ssize_t* weight = offset + depth
    cdef real* left = <real*>(work + aligned_size(2 * depth * sizeof(Py_ssize_t)))
    if transpose_a:
        c.weight_row = 1
    for k in range(depth):
        offset[k] = k * columns
        weight[k] = k * rows if transpose_a else k
    p.depth, p.runs, p.run, p.step, p.left_at = depth, 1, columns, 1, 0
    p.offset, p.weight, p.from_, p.to = offset, weight, &zero, &zero
    c.product = &p
    c.source.from_ = c.source.left = &zero
    c.source.count = &columns
    for tile in prange(tiles, num_threads=threads, use_threads_if=threads > 1, schedule="static"):
        pack_left(&c, &p, a, left, tile)
    work = <unsigned char*>left + aligned_size(tiles * TILE_ROWS * depth * sizeof(real))
    run_products(&c, left, b, out, NULL, more, more_row, has_slope, slope, threads, work)


cdef int check(Py_ssize_t found, Py_ssize_t expected, str what) except -1:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")
    return 0


cdef int check_work(Py_ssize_t found, Py_ssize_t needed) except -1:
    if found < needed:
        raise ValueError(f"work space of {found} bytes, {needed} are needed")
    return 0
