# Against one class label a position: log loss, softmax loss, infogain, hinge, accuracy; see loss.pyx.

# ---- logarithm of the label's probability ------------------------------------------------------------------


cdef void log_block(
    const real* prob, const real* labels, const real* weights, Py_ssize_t channels, Py_ssize_t inner,
    Py_ssize_t start, Py_ssize_t stop, double floor, bint ignores, Py_ssize_t ignored, Tally* tally
) noexcept nogil:
    cdef Py_ssize_t o = start // inner, i = start % inner, p, label
    cdef real least = <real>floor, value
    cdef double term
    tally.total = 0
    tally.counted = 0
    for p in range(start, stop):
        label = class_of(labels[p])
        if not (ignores and label == ignored):
            value = prob[(o * channels + label) * inner + i]
            if value < least:
                value = least
            term = log(<double>value)
            if weights != NULL:
                term = term * weights[label]
            tally.total -= term
            tally.counted += 1
        i += 1
        if i == inner:
            i = 0
            o += 1


def log_loss(
    const real[:, :, ::1] prob, const real[:, ::1] labels, const real[::1] weights, double floor,
    bint ignores, Py_ssize_t ignored, int threads
):
    """(sum over positions, positions that count, index of the first bad label or -1)."""
    cdef Py_ssize_t channels = prob.shape[1], inner = prob.shape[2], count = labels.shape[0] * labels.shape[1]
    check_positions(prob.shape[0], inner, labels.shape[0], labels.shape[1])
    if weights is not None:
        check_equal(weights.shape[0], channels, "weights")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], count, channels, ignores, ignored)
    if bad >= 0:
        return 0.0, 0, bad
    cdef const real* factors = NULL
    if weights is not None:
        factors = &weights[0]
    cdef Py_ssize_t blocks = blocks_of(count, BLOCK), k
    cdef Tally* tallies = new_tallies(blocks)
    cdef int n = threads_for(count * LOG_COST, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        log_block(
            &prob[0, 0, 0], &labels[0, 0], factors, channels, inner, k * BLOCK, min(count,
            (k + 1) * BLOCK), floor,
            ignores, ignored, &tallies[k]
        )
    cdef Tally whole = add_up(tallies, blocks)
    return whole.total, whole.counted, bad


def log_loss_backward(
    const real[:, :, ::1] prob, const real[:, ::1] labels, real[:, :, ::1] dx, double scale, double floor
):
    """dx = -scale / max(p, floor) at the label, 0 elsewhere; returns the first bad label or -1."""
    cdef Py_ssize_t channels = prob.shape[1], inner = prob.shape[2], count = labels.shape[0] * labels.shape[1]
    cdef Py_ssize_t o, i, at
    cdef real value, least = <real>floor
    check_positions(prob.shape[0], inner, labels.shape[0], labels.shape[1])
    check_equal(dx.shape[0] * dx.shape[1] * dx.shape[2], count * channels, "dx")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], count, channels, False, 0)
    if bad >= 0:
        return bad
    cdef real* out = &dx[0, 0, 0]
    for at in range(count * channels):
        out[at] = 0
    for o in range(labels.shape[0]):
        for i in range(inner):
            at = (o * channels + class_of(labels[o, i])) * inner + i
            value = (&prob[0, 0, 0])[at]
            if value < least:
                value = least
            out[at] = <real>(-scale) / value
    return bad


# ---- softmax loss ------------------------------------------------------------------------------------------


ctypedef struct Target:
    double scale
    double at_label     # what is taken off the label's probability: 1 without smoothing
    double elsewhere    # off the others: 0 without smoothing
    double mass         # what probabilities are multiplied by: 1 without smoothing
    bint ignores
    Py_ssize_t ignored


