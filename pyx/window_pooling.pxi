# Pooling: see pooling.h for what is computed and how.


cdef class Pooling:
    """Windows over planes of one to three axes.

    Args:
        size, out, kernel, stride, pad, pad_after: a value for each of the plane's axes.
        count_pads: an average divides by positions in the pads too.
    """

    cdef windows w
    cdef readonly Py_ssize_t plane, out_plane, rows

    def __init__(self, size, out, kernel, stride, pad, pad_after, bint count_pads):
        cdef int axis, missing = 3 - len(size)
        if not 0 <= missing < 3:
            raise ValueError(f"planes have 1 to 3 axes, found {len(size)}")
        for axis in range(3):
            self.w.size[axis] = self.w.out[axis] = self.w.kernel[axis] = self.w.stride[axis] = 1
            self.w.pad[axis] = self.w.pad_after[axis] = 0
            if axis >= missing:
                self.w.size[axis], self.w.out[axis] = size[axis - missing], out[axis - missing]
                self.w.kernel[axis], self.w.stride[axis] = kernel[axis - missing], stride[axis - missing]
                self.w.pad[axis], self.w.pad_after[axis] = pad[axis - missing], pad_after[axis - missing]
        self.w.count_pads = count_pads
        self.plane = self.w.size[0] * self.w.size[1] * self.w.size[2]
        self.rows = self.w.out[0] * self.w.out[1]
        self.out_plane = self.rows * self.w.out[2]
        if min(self.plane, self.out_plane) < 1 or self.plane > 0x7fffffff:
            raise ValueError("planes have 1 to 2^31 - 1 values")

    def work_bytes(self, Py_ssize_t itemsize, int threads):
        """Bytes of work space for the ops that take it."""
        cdef const float* single = NULL
        cdef const double* double_ = NULL
        return threads * (pooling_bytes(single, &self.w) if itemsize == 4 else pooling_bytes(double_, &self.w))

    cdef Py_ssize_t check(self, Py_ssize_t x, Py_ssize_t y) except -1:
        """The number of planes, which both arrays must have."""
        if x % self.plane or x // self.plane * self.out_plane != y:
            raise ValueError(f"{x} and {y} values are no planes of {self.plane} and {self.out_plane}")
        return x // self.plane

    cdef Py_ssize_t row_blocks(self, Py_ssize_t planes, int threads) noexcept:
        """In how many jobs a plane's output rows are done."""
        return 1 if planes >= 4 * threads else (self.rows + ROWS - 1) // ROWS


