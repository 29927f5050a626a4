# How many threads a kernel uses. With OpenMP or without, kernels are written once: `prange` falls back to a plain loop.
#
# Typical use, where `threads` is the argument of the entry point and `work` the number of elements that are touched:
#
#     cdef int n = threads_for(work, threads)
#     for c in prange(channels, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
#
# No result may depend on n: threads share out whole channels, rows or fixed blocks, never the order of a sum.

# The team of GCC's OpenMP does not survive a fork: a child that asked for it would wait for ever. In a forked process
# (a data loader's worker, say) every kernel runs on one thread.

cdef extern from * nogil:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #include <pthread.h>

    static int caffenorm_forked = 0;

    static void caffenorm_note_fork(void)
    {
        caffenorm_forked = 1;
    }

    __attribute__((constructor)) static void caffenorm_watch_forks(void)
    {
        pthread_atfork(NULL, NULL, caffenorm_note_fork);
    }

    #define caffenorm_openmp() _OPENMP
    #define caffenorm_max_threads() (caffenorm_forked ? 1 : omp_get_max_threads())
    #define caffenorm_thread_id() omp_get_thread_num()
    #define caffenorm_alone() (caffenorm_forked || omp_in_parallel())
    #else
    #define caffenorm_openmp() 0
    #define caffenorm_max_threads() 1
    #define caffenorm_thread_id() 0
    #define caffenorm_alone() 1
    #endif
    """
    int openmp_version "caffenorm_openmp" ()
    int max_threads "caffenorm_max_threads" ()
    int thread_id "caffenorm_thread_id" ()
    # Whether only the calling thread may work: in a forked process or already inside a parallel region.
    int alone "caffenorm_alone" ()


# Elements of cheap work (one multiplication, read and written: 0.05 to 0.08 ns on one AVX-512 core) that a thread
# should have; count dearer elements several times. Measured with the team awake: two threads need 1.7 us instead of
# one thread's 1.7 for 16384 values, 2.7 instead of 3.1 for 65536, 8.5 instead of 20 for 262144. A team that sleeps
# takes some 50 us to wake: between PyTorch's calls, 256x512x1x1 took 110 us on two threads and 28 on one.
cdef enum:
    GRAIN = 131072


cdef inline int threads_for(Py_ssize_t work, int threads) noexcept nogil:
    """Threads for `work` elements: at most `threads`, each with GRAIN elements or more; 1 where `alone`."""
    cdef Py_ssize_t wanted = work // GRAIN
    if wanted < 2 or threads < 2 or alone():
        return 1
    return threads if wanted > threads else <int>wanted