cdef void softmax_row(
    const real* p, real* dx, Py_ssize_t channels, Py_ssize_t label, const real* weights, Target* t
) noexcept nogil:
    cdef Py_ssize_t c
    cdef real factor, mass = <real>t.mass, elsewhere = <real>t.elsewhere
    if t.ignores and label == t.ignored:
        for c in range(channels):
            dx[c] = 0
        return
    factor = <real>t.scale
    if weights != NULL:
        factor = factor * weights[label]
    for c in range(channels):
        dx[c] = factor * (mass * p[c] - elsewhere)
    dx[label] = factor * (mass * p[label] - <real>t.at_label)


cdef void softmax_tile(
    const real* p, const real* labels, real* dx, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t size,
    const real* weights, Target* t
) noexcept nogil:
    """`size` neighbouring positions; p, labels and dx point at the first of them."""
    cdef real factors[TILE]
    cdef real mass = <real>t.mass, elsewhere = <real>t.elsewhere, at_label = <real>t.at_label, zero = 0
    cdef Py_ssize_t i, c, at, label
    for i in range(size):
        label = class_of(labels[i])
        factors[i] = <real>t.scale
        if t.ignores and label == t.ignored:
            factors[i] = 0
        elif weights != NULL:
            factors[i] = factors[i] * weights[label]
    for c in range(channels):
        at = c * inner
        for i in range(size):
            dx[at + i] = factors[i] * (mass * p[at + i] - elsewhere) if factors[i] != 0 else zero
    for i in range(size):
        if factors[i] != 0:
            at = class_of(labels[i]) * inner + i
            dx[at] = factors[i] * (mass * p[at] - at_label)


