# CPU kernels of the window family: pooling, local response normalisation, im2col and col2im.
#
# max_pool, average_pool, stochastic_pool, weighted_pool and their backwards    see pooling.h
# lrn_across, lrn_within and their backwards                                    see lrn.h
# im2col, col2im                                                                see patches.h
#
# Threads take whole planes (the values of a channel of an image), where there are few of them blocks of output rows; LRN
# across channels takes blocks of positions. No sum crosses them, so results do not depend on the number of threads.

from cython.parallel cimport parallel, prange
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free

from common cimport real
from threads cimport thread_id, threads_for

cdef extern from "pooling.h" nogil:
    struct windows:
        Py_ssize_t[3] size, out, kernel, stride, pad, pad_after
        bint count_pads

    Py_ssize_t pooling_bytes(const void* x, const windows* w)
    void max_rows "max_pool" (
        const windows* w, const void* x, void* y, int32_t* index, Py_ssize_t first, Py_ssize_t last, unsigned char* work)
    void max_plane_backward "max_pool_backward" (const windows* w, const void* dy, const int32_t* index, void* dx)
    void average_rows "average_pool" (
        const windows* w, const void* x, void* y, Py_ssize_t first, Py_ssize_t last, unsigned char* work)
    void average_plane_backward "average_pool_backward" (
        const windows* w, const void* dy, void* dx, unsigned char* work)
    void stochastic_plane "stochastic_pool" (
        const windows* w, const void* x, const void* draw, void* y, int32_t* index)
    void weighted_plane "weighted_pool" (const windows* w, const void* x, void* y)
    void weighted_plane_backward "weighted_pool_backward" (
        const windows* w, const void* x, const void* dy, void* dx)

cdef extern from "lrn.h" nogil:
    enum: ROW
    void across "lrn_across" (
        const void* x, void* y, void* scale, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t count, Py_ssize_t size,
        double factor, double beta, double k)
    void across_backward "lrn_across_backward" (
        const void* x, const void* scale, const void* dy, void* dx, void* products, Py_ssize_t channels,
        Py_ssize_t inner, Py_ssize_t count, Py_ssize_t size, double factor, double beta)
    void within "lrn_within" (
        const void* x, void* y, void* scale, Py_ssize_t height, Py_ssize_t width, Py_ssize_t size, double factor,
        double beta, double k, void* wide)
    void within_backward "lrn_within_backward" (
        const void* x, const void* scale, const void* dy, void* dx, Py_ssize_t height, Py_ssize_t width,
        Py_ssize_t size, double factor, double beta, void* products, void* sums, void* wide)

cdef extern from "patches.h" nogil:
    enum: MOST_AXES
    struct patches:
        int axes
        const Py_ssize_t* size
        const Py_ssize_t* out
        const Py_ssize_t* kernel
        const Py_ssize_t* stride
        const Py_ssize_t* pad
        const Py_ssize_t* dilation

    void channel_im2col "im2col" (const patches* p, const void* x, void* columns)
    void channel_col2im "col2im" (const patches* p, const void* columns, void* x, Py_ssize_t size)

cdef enum:
    ROWS = 16       # output rows that a thread takes at a time where planes are few
    POWER_COST = 8  # elements of cheap work that a power counts as, for threads_for


cdef int check(Py_ssize_t found, Py_ssize_t expected, str what) except -1:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")
    return 0


include "window_pooling.pxi"
include "window_lrn.pxi"
include "window_patches.pxi"
