# CPU kernels of the channel family, on arrays seen as (outer, channels, inner).
#
# scale           y = gamma * x (+ beta): 8 B an element (float)
# add             y = x + beta: 8 B
# dot, total      out (+)= sums of a * b, or of a, over outer and inner: 8 and 4 B
# prelu, prelu_backward, prelu_slopes   max(x, 0) + slope * min(x, 0) and its gradients: 8, 12, 8 B
#
# Loop orders. rows (inner >= ROW): a run of `inner` values has one factor, vectors run along it. columns (below): the factors of a
# row of the array, channels * inner of them, are laid out once, and vectors run across channels.
#
# Sums: LANES partial sums of the arrays' type over blocks of BLOCK values, blocks added in double in the order of their index; of
# columns, every row is added in double. Work is cut into segments of the outer axis, whose number depends on the shape alone and
# whose sums are added in order: the same bits for any number of threads and in every build.

from cython.parallel cimport prange
from libc.stdlib cimport calloc, free, malloc

from common cimport real
from threads cimport threads_for

cdef enum:
    ROW = 16            # values of a run from which on vectors run along it
    LANES = 16
    BLOCK = 1024        # values summed in float lanes before they are added in double
    SEGMENTS = 16       # parts of the outer axis that threads may share out
    CHUNK = 32768       # values of a run that a thread takes at a time

cdef enum Sum:
    DOT, TOTAL, SLOPES

cdef enum Map:
    SCALE, SHIFT, PRELU, PRELU_BACKWARD


cdef inline void map_run(Map kind, const real* x, const real* s, real* y, Py_ssize_t n, real g, real b) noexcept nogil:
    """One factor for all."""
    cdef Py_ssize_t i
    if kind == SCALE:
        for i in range(n):
            y[i] = g * x[i] + b
    elif kind == SHIFT:
        for i in range(n):
            y[i] = x[i] + b
    elif kind == PRELU:
        for i in range(n):
            y[i] = x[i] if x[i] > 0 else g * x[i]
    else:
        for i in range(n):
            y[i] = x[i] if s[i] > 0 else g * x[i]


cdef inline void map_row(
    Map kind, const real* x, const real* s, real* y, Py_ssize_t n, const real* g, const real* b
) noexcept nogil:
    """A factor for each."""
    cdef Py_ssize_t i
    if kind == SCALE and b != NULL:
        for i in range(n):
            y[i] = g[i] * x[i] + b[i]
    elif kind == SCALE:
        for i in range(n):
            y[i] = g[i] * x[i]
    elif kind == SHIFT:
        for i in range(n):
            y[i] = x[i] + b[i]
    elif kind == PRELU:
        for i in range(n):
            y[i] = x[i] if x[i] > 0 else g[i] * x[i]
    else:
        for i in range(n):
            y[i] = x[i] if s[i] > 0 else g[i] * x[i]


cdef real* spread(const real* values, Py_ssize_t channels, Py_ssize_t inner) except? NULL:
    """Each value `inner` times."""
    cdef Py_ssize_t c, i
    cdef real* row = <real*>malloc(channels * inner * sizeof(real))
    if row == NULL:
        raise MemoryError(f"no memory for {channels * inner} factors")
    for c in range(channels):
        for i in range(inner):
            row[c * inner + i] = values[c]
    return row