def softmax_loss_backward(
    const real[:, :, ::1] prob, const real[:, ::1] labels, const real[::1] weights, real[:, :, ::1] dx,
    double scale, double smoothing, bint ignores, Py_ssize_t ignored, int threads
):
    """dx = scale * w[label] * (mass * p - target), 0 where ignored; returns the first bad label or -1.

    With smoothing s and C classes: target is 1 - s at the label and s / C elsewhere; mass is their sum.
    """
    cdef Py_ssize_t outer = prob.shape[0], channels = prob.shape[1], inner = prob.shape[2], k, o, first
    check_positions(outer, inner, labels.shape[0], labels.shape[1])
    check_equal(dx.shape[0] * dx.shape[1] * dx.shape[2], outer * channels * inner, "dx")
    if weights is not None:
        check_equal(weights.shape[0], channels, "weights")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], outer * inner, channels, ignores, ignored)
    if bad >= 0 or outer * channels * inner == 0:
        return bad
    cdef Target target
    target.scale = scale
    target.at_label = 1 - smoothing
    target.elsewhere = smoothing / channels
    target.mass = target.at_label + (channels - 1) * target.elsewhere
    target.ignores = ignores
    target.ignored = ignored
    cdef const real* factors = NULL
    if weights is not None:
        factors = &weights[0]
    cdef const real* p = &prob[0, 0, 0]
    cdef const real* t = &labels[0, 0]
    cdef real* d = &dx[0, 0, 0]
    cdef int n = threads_for(outer * channels * inner, threads)
    if inner == 1:
        for k in prange(outer, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
            softmax_row(p + k * channels, d + k * channels, channels, class_of(t[k]), factors, &target)
        return bad
    cdef Py_ssize_t tiles = blocks_of(inner, TILE)
    for k in prange(outer * tiles, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        o = k // tiles
        first = (k % tiles) * TILE
        softmax_tile(
            p + o * channels * inner + first, t + o * inner + first, d + o * channels * inner + first,
            channels, inner,
            min(<Py_ssize_t>TILE, inner - first), factors, &target
        )
    return bad


# ---- information gain --------------------------------------------------------------------------------------


cdef double infogain_position(
    const real* p, const real* row, Py_ssize_t channels, Py_ssize_t inner, double floor
) noexcept nogil:
    cdef double total = 0
    cdef real value, least = <real>floor
    cdef Py_ssize_t c
    for c in range(channels):
        value = p[c * inner]
        if value < least:
            value = least
        total -= row[c] * log(<double>value)
    return total


cdef void infogain_block(
    const real* prob, const real* labels, const real* matrix, Py_ssize_t channels, Py_ssize_t inner,
    Py_ssize_t start, Py_ssize_t stop, double floor, bint ignores, Py_ssize_t ignored, Tally* tally
) noexcept nogil:
    cdef Py_ssize_t p, label
    tally.total = 0
    tally.counted = 0
    for p in range(start, stop):
        label = class_of(labels[p])
        if ignores and label == ignored:
            continue
        tally.total += infogain_position(
            prob + (p // inner) * channels * inner + p % inner, matrix + label * channels, channels,
            inner, floor
        )
        tally.counted += 1


def infogain_loss(
    const real[:, :, ::1] prob, const real[:, ::1] labels, const real[:, ::1] matrix, double floor,
    bint ignores, Py_ssize_t ignored, int threads
):
    """(sum over positions, positions that count, index of the first bad label or -1)."""
    cdef Py_ssize_t channels = prob.shape[1], inner = prob.shape[2], count = labels.shape[0] * labels.shape[1]
    check_positions(prob.shape[0], inner, labels.shape[0], labels.shape[1])
    check_equal(matrix.shape[0], channels, "rows of the matrix")
    check_equal(matrix.shape[1], channels, "columns of the matrix")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], count, channels, ignores, ignored)
    if bad >= 0:
        return 0.0, 0, bad
    cdef Py_ssize_t size = max(<Py_ssize_t>1, BLOCK // max(<Py_ssize_t>1, channels)), k
    cdef Py_ssize_t blocks = blocks_of(count, size)
    cdef Tally* tallies = new_tallies(blocks)
    cdef int n = threads_for(count * channels * LOG_COST, threads)
    for k in prange(blocks, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        infogain_block(
            &prob[0, 0, 0], &labels[0, 0], &matrix[0, 0], channels, inner, k * size, min(count,
            (k + 1) * size), floor,
            ignores, ignored, &tallies[k]
        )
    cdef Tally whole = add_up(tallies, blocks)
    return whole.total, whole.counted, bad


cdef void infogain_position_backward(
    const real* p, const real* row, real* dx, Py_ssize_t channels, Py_ssize_t inner, real row_sum, real scale
) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(channels):
        dx[c * inner] = scale * (p[c * inner] * row_sum - row[c])


def infogain_loss_backward(
    const real[:, :, ::1] prob, const real[:, ::1] labels, const real[:, ::1] matrix, real[:, :, ::1] dx,
    double scale, bint ignores, Py_ssize_t ignored, int threads
):
    """dx = scale * (p * sum(label's row) - row), 0 where ignored; returns the first bad label or -1."""
    cdef Py_ssize_t channels = prob.shape[1], inner = prob.shape[2], count = labels.shape[0] * labels.shape[1]
    cdef Py_ssize_t k, c, label, at
    check_positions(prob.shape[0], inner, labels.shape[0], labels.shape[1])
    check_equal(matrix.shape[0], channels, "rows of the matrix")
    check_equal(matrix.shape[1], channels, "columns of the matrix")
    check_equal(dx.shape[0] * dx.shape[1] * dx.shape[2], count * channels, "dx")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], count, channels, ignores, ignored)
    if bad >= 0 or channels == 0:
        return bad
    cdef double* sums = <double*>malloc(channels * sizeof(double))
    if sums == NULL:
        raise MemoryError("no memory for the row sums of an infogain matrix")
    for k in range(channels):
        sums[k] = 0
        for c in range(channels):
            sums[k] += matrix[k, c]
    cdef const real* p = &prob[0, 0, 0]
    cdef real* d = &dx[0, 0, 0]
    cdef int n = threads_for(count * channels, threads)
    for k in prange(count, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        label = class_of((&labels[0, 0])[k])
        at = (k // inner) * channels * inner + k % inner
        if ignores and label == ignored:
            for c in range(channels):
                d[at + c * inner] = 0
        else:
            infogain_position_backward(
                p + at, &matrix[label, 0], d + at, channels, inner, <real>sums[label], <real>scale
            )
    free(sums)
    return bad


# ---- hinge -------------------------------------------------------------------------------------------------


cdef inline real hinge_of(real x, bint is_label) noexcept nogil:
    """max(0, 1 - x) at the label, max(0, 1 + x) elsewhere; 0 for a NaN, as in Caffe."""
    cdef real margin = 1 - x if is_label else 1 + x
    return margin if margin > 0 else 0


cdef double hinge_run(const real* x, Py_ssize_t count, bint squared) noexcept nogil:
    """The sum over classes that are not the label."""
    cdef double lanes[LANES]
    cdef double margin
    cdef Py_ssize_t c, step, whole = count // LANES
    cdef int k
    for k in range(LANES):
        lanes[k] = 0
    if squared:
        for step in range(whole):
            for k in range(LANES):
                margin = hinge_of(x[step * LANES + k], False)
                lanes[k] += margin * margin
    else:
        for step in range(whole):
            for k in range(LANES):
                lanes[k] += hinge_of(x[step * LANES + k], False)
    for c in range(whole * LANES, count):
        margin = hinge_of(x[c], False)
        lanes[0] += margin * margin if squared else margin
    return add_lanes(lanes)


cdef double hinge_row(const real* x, Py_ssize_t classes, Py_ssize_t label, bint squared) noexcept nogil:
    cdef double margin = hinge_of(x[label], True)
    cdef double others = hinge_run(x, label, squared) + hinge_run(x + label + 1, classes - label - 1, squared)
    return others + (margin * margin if squared else margin)


def hinge_loss(const real[:, ::1] x, const real[::1] labels, bint squared, int threads):
    """(sum of margins or of their squares, index of the first bad label or -1)."""
    cdef Py_ssize_t num = x.shape[0], classes = x.shape[1], k
    check_equal(labels.shape[0], num, "labels")
    cdef Py_ssize_t bad = first_bad(&labels[0], num, classes, False, 0)
    if bad >= 0:
        return 0.0, bad
    cdef Tally* tallies = new_tallies(num)
    cdef int n = threads_for(num * classes, threads)
    for k in prange(num, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        tallies[k].total = hinge_row(&x[k, 0], classes, class_of(labels[k]), squared)
        tallies[k].counted = 1
    return add_up(tallies, num).total, bad


cdef void hinge_row_backward(
    const real* x, real* dx, Py_ssize_t classes, Py_ssize_t label, real scale, bint squared
) noexcept nogil:
    cdef Py_ssize_t c
    cdef real margin, slope
    for c in range(classes):
        margin = hinge_of(x[c], c == label)
        if squared:
            slope = 2 * margin
        else:
            slope = 1 if margin > 0 else 0
        dx[c] = -scale * slope if c == label else scale * slope


def hinge_loss_backward(
    const real[:, ::1] x, const real[::1] labels, real[:, ::1] dx, double scale, bint squared, int threads
):
    """dx = scale * the derivative of the sum; returns the first bad label or -1."""
    cdef Py_ssize_t num = x.shape[0], classes = x.shape[1], k
    check_equal(labels.shape[0], num, "labels")
    check_equal(dx.shape[0], num, "rows of dx")
    check_equal(dx.shape[1], classes, "columns of dx")
    cdef Py_ssize_t bad = first_bad(&labels[0], num, classes, False, 0)
    if bad >= 0:
        return bad
    cdef int n = threads_for(num * classes, threads)
    for k in prange(num, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
        hinge_row_backward(&x[k, 0], &dx[k, 0], classes, class_of(labels[k]), <real>scale, squared)
    return bad


# ---- accuracy ----------------------------------------------------------------------------------------------


cdef unsigned char row_hits(
    const real* x, Py_ssize_t channels, Py_ssize_t label, Py_ssize_t top_k, bint ignores, Py_ssize_t ignored
) noexcept nogil:
    """1 where fewer than top_k other classes score at least as high, 0 where not, 2 for an ignored label."""
    cdef Py_ssize_t c, rivals = -1  # the class itself; a NaN has no rivals at all
    cdef real score
    if ignores and label == ignored:
        return 2
    score = x[label]
    for c in range(channels):
        rivals += x[c] >= score
    return rivals < top_k


cdef void tile_hits(
    const real* x, const real* labels, unsigned char* hits, Py_ssize_t channels, Py_ssize_t inner,
    Py_ssize_t size,
    Py_ssize_t top_k, bint ignores, Py_ssize_t ignored
) noexcept nogil:
    """The same for `size` neighbouring positions; see `softmax_tile`."""
    cdef real scores[TILE]
    cdef int rivals[TILE]
    cdef Py_ssize_t i, c, label
    for i in range(size):
        label = class_of(labels[i])
        hits[i] = 2 if ignores and label == ignored else 0
        scores[i] = 0 if hits[i] else x[label * inner + i]
        rivals[i] = -1
    for c in range(channels):
        for i in range(size):
            rivals[i] += x[c * inner + i] >= scores[i]
    for i in range(size):
        if hits[i] == 0 and rivals[i] < top_k:
            hits[i] = 1


cdef void class_shares(
    const real* labels, const unsigned char* hits, Py_ssize_t count, real* shares, Py_ssize_t* sizes,
    Py_ssize_t channels
) noexcept nogil:
    """The share of hits among the positions of each class, 0 for a class without positions."""
    cdef Py_ssize_t c, p
    for c in range(channels):
        shares[c] = 0
        sizes[c] = 0
    for p in range(count):
        if hits[p] < 2:
            sizes[class_of(labels[p])] += 1
            shares[class_of(labels[p])] += hits[p]
    for c in range(channels):
        if sizes[c]:
            shares[c] /= sizes[c]


def accuracy(
    const real[:, :, ::1] scores, const real[:, ::1] labels, Py_ssize_t top_k, real[::1] by_class,
    bint ignores,
    Py_ssize_t ignored, int threads
):
    """(hits, positions that count, the first bad label or -1); by_class, where given, gets shares."""
    cdef Py_ssize_t outer = scores.shape[0], channels = scores.shape[1], inner = scores.shape[2]
    cdef Py_ssize_t count = outer * inner, k, o, first, hit = 0, counted = 0
    check_positions(outer, inner, labels.shape[0], labels.shape[1])
    if by_class is not None:
        check_equal(by_class.shape[0], channels, "by_class")
    cdef Py_ssize_t bad = first_bad(&labels[0, 0], count, channels, ignores, ignored)
    if bad >= 0:
        return 0, 0, bad
    cdef Py_ssize_t tiles = blocks_of(inner, TILE)
    cdef Py_ssize_t* sizes = <Py_ssize_t*>malloc((channels + 1) * sizeof(Py_ssize_t) + count)
    if sizes == NULL:
        raise MemoryError("no memory for the hits of an accuracy")
    cdef unsigned char* hits = <unsigned char*>(sizes + channels + 1)
    cdef const real* x = &scores[0, 0, 0]
    cdef const real* t = &labels[0, 0]
    cdef int n = threads_for(count * channels, threads)
    if inner == 1:
        for k in prange(outer, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
            hits[k] = row_hits(x + k * channels, channels, class_of(t[k]), top_k, ignores, ignored)
    else:
        for k in prange(outer * tiles, nogil=True, num_threads=n, use_threads_if=n > 1, schedule="static"):
            o = k // tiles
            first = (k % tiles) * TILE
            tile_hits(
                x + o * channels * inner + first, t + o * inner + first, hits + o * inner + first,
                channels, inner,
                min(<Py_ssize_t>TILE, inner - first), top_k, ignores, ignored
            )
    for k in range(count):
        hit += hits[k] == 1
        counted += hits[k] < 2
    if by_class is not None:
        class_shares(t, hits, count, &by_class[0], sizes, channels)
    free(sizes)
    return hit, counted, bad
