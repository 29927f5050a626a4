# CPU kernels of the loss family. Sums are returned as double; labels are cut to whole numbers as C does.
#
# squared_distance             sum (a - b)^2, and a - b where wanted: 8 B read, 4 B written an element (float)
# log_loss                     -w[label] * log(max(p[label], floor)): one probability and one label a position
# softmax_loss_backward        scale * (p - target): reads p, writes dx, 8 B an element
# log_loss_backward            -scale / max(p[label], floor) at the label, 0 elsewhere: writes dx
# infogain_loss, .._backward   each position against a row of the matrix: reads p once, a logarithm an element
# sigmoid_cross_entropy, ..    an exponential and a logarithm an element in its own type, see vector_math.h
# hinge_loss, contrastive_loss, smooth_l1_loss and their backwards: one pass each
# accuracy                     classes that score at least as high as the label's: reads the scores once
#
# Sums: blocks of a fixed size, each with 16 double lanes or one double accumulator, are added in the order of
# their index. So neither the number of threads nor the instruction set changes a bit; the error of a float
# sum is that of its terms.
#
# Loop orders: where a position's classes are neighbours (inner == 1) a thread takes whole rows; else tiles of
# TILE neighbouring positions, class by class, so that memory is read in order and the loop over positions
# vectorises.
#
# loss_classes.pxi has the losses against a class label, loss_pairs.pxi those that compare two arrays.
#
# A label that is no class stops nothing and reads nothing: the entry points look through the labels first and
# return the flat index of the first bad one, or -1.

from cython.parallel cimport prange
from libc.math cimport fabs, log, sqrt
from libc.stdlib cimport free, malloc

from common cimport real
from threads cimport threads_for

cdef extern from "vector_math.h" nogil:
    float softplus_f32(float x)
    double softplus_f64(double x)
    float sigmoid_f32(float x)
    double sigmoid_f64(double x)

cdef enum:
    BLOCK = 4096    # elements of a sum that one thread takes at a time
    TILE = 256      # positions of a tile: 1 KiB of float factors on the stack
    LANES = 16      # partial sums of a block
    NO_CLASS = -2147483648  # what a label that fits no int is cut to (C leaves it open; x86 gives this)
    LOG_COST = 16   # elements of cheap work that a logarithm of libm counts as, for threads_for
    EXP_COST = 8    # the same for a vectorised exponential with what follows it


# ---- labels ------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t class_of(real label) noexcept nogil:
    """The label cut to a whole number; NO_CLASS for NaN and for what fits no 32-bit int."""
    if label > -2147483649.0 and label < 2147483648.0:
        return <Py_ssize_t>label
    return NO_CLASS


cdef Py_ssize_t first_bad(
    const real* labels, Py_ssize_t count, Py_ssize_t classes, bint ignores, Py_ssize_t ignored
) noexcept nogil:
    """Index of the first label that is neither a class nor ignored, or -1."""
    cdef Py_ssize_t p, label
    for p in range(count):
        label = class_of(labels[p])
        if (label < 0 or label >= classes) and not (ignores and label == ignored):
            return p
    return -1


cdef Py_ssize_t check_positions(
    Py_ssize_t outer, Py_ssize_t inner, Py_ssize_t label_outer, Py_ssize_t label_inner
) except -1:
    if outer != label_outer or inner != label_inner:
        raise ValueError(f"labels of shape ({label_outer}, {label_inner}) for ({outer}, {inner}) positions")
    return 0


cdef Py_ssize_t check_equal(Py_ssize_t found, Py_ssize_t expected, str what) except -1:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")
    return 0


# ---- sums in blocks ----------------------------------------------------------------------------------------


ctypedef struct Tally:
    double total
    Py_ssize_t counted


cdef inline Py_ssize_t blocks_of(Py_ssize_t count, Py_ssize_t size) noexcept nogil:
    return (count + size - 1) // size


cdef Tally* new_tallies(Py_ssize_t count) except NULL:
    cdef Tally* tallies = <Tally*>malloc((count + 1) * sizeof(Tally))
    if tallies == NULL:
        raise MemoryError("no memory for the partial sums of a loss")
    return tallies


cdef Tally add_up(Tally* tallies, Py_ssize_t count) noexcept:
    """The sum over all blocks in the order of their index; frees them."""
    cdef Tally whole
    cdef Py_ssize_t b
    whole.total = 0
    whole.counted = 0
    for b in range(count):
        whole.total += tallies[b].total
        whole.counted += tallies[b].counted
    free(tallies)
    return whole


cdef inline const real* moved(const real* start, Py_ssize_t count) noexcept nogil:
    """`start`, `count` elements on, or NULL if it is NULL."""
    return start + count if start != NULL else NULL


cdef inline double add_lanes(const double* lanes) noexcept nogil:
    cdef double total = 0
    cdef int k
    for k in range(LANES):
        total += lanes[k]
    return total


include "loss_classes.pxi"
include "loss_pairs.pxi"
