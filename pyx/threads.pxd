# How many threads a kernel uses. With OpenMP or without, kernels are written once: `prange` falls back to a plain loop.
#
# Typical use, where `threads` is the argument of the entry point and `work` the number of elements that are touched:
#
#     cdef int n = threads_for(work, threads)
#     for c in prange(channels, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
#
# No result may depend on n: threads share out whole channels, rows or fixed blocks, never the order of a sum.

cdef extern from * nogil:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define caffenorm_openmp() _OPENMP
    #define caffenorm_max_threads() omp_get_max_threads()
    #define caffenorm_thread_id() omp_get_thread_num()
    #define caffenorm_in_parallel() omp_in_parallel()
    #else
    #define caffenorm_openmp() 0
    #define caffenorm_max_threads() 1
    #define caffenorm_thread_id() 0
    #define caffenorm_in_parallel() 0
    #endif
    """
    int openmp_version "caffenorm_openmp" ()
    int max_threads "caffenorm_max_threads" ()
    int thread_id "caffenorm_thread_id" ()
    int in_parallel "caffenorm_in_parallel" ()


# Elements of cheap work (one multiplication, read and written: 0.05 to 0.08 ns on one AVX-512 core) that a thread
# should have; count dearer elements several times. Measured with the team awake: two threads need 1.7 us instead of
# one thread's 1.7 for 16384 values, 2.7 instead of 3.1 for 65536, 8.5 instead of 20 for 262144.
cdef enum:
    GRAIN = 32768


cdef inline int threads_for(Py_ssize_t work, int threads) noexcept nogil:
    """Threads for `work` elements: at most `threads`, each with GRAIN elements or more; 1 inside a parallel region."""
    cdef Py_ssize_t wanted = work // GRAIN
    if wanted < 2 or threads < 2 or in_parallel():
        return 1
    return threads if wanted > threads else <int>wanted
