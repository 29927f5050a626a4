# im2col and col2im: see patches.h.


cdef class Patches:
    """A kernel over channels of any number of axes.

    Args:
        size, out, kernel, stride, pad, dilation: a value for each axis.
    """

    cdef patches p
    cdef Py_ssize_t* numbers
    cdef readonly Py_ssize_t channel, columns

    def __cinit__(self, *args):
        self.numbers = <Py_ssize_t*>calloc(6 * MOST_AXES, sizeof(Py_ssize_t))
        if self.numbers == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.numbers)

    def __init__(self, size, out, kernel, stride, pad, dilation):
        cdef int i, axis, axes = len(size)
        if not 1 <= axes <= MOST_AXES:
            raise ValueError(f"1 to {MOST_AXES} axes, found {axes}")
        self.channel = self.columns = 1
        for i, values in enumerate((size, out, kernel, stride, pad, dilation)):
            for axis in range(axes):
                self.numbers[i * MOST_AXES + axis] = values[axis]
        for axis in range(axes):
            self.channel *= size[axis]
            self.columns *= out[axis] * kernel[axis]
        self.p.axes = axes
        self.p.size, self.p.out, self.p.kernel = self.numbers, self.numbers + MOST_AXES, self.numbers + 2 * MOST_AXES
        self.p.stride, self.p.pad = self.numbers + 3 * MOST_AXES, self.numbers + 4 * MOST_AXES
        self.p.dilation = self.numbers + 5 * MOST_AXES

    cdef Py_ssize_t check(self, Py_ssize_t x, Py_ssize_t columns) except -1:
        """The number of channels, which both arrays must have."""
        if x % self.channel or x // self.channel * self.columns != columns:
            raise ValueError(f"{x} and {columns} values are no channels of {self.channel} and {self.columns}")
        return x // self.channel


def im2col(Patches plan not None, const real[::1] x not None, real[::1] columns not None, int threads):
    """columns: for each channel and tap the values that it meets."""
    cdef Py_ssize_t channels = plan.check(x.shape[0], columns.shape[0]), c
    cdef int n = threads_for(columns.shape[0], threads)
    for c in prange(channels, nogil=True, num_threads=n, schedule="static"):
        channel_im2col(&plan.p, &x[c * plan.channel], &columns[c * plan.columns])


def col2im(Patches plan not None, const real[::1] columns not None, real[::1] x not None, int threads):
    """x: the sum of all columns' values that stand for each of its own."""
    cdef Py_ssize_t channels = plan.check(x.shape[0], columns.shape[0]), c
    cdef int n = threads_for(columns.shape[0], threads)
    for c in prange(channels, nogil=True, num_threads=n, schedule="static"):
        channel_col2im(&plan.p, &columns[c * plan.columns], &x[c * plan.channel], plan.channel)
