# What an op is given for each channel, and the checks on what it is given.

from cpython.sequence cimport PySequence_Check

from caffenorm.errors import ShapeError


# Arrays of the op's type, NULL where there is none. With slope_step 0 the slope is one value for all channels.
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


cdef void read_channels(const real* x, Py_ssize_t first, Py_ssize_t n, const Given* given, channels* c) noexcept nogil:
    """The parameters of n channels, but for those of backward. x says which type the arrays have."""
    fill(x, &c.mean, NULL if given.x_is_hat else given.mean, first, 1, 0, n)
    fill(x, &c.inv_std, NULL if given.x_is_hat else given.inv_std, first, 1, 1, n)
    fill(x, &c.gamma, given.gamma, first, 1, 1, n)
    fill(x, &c.beta, given.beta, first, 1, 0, n)
    fill(x, &c.slope, given.slope, first, given.slope_step, 0, n)


cdef int check_array(const real[:, :, ::1] x, const real[:, :, ::1] a, str name) except -1:
    """Raises unless an array has x's shape, or is None."""
    if a is not None and (a.shape[0] != x.shape[0] or a.shape[1] != x.shape[1] or a.shape[2] != x.shape[2]):
        raise ShapeError(f"{name} has shape {a.shape[0]} x {a.shape[1]} x {a.shape[2]}, expected "
                         f"{x.shape[0]} x {x.shape[1]} x {x.shape[2]}")
    return 0


cdef int check_count(Py_ssize_t count, Py_ssize_t channels, str name) except -1:
    if count != channels:
        raise ShapeError(f"{name} has {count} values, expected one for each of {channels} channels")
    return 0


cdef const real* values(const real[::1] a, Py_ssize_t channels, str name) except? NULL:
    """The first of an array's values, one a channel; NULL for None."""
    if a is None:
        return NULL
    check_count(a.shape[0], channels, name)
    return &a[0]


cdef real* targets(real[::1] a, Py_ssize_t channels, str name) except? NULL:
    """The same of an array that is written to."""
    if a is None:
        return NULL
    check_count(a.shape[0], channels, name)
    return &a[0]


cdef inline void give_nothing(Given* given) noexcept:
    given.mean = given.inv_std = NULL
    given.gamma = given.beta = given.slope = NULL
    given.slope_step = 0
    given.x_is_hat = False


cdef int give(const real[:, :, ::1] x, const real[::1] gamma, const real[::1] beta, object slope, Given* given) except -1:
    """What is given for each channel but the statistics. The pointers live as long as the arrays and `given`."""
    cdef Py_ssize_t channels = x.shape[1]
    cdef const real[::1] slopes
    give_nothing(given)
    given.gamma, given.beta = values(gamma, channels, "gamma"), values(beta, channels, "beta")
    if slope is None:
        return 0
    if PySequence_Check(slope):
        slopes = slope
        given.slope, given.slope_step = values(slopes, channels, "slope"), 1
    else:
        given.one_float = given.one_double = slope
        given.slope, given.slope_step = <const void*>&given.one_float if real is float else <const void*>&given.one_double, 0
    return 0


cdef int give_statistics(const real[:, :, ::1] x, const real[::1] mean, const real[::1] inv_std, Given* given) except -1:
    given.mean = <void*><const void*>values(mean, x.shape[1], "mean")
    given.inv_std = <void*><const void*>values(inv_std, x.shape[1], "inv_std")
    return 0


cdef inline View walk(const real[:, :, ::1] x, int threads) noexcept:
    return view_of(x.shape[0], x.shape[1], x.shape[2], sizeof(real), threads)


cdef inline Py_ssize_t size_of(const real[:, :, ::1] x) noexcept:
    return x.shape[0] * x.shape[1] * x.shape[2]
