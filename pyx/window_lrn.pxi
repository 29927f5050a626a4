# Local response normalisation: see lrn.h for what is computed and how.


def lrn_across(
    const real[:, :, ::1] x not None, real[:, :, ::1] y not None, real[:, :, ::1] scale, Py_ssize_t size, double factor,
    double beta, double k, int threads,
):
    """y = x * s^-beta with s = k + factor * sum of x^2 over `size` channels around; s goes to `scale` if given."""
    cdef Py_ssize_t channels = x.shape[1], inner = x.shape[2], blocks = (inner + ROW - 1) // ROW, job, i, at
    cdef int n = threads_for(x.shape[0] * channels * inner * POWER_COST, threads)
    cdef real* s = NULL
    check_like(&x.shape[0], &y.shape[0], "y")
    if scale is not None:
        check_like(&x.shape[0], &scale.shape[0], "scale")
    if x.shape[0] == 0:
        return
    if scale is not None:
        s = &scale[0, 0, 0]
    for job in prange(x.shape[0] * blocks, nogil=True, num_threads=n, schedule="static"):
        i = job % blocks * ROW
        at = job // blocks * channels * inner + i
        across(&x[0, 0, 0] + at, &y[0, 0, 0] + at, s + at if s != NULL else NULL, channels, inner,
               min(<Py_ssize_t>ROW, inner - i), size, factor, beta, k)


def lrn_across_backward(
    const real[:, :, ::1] x not None, const real[:, :, ::1] scale not None, const real[:, :, ::1] dy not None,
    real[:, :, ::1] dx not None, Py_ssize_t size, double factor, double beta, int threads, real[::1] work not None,
):
    """dx of `lrn_across`; work: `lrn_across_space` values."""
    cdef Py_ssize_t channels = x.shape[1], inner = x.shape[2], blocks = (inner + ROW - 1) // ROW, job, i, at
    cdef int n = threads_for(x.shape[0] * channels * inner * POWER_COST, threads)
    cdef real* mine = NULL
    check_like(&x.shape[0], &scale.shape[0], "scale")
    check_like(&x.shape[0], &dy.shape[0], "dy")
    check_like(&x.shape[0], &dx.shape[0], "dx")
    if work.shape[0] < n * channels * ROW:
        raise ValueError(f"work space of {work.shape[0]} values, {n * channels * ROW} are needed")
    if x.shape[0] == 0:
        return
    with nogil, parallel(num_threads=n):
        mine = &work[0] + thread_id() * channels * ROW
        for job in prange(x.shape[0] * blocks, schedule="static"):
            i = job % blocks * ROW
            at = job // blocks * channels * inner + i
            across_backward(
                &x[0, 0, 0] + at, &scale[0, 0, 0] + at, &dy[0, 0, 0] + at, &dx[0, 0, 0] + at, mine, channels, inner,
                min(<Py_ssize_t>ROW, inner - i), size, factor, beta)


def lrn_within(
    const real[:, :, ::1] x not None, real[:, :, ::1] y not None, real[:, :, ::1] scale not None, Py_ssize_t size,
    double factor, double beta, double k, int threads, real[::1] work not None,
):
    """y = x * s^-beta with s = k + factor * sum of x^2 over size x size positions; work: `lrn_within_space` values."""
    cdef Py_ssize_t height = x.shape[1], width = x.shape[2], p, space = within_space(height, width, &size)
    cdef int n = threads_for(x.shape[0] * height * width * POWER_COST, threads)
    cdef real* mine = NULL
    check_like(&x.shape[0], &y.shape[0], "y")
    check_like(&x.shape[0], &scale.shape[0], "scale")
    if work.shape[0] < n * space:
        raise ValueError(f"work space of {work.shape[0]} values, {n * space} are needed")
    if x.shape[0] == 0:
        return
    with nogil, parallel(num_threads=n):
        mine = &work[0] + thread_id() * space
        for p in prange(x.shape[0], schedule="static"):
            within(&x[p, 0, 0], &y[p, 0, 0], &scale[p, 0, 0], height, width, size, factor, beta, k, mine)


def lrn_within_backward(
    const real[:, :, ::1] x not None, const real[:, :, ::1] scale not None, const real[:, :, ::1] dy not None,
    real[:, :, ::1] dx not None, Py_ssize_t size, double factor, double beta, int threads, real[::1] work not None,
):
    """dx of `lrn_within`; work: `lrn_within_space` values."""
    cdef Py_ssize_t height = x.shape[1], width = x.shape[2], p, space = within_space(height, width, &size)
    cdef int n = threads_for(x.shape[0] * height * width * POWER_COST, threads)
    cdef real* mine = NULL
    check_like(&x.shape[0], &scale.shape[0], "scale")
    check_like(&x.shape[0], &dy.shape[0], "dy")
    check_like(&x.shape[0], &dx.shape[0], "dx")
    if work.shape[0] < n * space:
        raise ValueError(f"work space of {work.shape[0]} values, {n * space} are needed")
    if x.shape[0] == 0:
        return
    with nogil, parallel(num_threads=n):
        mine = &work[0] + thread_id() * space
        for p in prange(x.shape[0], schedule="static"):
            within_backward(
                &x[p, 0, 0], &scale[p, 0, 0], &dy[p, 0, 0], &dx[p, 0, 0], height, width, size, factor, beta, mine,
                mine + height * width, mine + 2 * height * width)


def lrn_across_space(Py_ssize_t channels, int threads):
    """Values of work space for `lrn_across_backward`."""
    return threads * channels * ROW


def lrn_within_space(Py_ssize_t height, Py_ssize_t width, Py_ssize_t size, int threads):
    """Values of work space for `lrn_within` and its backward."""
    return threads * within_space(height, width, &size)


cdef Py_ssize_t within_space(Py_ssize_t height, Py_ssize_t width, Py_ssize_t* size) noexcept:
    """Values of work space for a thread. A window beyond the plane's far ends is cut down first."""
    size[0] = min(size[0], 2 * max(height, width) - 1)
    return 2 * height * width + width + size[0]


cdef int check_like(const Py_ssize_t* x, const Py_ssize_t* other, str what) except -1:
    cdef int axis
    for axis in range(3):
        if x[axis] != other[axis]:
            raise ValueError(f"{what} has {other[axis]} values on axis {axis}, x has {x[axis]}")
    return 0