cdef int run_map(
    Map kind, const real* x, const real* s, real* y, const real* g, const real* b,
    Py_ssize_t outer, Py_ssize_t channels, Py_ssize_t inner, int threads
) except -1:
    cdef Py_ssize_t k, c, at, size, pieces, columns = channels * inner
    cdef int used = threads_for(outer * columns, threads)
    cdef real* gs = NULL
    cdef real* bs = NULL
    if outer * columns == 0:
        return 0
    if inner >= ROW or channels == 1:
        if channels == 1:
            inner, outer = inner * outer, 1
        pieces = (inner + CHUNK - 1) // CHUNK
        for k in prange(outer * channels * pieces, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            c = k // pieces % channels
            at = k // pieces * inner + k % pieces * CHUNK
            size = min(CHUNK, inner - k % pieces * CHUNK)
            map_run(kind, x + at, s + at, y + at, size, g[c] if g != NULL else <real>1, b[c] if b != NULL else <real>0)
        return 0
    try:
        if inner > 1:
            gs = spread(g, channels, inner) if g != NULL else NULL
            bs = spread(b, channels, inner) if b != NULL else NULL
            g, b = gs, bs
        pieces = (columns + CHUNK - 1) // CHUNK
        for k in prange(outer * pieces, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
            c = k % pieces * CHUNK
            at = k // pieces * columns + c
            map_row(
                kind, x + at, s + at, y + at, min(CHUNK, columns - c),
                g + c if g != NULL else NULL, b + c if b != NULL else NULL,
            )
    finally:
        free(gs)
        free(bs)
    return 0


def scale(const real[:, :, ::1] x, const real[::1] gamma, real[:, :, ::1] y, const real[::1] beta, int threads):
    """y = gamma * x (+ beta); y may be x."""
    if x.shape[0] * x.shape[1] * x.shape[2] == 0:
        return
    run_map(SCALE, &x[0, 0, 0], &x[0, 0, 0], &y[0, 0, 0], &gamma[0], &beta[0] if beta is not None else NULL,
            x.shape[0], x.shape[1], x.shape[2], threads)


def add(const real[:, :, ::1] x, const real[::1] beta, real[:, :, ::1] y, int threads):
    """y = x + beta; y may be x."""
    if x.shape[0] * x.shape[1] * x.shape[2] == 0:
        return
    run_map(SHIFT, &x[0, 0, 0], &x[0, 0, 0], &y[0, 0, 0], <const real*>NULL, &beta[0],
            x.shape[0], x.shape[1], x.shape[2], threads)


def prelu(const real[:, :, ::1] x, const real[::1] slope, real[:, :, ::1] y, int threads):
    """y = max(x, 0) + slope * min(x, 0); y may be x. One slope for all where `slope` has one value and x one channel."""
    if x.shape[0] * x.shape[1] * x.shape[2] == 0:
        return
    run_map(PRELU, &x[0, 0, 0], &x[0, 0, 0], &y[0, 0, 0], &slope[0], <const real*>NULL,
            x.shape[0], x.shape[1], x.shape[2], threads)


def prelu_backward(const real[:, :, ::1] x, const real[:, :, ::1] dy, const real[::1] slope, real[:, :, ::1] dx, int threads):
    """dx = dy where x > 0, else slope * dy; dx may be dy."""
    if x.shape[0] * x.shape[1] * x.shape[2] == 0:
        return
    run_map(PRELU_BACKWARD, &dy[0, 0, 0], &x[0, 0, 0], &dx[0, 0, 0], &slope[0], <const real*>NULL,
            x.shape[0], x.shape[1], x.shape[2], threads)


# ---- sums ---------------------------------------------------------------------------------------------------------------------


cdef inline real product(Sum kind, const real* a, const real* b, Py_ssize_t i) noexcept nogil:
    if kind == TOTAL:
        return a[i]
    if kind == DOT:
        return a[i] * b[i]
    return <real>0 if a[i] > 0 else a[i] * b[i]


cdef double run_sum(Sum kind, const real* a, const real* b, Py_ssize_t n) noexcept nogil:
    """Of one run: float lanes over blocks, blocks in double."""
    cdef Py_ssize_t start, i, lane, end
    cdef double total = 0
    cdef real[LANES] lanes
    start = 0
    while start < n:
        end = min(n, start + BLOCK)
        for lane in range(LANES):
            lanes[lane] = 0
        i = start
        if kind == DOT:
            while i + LANES <= end:
                for lane in range(LANES):
                    lanes[lane] += a[i + lane] * b[i + lane]
                i += LANES
        elif kind == TOTAL:
            while i + LANES <= end:
                for lane in range(LANES):
                    lanes[lane] += a[i + lane]
                i += LANES
        else:
            while i + LANES <= end:
                for lane in range(LANES):
                    lanes[lane] += <real>0 if a[i + lane] > 0 else a[i + lane] * b[i + lane]
                i += LANES
        lane = 0
        while i < end:
            lanes[lane] += product(kind, a, b, i)
            lane = lane + 1
            i += 1
        for lane in range(LANES):
            total += lanes[lane]
        start = end
    return total


cdef inline void add_row(Sum kind, const real* a, const real* b, double* sums, Py_ssize_t n) noexcept nogil:
    """Of one row of columns, in double."""
    cdef Py_ssize_t i
    if kind == DOT:
        for i in range(n):
            sums[i] += <double>a[i] * b[i]
    elif kind == TOTAL:
        for i in range(n):
            sums[i] += a[i]
    else:
        for i in range(n):
            sums[i] += 0.0 if a[i] > 0 else <double>a[i] * b[i]


cdef void segment_sums(
    Sum kind, const real* a, const real* b, double* sums, Py_ssize_t first, Py_ssize_t last, Py_ssize_t c0, Py_ssize_t c1,
    Py_ssize_t channels, Py_ssize_t inner
) noexcept nogil:
    """Sums over rows first to last of the outer axis, of channels c0 to c1: rows into sums[c], columns into sums[c * inner + i]."""
    cdef Py_ssize_t o, c, at
    for o in range(first, last):
        if inner >= ROW:
            for c in range(c0, c1):
                at = (o * channels + c) * inner
                sums[c] += run_sum(kind, a + at, b + at, inner)
        else:
            at = (o * channels + c0) * inner
            add_row(kind, a + at, b + at, sums + c0 * inner, (c1 - c0) * inner)


cdef int run_sums(
    Sum kind, const real* a, const real* b, real* out, bint accumulate,
    Py_ssize_t outer, Py_ssize_t channels, Py_ssize_t inner, int threads
) except -1:
    cdef Py_ssize_t segments, tiles, per_tile, width, k, s, t, c, i
    cdef double total
    cdef double* sums
    cdef int used = threads_for(outer * channels * inner, threads)
    if channels == 1:  # one long run, cut so that threads have something to share
        outer, inner = (outer * inner + CHUNK - 1) // CHUNK, outer * inner
        return long_sum(kind, a, b, out, accumulate, inner, outer, used)
    segments = min(outer, SEGMENTS)
    per_tile = max(1, min(channels, 4096 // max(inner, 1)))
    tiles = (channels + per_tile - 1) // per_tile
    width = channels if inner >= ROW else channels * inner
    sums = <double*>calloc(max(segments, 1) * width + 1, sizeof(double))
    if sums == NULL:
        raise MemoryError(f"no memory for {segments * width} sums")
    for k in prange(segments * tiles, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        s = k // tiles
        t = k % tiles
        segment_sums(
            kind, a, b, sums + s * width, outer * s // segments, outer * (s + 1) // segments,
            t * per_tile, min(channels, (t + 1) * per_tile), channels, inner,
        )
    for c in range(channels):
        total = 0
        for s in range(segments):
            if inner >= ROW:
                total += sums[s * width + c]
            else:
                for i in range(inner):
                    total += sums[s * width + c * inner + i]
        out[c] = <real>(total + out[c]) if accumulate else <real>total
    free(sums)
    return 0


cdef int long_sum(
    Sum kind, const real* a, const real* b, real* out, bint accumulate, Py_ssize_t n, Py_ssize_t pieces, int used
) except -1:
    """One channel: pieces of CHUNK values, added in order."""
    cdef Py_ssize_t k
    cdef double total = 0
    cdef double* sums = <double*>calloc(pieces + 1, sizeof(double))
    if sums == NULL:
        raise MemoryError(f"no memory for {pieces} sums")
    for k in prange(pieces, nogil=True, num_threads=used, use_threads_if=used > 1, schedule="static"):
        sums[k] = run_sum(kind, a + k * CHUNK, b + k * CHUNK, min(CHUNK, n - k * CHUNK))
    for k in range(pieces):
        total += sums[k]
    out[0] = <real>(total + out[0]) if accumulate else <real>total
    free(sums)
    return 0


def dot(const real[:, :, ::1] a, const real[:, :, ::1] b, real[::1] out, bint accumulate, int threads):
    """out[c] (+)= sum over outer and inner of a * b."""
    if a.shape[1] == 0:
        return
    if a.shape[0] * a.shape[2] == 0:
        if not accumulate:
            out[:] = 0
        return
    run_sums(DOT, &a[0, 0, 0], &b[0, 0, 0], &out[0], accumulate, a.shape[0], a.shape[1], a.shape[2], threads)


def total(const real[:, :, ::1] a, real[::1] out, bint accumulate, int threads):
    """out[c] (+)= sum over outer and inner of a."""
    if a.shape[1] == 0:
        return
    if a.shape[0] * a.shape[2] == 0:
        if not accumulate:
            out[:] = 0
        return
    run_sums(TOTAL, &a[0, 0, 0], &a[0, 0, 0], &out[0], accumulate, a.shape[0], a.shape[1], a.shape[2], threads)


def prelu_slopes(const real[:, :, ::1] x, const real[:, :, ::1] dy, real[::1] dslope, int threads):
    """dslope[c] += sum over outer and inner of dy * min(x, 0)."""
    if x.shape[0] * x.shape[1] * x.shape[2] == 0:
        return
    run_sums(SLOPES, &x[0, 0, 0], &dy[0, 0, 0], &dslope[0], True, x.shape[0], x.shape[1], x.shape[2], threads)
