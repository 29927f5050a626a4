# CPU kernels of the activation family: y = f(x) and dx = dy * f'(x), one pass each over whatever arrays are given.
#
# relu            (leaky): 8 B an element; Caffe's max(x, 0) + slope * min(x, 0)
# elu, sigmoid, tanh, swish, exp   floats by vector_math.h, doubles by libm; 8 B an element
# bnll            libm's log1p, an element at a time
# *_backward      12 B an element; what they read (x or y) is said at each
#
# All work on flat arrays, which threads share out in blocks: an element's value depends on nothing else, so results are the
# same for any number of threads. y may be x, dx may be dy.

from cython.parallel cimport prange
from libc.math cimport exp as exp_d, log1p as log1p_d, tanh as tanh_d

from common cimport real
from threads cimport threads_for

cdef extern from "vector_math.h" nogil:
    float fast_exp_f(float x)
    float fast_tanh_f(float x)
    float sigmoid_f(float x)
    double sigmoid_d(double x)

cdef extern from "math.h" nogil:
    float log1p_f "log1pf" (float x)

cdef enum:
    BLOCK = 16384       # elements that a thread takes at a time: 64 KiB of floats in the first-level cache's reach
    COST = 16           # elements of cheap work that an exponential counts as, for threads_for

cdef enum Function:
    RELU, ELU, SIGMOID, TANH, SWISH, BNLL, EXP

FUNCTIONS = {
    "relu": RELU, "elu": ELU, "sigmoid": SIGMOID, "tanh": TANH, "swish": SWISH, "bnll": BNLL, "exp": EXP,
}


cdef inline real exp_of(real x) noexcept nogil:
    if real is float:
        return fast_exp_f(x)
    else:
        return exp_d(x)


cdef inline real sigmoid_of(real x) noexcept nogil:
    if real is float:
        return sigmoid_f(x)
    else:
        return sigmoid_d(x)


cdef inline real tanh_of(real x) noexcept nogil:
    if real is float:
        return fast_tanh_f(x)
    else:
        return tanh_d(x)


cdef inline real log1p_of(real x) noexcept nogil:
    if real is float:
        return log1p_f(x)
    else:
        return log1p_d(x)


cdef void forward_block(Function function, const real* x, real* y, Py_ssize_t n, real a, real b) noexcept nogil:
    """y = f(x); a is the slope, alpha, beta or the factor before x, b what is added to a * x."""
    cdef Py_ssize_t i
    if function == RELU:
        for i in range(n):
            y[i] = x[i] if x[i] > 0 else a * x[i] + 0  # + 0: no -0
    elif function == ELU:
        for i in range(n):
            y[i] = x[i] if x[i] > 0 else a * (exp_of(x[i]) - 1)
    elif function == SIGMOID:
        for i in range(n):
            y[i] = sigmoid_of(x[i])
    elif function == TANH:
        for i in range(n):
            y[i] = tanh_of(x[i])
    elif function == SWISH:
        for i in range(n):
            y[i] = x[i] * sigmoid_of(a * x[i])
    elif function == BNLL:
        for i in range(n):
            y[i] = x[i] + log1p_of(exp_of(-x[i])) if x[i] > 0 else log1p_of(exp_of(x[i]))
    else:
        for i in range(n):
            y[i] = exp_of(a * x[i] + b)


cdef void backward_block(
    Function function, const real* s, const real* dy, real* dx, Py_ssize_t n, real a, real b
) noexcept nogil:
    """dx = dy * f'(x); s is x or y, as the entry point says."""
    cdef Py_ssize_t i
    cdef real g
    if function == RELU:
        for i in range(n):
            dx[i] = dy[i] if s[i] > 0 else a * dy[i]
    elif function == ELU:
        for i in range(n):
            dx[i] = dy[i] if s[i] > 0 else dy[i] * (s[i] + a)
    elif function == SIGMOID:
        for i in range(n):
            dx[i] = dy[i] * s[i] * (1 - s[i])
    elif function == TANH:
        for i in range(n):
            dx[i] = dy[i] * (1 - s[i] * s[i])
    elif function == SWISH:
        for i in range(n):
            g = sigmoid_of(a * s[i])
            dx[i] = dy[i] * (a * s[i] * g * (1 - g) + g)
    elif function == BNLL:
        for i in range(n):
            dx[i] = dy[i] * sigmoid_of(s[i])
    else:
        for i in range(n):
            dx[i] = dy[i] * a * s[i]


def forward(int function, const real[::1] x, real[::1] y, double a, double b, int threads):
    """y = f(x), element by element."""
    cdef Py_ssize_t n = x.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef int used = threads_for(n if function == RELU else n * COST, threads)
    if n == 0:
        return
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        forward_block[real](<Function>function, &x[k * BLOCK], &y[k * BLOCK], min(BLOCK, n - k * BLOCK), <real>a, <real>b)


def backward(int function, const real[::1] s, const real[::1] dy, real[::1] dx, double a, double b, int threads):
    """dx = dy * f'(x). s is x for relu, swish and bnll; y for elu (and relu), sigmoid, tanh and exp."""
    cdef Py_ssize_t n = dy.shape[0], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef int used = threads_for(n, threads)
    if n == 0:
        return
    for k in prange(blocks, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        backward_block[real](
            <Function>function, &s[k * BLOCK], &dy[k * BLOCK], &dx[k * BLOCK], min(BLOCK, n - k * BLOCK), <real>a, <real>b
        )
