# CPU kernels of the activation family: functions of single elements, their gradients, and random masks.
#
# forward     y = f(x): 8 B an element (float); 12 B where y is new memory that is not streamed
# backward    dx = dy * f'(x), from x or y: 12 B an element
# mask        y = x * mask, the mask from a counter-based generator, so that it is never stored: 8 B an element
#
# activation_loops.h has the functions, vector_math.h the exponentials among them. All arrays are flat. An element's result
# depends on nothing but that element (and its index, for mask), so it is the same for any number of threads and any
# instruction set. Threads share out blocks of BLOCK elements.

from cython.parallel cimport prange
from libc.stdint cimport uint32_t, uint64_t

from common cimport real
from threads cimport threads_for

cdef extern from "activation_loops.h" nogil:
    enum: FORWARD_COUNT, BACKWARD_COUNT, STREAMED_BYTES, MASKED
    const char* forward_names[]
    const char* backward_names[]
    const int forward_costs[]
    const int backward_costs[]
    void forward_block(int function, const void* x, void* y, Py_ssize_t n, double a, double b, double c, bint streamed)
    void backward_block(int function, const void* s, const void* dy, void* dx, Py_ssize_t n, double a, double b, double c,
                        bint streamed)
    void mask_block(const void* x, void* y, Py_ssize_t n, uint64_t seed, uint64_t block, uint32_t threshold, double scale)

cdef enum:
    BLOCK = 16384       # 64 KiB of floats
    MASK_COST = 4       # elements of cheap work that a random number counts as
    CACHE_LINE = 64

# The numbers that `forward` and `backward` know functions by.
FORWARD = {forward_names[i].decode(): i for i in range(FORWARD_COUNT)}
BACKWARD = {backward_names[i].decode(): i for i in range(BACKWARD_COUNT)}


cdef Py_ssize_t check_function(int function, int count) except -1:
    if not 0 <= function < count:
        raise ValueError(f"there is no function {function}")
    return 0


cdef Py_ssize_t check_counts(Py_ssize_t found, Py_ssize_t expected) except -1:
    if found != expected:
        raise ValueError(f"arrays of {found} and {expected} values in one call")
    return 0


def forward(int function, const real[::1] x, real[::1] y, double a, double b, double c, int threads):
    """y = f(x); y may be x."""
    cdef Py_ssize_t n = x.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    check_function(function, FORWARD_COUNT)
    check_counts(y.shape[0], n)
    if n == 0:
        return
    cdef const real* px = &x[0]
    cdef real* py = &y[0]
    cdef bint streamed = n * sizeof(real) >= STREAMED_BYTES and px != py and <size_t>py % CACHE_LINE == 0
    cdef int used = threads_for(n * forward_costs[function], threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        forward_block(function, px + k * BLOCK, py + k * BLOCK, min(BLOCK, n - k * BLOCK), a, b, c, streamed)


def backward(int function, const real[::1] s, const real[::1] dy, real[::1] dx, double a, double b, double c, int threads):
    """dx = dy * f'; s is x or y, as the function has it; dx may be dy."""
    cdef Py_ssize_t n = s.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    check_function(function, BACKWARD_COUNT)
    check_counts(dy.shape[0], n)
    check_counts(dx.shape[0], n)
    if n == 0:
        return
    cdef const real* ps = &s[0]
    cdef const real* pdy = &dy[0]
    cdef real* pdx = &dx[0]
    cdef bint streamed = (
        n * sizeof(real) >= STREAMED_BYTES and pdx != pdy and pdx != ps and <size_t>pdx % CACHE_LINE == 0
    )
    cdef int used = threads_for(n * backward_costs[function], threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        backward_block(function, ps + k * BLOCK, pdy + k * BLOCK, pdx + k * BLOCK, min(BLOCK, n - k * BLOCK), a, b, c,
                       streamed)


def mask(const real[::1] x, real[::1] y, uint64_t seed, uint32_t threshold, double scale, int threads):
    """y = x * scale where the element's random word (of 32 bits) is threshold or more, else x * 0; y may be x."""
    cdef Py_ssize_t n = x.shape[0], blocks = (n + MASKED - 1) // MASKED, k
    check_counts(y.shape[0], n)
    if n == 0:
        return
    cdef const real* px = &x[0]
    cdef real* py = &y[0]
    cdef int used = threads_for(n * MASK_COST, threads)
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        mask_block(px + k * MASKED, py + k * MASKED, min(MASKED, n - k * MASKED), seed, k, threshold, scale)
