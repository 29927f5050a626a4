# The k values that come first along an axis, by a heap; see tensor.pyx.

cdef inline bint goes_before(real a, Py_ssize_t i, real b, Py_ssize_t j, bint smallest) noexcept nogil:
    """Whether value a at i is listed before b at j. A NaN comes first; of equal ones the later, or the earlier of smallest."""
    if a != a or b != b:
        return a != a and (b == b or i > j)
    if smallest:
        return a < b or (a == b and i < j)
    return a > b or (a == b and i > j)


cdef void sink(const real* x, Py_ssize_t stride, Py_ssize_t* heap, Py_ssize_t k, Py_ssize_t at, bint smallest) noexcept nogil:
    """Lets the entry at `at` sink in a heap that has at its root the one to be listed last."""
    cdef Py_ssize_t child, moved = heap[at]
    while 2 * at + 1 < k:
        child = 2 * at + 1
        if child + 1 < k and goes_before(x[heap[child] * stride], heap[child], x[heap[child + 1] * stride], heap[child + 1],
                                         smallest):
            child += 1
        if not goes_before(x[moved * stride], moved, x[heap[child] * stride], heap[child], smallest):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moved


cdef void top_of(const real* x, Py_ssize_t size, Py_ssize_t stride, Py_ssize_t* heap, Py_ssize_t k, bint smallest) noexcept nogil:
    """heap = the places of the k values that come first, in order."""
    cdef Py_ssize_t i, last
    for i in range(k):
        heap[i] = i
    for i in range(k // 2 - 1, -1, -1):
        sink(x, stride, heap, k, i, smallest)
    for i in range(k, size):
        if goes_before(x[i * stride], i, x[heap[0] * stride], heap[0], smallest):
            heap[0] = i
            sink(x, stride, heap, k, 0, smallest)
    for i in range(k - 1, 0, -1):
        last = heap[0]
        heap[0] = heap[i]
        heap[i] = last
        sink(x, stride, heap, i, 0, smallest)


def top(const real[:, :, ::1] x, real[:, :, ::1] places, real[:, :, ::1] values, bint smallest, int threads):
    """places (outer, k, inner) = where the largest (or smallest) values along axis 1 are, values = what they are.

    Either may be None.
    """
    cdef Py_ssize_t outer = x.shape[0], size = x.shape[1], inner = x.shape[2], k, p, o, i, j, at
    if places is None and values is None:
        return
    k = places.shape[1] if places is not None else values.shape[1]
    if not 1 <= k <= size:
        raise ValueError(f"{k} of {size} values")
    if places is not None:
        check_counts(places.shape[0] * places.shape[1] * places.shape[2], outer * k * inner)
    if values is not None:
        check_counts(values.shape[0] * values.shape[1] * values.shape[2], outer * k * inner)
    if outer * inner == 0:
        return
    cdef const real* px = &x[0, 0, 0]
    cdef real* pp = NULL
    cdef real* pv = NULL
    if places is not None:
        pp = &places[0, 0, 0]
    if values is not None:
        pv = &values[0, 0, 0]
    cdef int used = threads_for(outer * size * inner * HEAP_COST, threads)
    cdef Py_ssize_t* heaps = <Py_ssize_t*>malloc(outer * inner * k * sizeof(Py_ssize_t))
    if heaps == NULL:
        raise MemoryError("no memory for the places of the largest values")
    for p in prange(outer * inner, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        top_of(px + p // inner * size * inner + p % inner, size, inner, heaps + p * k, k, smallest)
    for p in range(outer * inner):
        o = p // inner
        i = p % inner
        for j in range(k):
            at = (o * k + j) * inner + i
            if pp != NULL:
                pp[at] = <real>heaps[p * k + j]
            if pv != NULL:
                pv[at] = px[(o * size + heaps[p * k + j]) * inner + i]
    free(heaps)
