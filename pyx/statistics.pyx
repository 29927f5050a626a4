"""Stored statistics of normalisation layers: vectors of one value a channel.

store_statistics    one pass, 24 B a channel in float32; products and sums are rounded to the arrays' type one after the
                    other, as Caffe's axpby does
read_statistics     one pass, 16 B a channel; the factor's reciprocal is rounded to the arrays' type first, as in Caffe

Channels are few (a thousand), so there are no threads. Every value is computed alone: the same bits in every build.
"""

from common cimport real

from caffenorm.errors import ShapeError


cdef int check_count(Py_ssize_t count, Py_ssize_t channels, str name) except -1:
    if count != channels:
        raise ShapeError(f"{name} has {count} values, expected {channels}")
    return 0


cdef void blend(const real* values, real* stored, Py_ssize_t n, real keep, real weight) noexcept nogil:
    """stored = keep * stored + weight * values."""
    cdef Py_ssize_t i
    for i in range(n):
        stored[i] = keep * stored[i] + weight * values[i]


def store_statistics(const real[::1] mean, const real[::1] var, real[::1] stored_mean, real[::1] stored_var,
                     real[::1] factor, double keep, double mean_weight, double var_weight):
    cdef Py_ssize_t channels = mean.shape[0]
    check_count(var.shape[0], channels, "var")
    check_count(stored_mean.shape[0], channels, "stored_mean")
    check_count(stored_var.shape[0], channels, "stored_var")
    if factor is not None:
        check_count(factor.shape[0], 1, "factor")
        factor[0] = <real>keep * factor[0] + 1
    if channels:
        blend(&mean[0], &stored_mean[0], channels, <real>keep, <real>mean_weight)
        blend(&var[0], &stored_var[0], channels, <real>keep, <real>var_weight)


def read_statistics(const real[::1] mean_sum, const real[::1] var_sum, const real[::1] factor, real[::1] mean, real[::1] var):
    cdef Py_ssize_t i, channels = mean.shape[0]
    cdef real reciprocal
    check_count(var.shape[0], channels, "var")
    check_count(mean_sum.shape[0], channels, "mean_sum")
    check_count(var_sum.shape[0], channels, "var_sum")
    check_count(factor.shape[0], 1, "factor")
    reciprocal = 0 if factor[0] == 0 else 1 / factor[0]
    for i in range(channels):
        mean[i] = reciprocal * mean_sum[i]
        var[i] = reciprocal * var_sum[i]
