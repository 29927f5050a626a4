# Losses that compare two arrays element by element or row by row; see loss.pyx.

# ---- squared distance --------------------------------------------------------------------------------------


cdef double squared_block(const real* a, const real* b, real* diff, Py_ssize_t count) noexcept nogil:
    cdef double lanes[LANES]
    cdef double total
    cdef Py_ssize_t i, step, whole = count // LANES
    cdef int k
    cdef real d
    for k in range(LANES):
        lanes[k] = 0
    for step in range(whole):
        for k in range(LANES):
            d = a[step * LANES + k] - b[step * LANES + k]
            lanes[k] += <double>d * <double>d
    total = add_lanes(lanes)
    for i in range(whole * LANES, count):
        d = a[i] - b[i]
        total += <double>d * <double>d
    if diff != NULL:
        for i in range(count):
            diff[i] = a[i] - b[i]
    return total


def squared_distance(const real[::1] a, const real[::1] b, real[::1] diff, int threads):
    """sum (a - b)^2; diff, where given, gets a - b."""
    cdef Py_ssize_t count = a.shape[0], blocks = blocks_of(count, BLOCK), k, size
    check_equal(b.shape[0], count, "b")
    if diff is not None:
        check_equal(diff.shape[0], count, "diff")
    cdef real* out = NULL
    if diff is not None:
        out = &diff[0]
    cdef Tally* tallies = new_tallies(blocks)
    cdef int n = threads_for(count, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        size = min(<Py_ssize_t>BLOCK, count - k * BLOCK)
        tallies[k].total = squared_block(
            &a[0] + k * BLOCK, &b[0] + k * BLOCK, NULL if out == NULL else out + k * BLOCK, size
        )
        tallies[k].counted = size
    return add_up(tallies, blocks).total


# ---- sigmoid cross entropy ---------------------------------------------------------------------------------


cdef inline real cross_entropy(real x, real target) noexcept nogil:
    """-target * log(s(x)) - (1 - target) * log(1 - s(x)), s the sigmoid, without overflow."""
    cdef real minus_size = -x if x >= 0 else x, rest = target - (x >= 0)
    if real is float:
        return softplus_f32(minus_size) - x * rest
    else:
        return softplus_f64(minus_size) - x * rest


cdef void sigmoid_block(
    const real* x, const real* target, Py_ssize_t count, bint ignores, Py_ssize_t ignored, Tally* tally
) noexcept nogil:
    cdef double lanes[LANES]
    cdef Py_ssize_t i, step, whole = 0 if ignores else count // LANES
    cdef int k
    for k in range(LANES):
        lanes[k] = 0
    for step in range(whole):
        for k in range(LANES):
            lanes[k] += cross_entropy(x[step * LANES + k], target[step * LANES + k])
    tally.total = add_lanes(lanes)
    tally.counted = whole * LANES
    for i in range(whole * LANES, count):
        if not (ignores and class_of(target[i]) == ignored):
            tally.total += cross_entropy(x[i], target[i])
            tally.counted += 1


def sigmoid_cross_entropy(
    const real[::1] x, const real[::1] target, bint ignores, Py_ssize_t ignored, int threads
):
    """(sum over the elements that count, their number)."""
    cdef Py_ssize_t count = x.shape[0], blocks = blocks_of(count, BLOCK), k
    check_equal(target.shape[0], count, "target")
    cdef Tally* tallies = new_tallies(blocks)
    cdef int n = threads_for(count * EXP_COST, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        sigmoid_block(
            &x[0] + k * BLOCK, &target[0] + k * BLOCK, min(<Py_ssize_t>BLOCK, count - k * BLOCK),
            ignores, ignored,
            &tallies[k]
        )
    cdef Tally whole = add_up(tallies, blocks)
    return whole.total, whole.counted


cdef inline real cross_entropy_slope(real x, real target, real scale) noexcept nogil:
    if real is float:
        return scale * (sigmoid_f32(x) - target)
    else:
        return scale * (sigmoid_f64(x) - target)


cdef void sigmoid_block_backward(
    const real* x, const real* target, real* dx, Py_ssize_t count, real scale,
    bint ignores, Py_ssize_t ignored
) noexcept nogil:
    cdef Py_ssize_t i
    if not ignores:
        for i in range(count):
            dx[i] = cross_entropy_slope(x[i], target[i], scale)
        return
    for i in range(count):
        dx[i] = 0 if class_of(target[i]) == ignored else cross_entropy_slope(x[i], target[i], scale)


def sigmoid_cross_entropy_backward(
    const real[::1] x, const real[::1] target, real[::1] dx, double scale, bint ignores, Py_ssize_t ignored,
    int threads
):
    """dx = scale * (sigmoid(x) - target), 0 where ignored."""
    cdef Py_ssize_t count = x.shape[0], blocks = blocks_of(count, BLOCK), k
    check_equal(target.shape[0], count, "target")
    check_equal(dx.shape[0], count, "dx")
    cdef int n = threads_for(count * EXP_COST, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        sigmoid_block_backward(
            &x[0] + k * BLOCK, &target[0] + k * BLOCK, &dx[0] + k * BLOCK,
            min(<Py_ssize_t>BLOCK, count - k * BLOCK), <real>scale, ignores, ignored
        )


# ---- contrastive -------------------------------------------------------------------------------------------


cdef double contrastive_term(double squared, bint similar, double margin, bint legacy) noexcept nogil:
    cdef double gap
    if similar:
        return squared
    gap = margin - (squared if legacy else sqrt(squared))
    if gap < 0:
        gap = 0
    return gap if legacy else gap * gap


def contrastive_loss(
    const real[:, ::1] a, const real[:, ::1] b, const real[::1] similar, real[::1] squared, double margin,
    bint legacy, int threads
):
    """Sum over pairs; `squared` gets their squared distances."""
    cdef Py_ssize_t num = a.shape[0], dim = a.shape[1], k
    check_equal(b.shape[0], num, "rows of b")
    check_equal(b.shape[1], dim, "columns of b")
    check_equal(similar.shape[0], num, "similar")
    check_equal(squared.shape[0], num, "squared")
    cdef Tally* tallies = new_tallies(num)
    cdef int n = threads_for(num * dim, threads)
    for k in prange(num, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        squared[k] = <real>squared_block(&a[k, 0], &b[k, 0], <real*>NULL, dim)
        tallies[k].total = contrastive_term(squared[k], class_of(similar[k]) != 0, margin, legacy)
        tallies[k].counted = 1
    return add_up(tallies, num).total


cdef double contrastive_slope(
    double squared, bint similar, double margin, bint legacy, double guard
) noexcept nogil:
    """What a - b is multiplied by, but for the scale."""
    cdef double distance
    if similar:
        return 1
    if legacy:
        return -1 if margin - squared > 0 else 0
    distance = sqrt(squared)
    return -(margin - distance) / (distance + guard) if margin - distance > 0 else 0


cdef void scaled_difference(const real* a, const real* b, real* dx, Py_ssize_t count,
real factor) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        dx[i] = factor * (a[i] - b[i]) if factor != 0 else 0


def contrastive_loss_backward(
    const real[:, ::1] a, const real[:, ::1] b, const real[::1] similar, const real[::1] squared,
    real[:, ::1] dx,
    double scale, double margin, bint legacy, double guard, int threads
):
    """dx = scale * slope * (a - b); `guard` is added to the distance that is divided by."""
    cdef Py_ssize_t num = a.shape[0], dim = a.shape[1], k
    check_equal(b.shape[0], num, "rows of b")
    check_equal(b.shape[1], dim, "columns of b")
    check_equal(similar.shape[0], num, "similar")
    check_equal(squared.shape[0], num, "squared")
    check_equal(dx.shape[0], num, "rows of dx")
    check_equal(dx.shape[1], dim, "columns of dx")
    cdef int n = threads_for(num * dim, threads)
    for k in prange(num, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        scaled_difference(
            &a[k, 0], &b[k, 0], &dx[k, 0], dim,
            <real>(scale * contrastive_slope(squared[k], class_of(similar[k]) != 0, margin, legacy, guard))
        )


# ---- smooth L1 ---------------------------------------------------------------------------------------------


cdef inline double weight_at(const real* weights, Py_ssize_t i) noexcept nogil:
    return weights[i] if weights != NULL else 1


cdef inline double smooth_term(
    double d, double inside, double outside, double half, double bend, double below
) noexcept nogil:
    d = fabs(inside * d)
    return outside * (half * d * d if d < bend else d - below)


cdef double smooth_block(
    const real* a, const real* b, const real* inside, const real* outside, Py_ssize_t count, double sigma2
) noexcept nogil:
    cdef double lanes[LANES]
    cdef double total, half = 0.5 * sigma2, bend = 1 / sigma2, below = 0.5 / sigma2
    cdef Py_ssize_t i, step, whole = count // LANES
    cdef int k
    for k in range(LANES):
        lanes[k] = 0
    for step in range(whole):
        for k in range(LANES):
            i = step * LANES + k
            lanes[k] += smooth_term(
                a[i] - b[i], weight_at(inside, i), weight_at(outside, i), half, bend, below
            )
    total = add_lanes(lanes)
    for i in range(whole * LANES, count):
        total += smooth_term(a[i] - b[i], weight_at(inside, i), weight_at(outside, i), half, bend, below)
    return total


def smooth_l1_loss(
    const real[::1] a, const real[::1] b, const real[::1] inside, const real[::1] outside,
    double sigma2, int threads
):
    """sum of outside * f(inside * (a - b)); weights that are None are 1."""
    cdef Py_ssize_t count = a.shape[0], blocks = blocks_of(count, BLOCK), k
    check_equal(b.shape[0], count, "b")
    check_equal(count if inside is None else inside.shape[0], count, "inside")
    check_equal(count if outside is None else outside.shape[0], count, "outside")
    cdef const real* w_in = NULL
    if inside is not None:
        w_in = &inside[0]
    cdef const real* w_out = NULL
    if outside is not None:
        w_out = &outside[0]
    cdef Tally* tallies = new_tallies(blocks)
    cdef int n = threads_for(count, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        tallies[k].total = smooth_block(
            &a[0] + k * BLOCK, &b[0] + k * BLOCK, moved(w_in, k * BLOCK),
            moved(w_out, k * BLOCK), min(<Py_ssize_t>BLOCK, count - k * BLOCK), sigma2
        )
        tallies[k].counted = 0
    return add_up(tallies, blocks).total


cdef inline real smooth_slope(real d, real sigma2) noexcept nogil:
    if fabs(d) < 1 / sigma2:
        return sigma2 * d
    if d != d:
        return d
    return 1 if d > 0 else -1


def smooth_l1_loss_backward(
    const real[::1] a, const real[::1] b, const real[::1] inside, const real[::1] outside,
    real[::1] dx, double scale,
    double sigma2, bint weigh_inside, int threads
):
    """dx = scale * outside * f'(inside * (a - b)), times inside again where weigh_inside."""
    cdef Py_ssize_t count = a.shape[0], i
    check_equal(b.shape[0], count, "b")
    check_equal(dx.shape[0], count, "dx")
    check_equal(count if inside is None else inside.shape[0], count, "inside")
    check_equal(count if outside is None else outside.shape[0], count, "outside")
    cdef const real* w_in = NULL
    if inside is not None:
        w_in = &inside[0]
    cdef const real* w_out = NULL
    if outside is not None:
        w_out = &outside[0]
    cdef const real* x = &a[0]
    cdef const real* y = &b[0]
    cdef real* out = &dx[0]
    cdef real slope
    cdef int n = threads_for(count, threads)
    for i in prange(count, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        slope = x[i] - y[i]
        if w_in != NULL:
            slope = w_in[i] * slope
        slope = smooth_slope(slope, <real>sigma2)
        if w_in != NULL and weigh_inside:
            slope = slope * w_in[i]
        if w_out != NULL:
            slope = slope * w_out[i]
        out[i] = <real>scale * slope