def max_pool(
    Pooling plan not None, const real[::1] x not None, real[::1] y not None, int32_t[::1] index, int threads,
    unsigned char[::1] work not None,
):
    """y and, if given, the place of each value in its plane."""
    cdef Py_ssize_t planes = plan.check(x.shape[0], y.shape[0]), job, p, b, blocks
    cdef int n = threads_for(x.shape[0] + y.shape[0], threads)
    cdef Py_ssize_t space
    cdef const real* from_
    cdef real* to
    cdef int32_t* places = NULL
    cdef unsigned char* mine = NULL
    check_work(plan, work, sizeof(real), n)
    if index is not None:
        check(index.shape[0], y.shape[0], "index")
    if planes == 0:
        return
    from_, to, space, blocks = &x[0], &y[0], pooling_bytes(&x[0], &plan.w), plan.row_blocks(planes, n)
    if index is not None:
        places = &index[0]
    with nogil, parallel(num_threads=n):
        mine = &work[0] + space * thread_id()
        for job in prange(planes * blocks, schedule="static"):
            p = job // blocks
            b = job % blocks
            max_rows(
                &plan.w, from_ + p * plan.plane, to + p * plan.out_plane,
                places + p * plan.out_plane if places != NULL else NULL,
                b * plan.rows // blocks, (b + 1) * plan.rows // blocks, mine)


def max_pool_backward(
    Pooling plan not None, const real[::1] dy not None, const int32_t[::1] index not None, real[::1] dx not None,
    int threads,
):
    """dx: each gradient goes to the place of its value."""
    cdef Py_ssize_t planes = plan.check(dx.shape[0], dy.shape[0]), p
    cdef int n = threads_for(dx.shape[0] + dy.shape[0], threads)
    check(index.shape[0], dy.shape[0], "index")
    for p in prange(planes, nogil=True, num_threads=n, schedule="static"):
        max_plane_backward(&plan.w, &dy[p * plan.out_plane], &index[p * plan.out_plane], &dx[p * plan.plane])


def average_pool(
    Pooling plan not None, const real[::1] x not None, real[::1] y not None, int threads,
    unsigned char[::1] work not None,
):
    """y = sum of the window / its positions."""
    cdef Py_ssize_t planes = plan.check(x.shape[0], y.shape[0]), job, p, b, blocks
    cdef int n = threads_for(x.shape[0] + y.shape[0], threads)
    cdef Py_ssize_t space
    cdef const real* from_
    cdef real* to
    cdef unsigned char* mine = NULL
    check_work(plan, work, sizeof(real), n)
    if planes == 0:
        return
    from_, to, space, blocks = &x[0], &y[0], pooling_bytes(&x[0], &plan.w), plan.row_blocks(planes, n)
    with nogil, parallel(num_threads=n):
        mine = &work[0] + space * thread_id()
        for job in prange(planes * blocks, schedule="static"):
            p = job // blocks
            b = job % blocks
            average_rows(
                &plan.w, from_ + p * plan.plane, to + p * plan.out_plane, b * plan.rows // blocks,
                (b + 1) * plan.rows // blocks, mine)


def average_pool_backward(
    Pooling plan not None, const real[::1] dy not None, real[::1] dx not None, int threads,
    unsigned char[::1] work not None,
):
    """dx of `average_pool`."""
    cdef Py_ssize_t planes = plan.check(dx.shape[0], dy.shape[0]), p
    cdef int n = threads_for(dx.shape[0] + dy.shape[0], threads)
    cdef Py_ssize_t space
    cdef const real* from_
    cdef real* to
    cdef unsigned char* mine = NULL
    check_work(plan, work, sizeof(real), n)
    if planes == 0:
        return
    from_, to, space = &dy[0], &dx[0], pooling_bytes(&dy[0], &plan.w)
    with nogil, parallel(num_threads=n):
        mine = &work[0] + space * thread_id()
        for p in prange(planes, schedule="static"):
            average_plane_backward(&plan.w, from_ + p * plan.out_plane, to + p * plan.plane, mine)


def stochastic_pool(
    Pooling plan not None, const real[::1] x not None, const real[::1] draws not None, real[::1] y not None,
    int32_t[::1] index not None, int threads,
):
    """y: a value drawn in proportion to the values, and its place; draws: a number from 0 to 1 for each."""
    cdef Py_ssize_t planes = plan.check(x.shape[0], y.shape[0]), p, o
    cdef int n = threads_for(x.shape[0] + y.shape[0], threads)
    check(index.shape[0], y.shape[0], "index")
    check(draws.shape[0], y.shape[0], "draws")
    for p in prange(planes, nogil=True, num_threads=n, schedule="static"):
        o = p * plan.out_plane
        stochastic_plane(&plan.w, &x[p * plan.plane], &draws[o], &y[o], &index[o])


def weighted_pool(Pooling plan not None, const real[::1] x not None, real[::1] y not None, int threads):
    """y = sum of squares / sum."""
    cdef Py_ssize_t planes = plan.check(x.shape[0], y.shape[0]), p
    cdef int n = threads_for(x.shape[0] + y.shape[0], threads)
    for p in prange(planes, nogil=True, num_threads=n, schedule="static"):
        weighted_plane(&plan.w, &x[p * plan.plane], &y[p * plan.out_plane])


def weighted_pool_backward(
    Pooling plan not None, const real[::1] x not None, const real[::1] dy not None, real[::1] dx not None, int threads
):
    """dx of `weighted_pool`."""
    cdef Py_ssize_t planes = plan.check(dx.shape[0], dy.shape[0]), p
    cdef int n = threads_for(dx.shape[0] + dy.shape[0], threads)
    check(x.shape[0], dx.shape[0], "x")
    for p in prange(planes, nogil=True, num_threads=n, schedule="static"):
        weighted_plane_backward(&plan.w, &x[p * plan.plane], &dy[p * plan.out_plane], &dx[p * plan.plane])


cdef int check_work(Pooling plan, const unsigned char[::1] work, Py_ssize_t itemsize, int threads) except -1:
    if work.shape[0] < plan.work_bytes(itemsize, threads):
        raise ValueError(f"work space of {work.shape[0]} bytes, {plan.work_bytes(itemsize, threads)} are needed")
    return 0
