"""What the processor can run and how many threads it offers. Built once, for any processor of the architecture.

level() -> int         4: x86-64-v4, 3: x86-64-v3, 0: neither (any other architecture too)
thread_count() -> int  threads that a parallel loop would use; 1 without OpenMP
has_openmp() -> bool   whether the kernels were built with OpenMP
"""

from threads cimport max_threads, openmp_version


cdef extern from "cpu_level.h" nogil:
    int caffenorm_cpu_level()


def level() -> int:
    return caffenorm_cpu_level()


def thread_count() -> int:
    return max_threads()


def has_openmp() -> bool:
    return openmp_version() > 0
