# Types that all kernels share. Indices and counts are Py_ssize_t: a blob may hold more than 2^31 elements.
# Channel-wise kernels see every array as (outer, channels, inner), C-contiguous.

ctypedef fused real:
    float
    double
