/* The inner loops of the tensor kernels. Sums over a row run over LANES_OF_SUM double lanes, sums over columns over one
   double a column, so that no build and no number of threads changes their order. */

#ifndef real
#ifndef CAFFENORM_TENSOR_LOOPS_H
#define CAFFENORM_TENSOR_LOOPS_H

#include "activation_loops.h"

/* Neighbouring positions that are worked on together. */
#define POSITIONS 256
#define LANES_OF_SUM 16
/* A square of a transposition: 4 KiB of floats at most. */
#define SQUARE 32

enum { SUM, ASUM, SUMSQ };

INLINE double add_lanes(const double *lanes)
{
    double part[LANES_OF_SUM];
    memcpy(part, lanes, sizeof part);
    for (int half = LANES_OF_SUM / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            part[l] += part[l + half];
    return part[0];
}

#define BODY "tensor_loops.h"
#include "for_reals.h"

#define softmax_row(x, y, channels) FOR_REAL(softmax_row, x)(x, y, channels)
#define softmax_columns(x, y, channels, inner, n) FOR_REAL(softmax_columns, x)(x, y, channels, inner, n)
#define softmax_backward_row(y, dy, dx, channels) FOR_REAL(softmax_backward_row, y)(y, dy, dx, channels)
#define softmax_backward_columns(y, dy, dx, channels, inner, n) \
    FOR_REAL(softmax_backward_columns, y)(y, dy, dx, channels, inner, n)
#define sum_block(arrays, weights, count, at, y, n, activated, slope, streamed) \
    FOR_REAL(sum_block, y)(arrays, weights, count, at, y, n, activated, slope, streamed)
#define product_block(arrays, count, at, y, n) FOR_REAL(product_block, y)(arrays, count, at, y, n)
#define largest_block(arrays, count, at, y, winner, n) FOR_REAL(largest_block, y)(arrays, count, at, y, winner, n)
#define winner_block(dy, winner, number, dx, n) FOR_REAL(winner_block, dy)(dy, winner, number, dx, n)
#define reduce_block(operation, x, n) FOR_REAL(reduce_block, x)(operation, x, n)
#define spread_block(operation, x, factor, dx, n) FOR_REAL(spread_block, x)(operation, x, factor, dx, n)
#define scale_add_block(scale, x, y, out, n) FOR_REAL(scale_add_block, x)(scale, x, y, out, n)
#define add_to(from, to, n) FOR_REAL(add_to, from)(from, to, n)
#define swap_square(x, y, rows, columns, x_stride, y_stride) \
    FOR_REAL(swap_square, x)(x, y, rows, columns, x_stride, y_stride)

#endif
#else

/* ---- softmax ---- */

LOCAL void NAME(softmax_row)(const real *x, real *y, Py_ssize_t channels)
{
    const Py_ssize_t whole = channels - channels % LANES_OF_SUM;
    real most[LANES_OF_SUM], top = x[0];
    double sum[LANES_OF_SUM] = {0}, total;
    for (int l = 0; l < LANES_OF_SUM; l++)
        most[l] = x[0];
    for (Py_ssize_t c = 0; c < whole; c += LANES_OF_SUM)
        for (int l = 0; l < LANES_OF_SUM; l++)
            most[l] = x[c + l] > most[l] ? x[c + l] : most[l];
    for (int l = 0; l < LANES_OF_SUM; l++)
        top = most[l] > top ? most[l] : top;
    for (Py_ssize_t c = whole; c < channels; c++)
        top = x[c] > top ? x[c] : top;
    VECTORISE
    for (Py_ssize_t c = 0; c < channels; c++)
        y[c] = NAME(exp)(x[c] - top);
    for (Py_ssize_t c = 0; c < whole; c += LANES_OF_SUM)
        for (int l = 0; l < LANES_OF_SUM; l++)
            sum[l] += y[c + l];
    total = add_lanes(sum);
    for (Py_ssize_t c = whole; c < channels; c++)
        total += y[c];
    const real divisor = (real)total;
    VECTORISE
    for (Py_ssize_t c = 0; c < channels; c++)
        y[c] = y[c] / divisor;
}

/* n neighbouring positions, at most POSITIONS. */
LOCAL void NAME(softmax_columns)(const real *x, real *y, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t n)
{
    real most[POSITIONS];
    double total[POSITIONS];
    for (Py_ssize_t i = 0; i < n; i++) {
        most[i] = x[i];
        total[i] = 0;
    }
    for (Py_ssize_t c = 1; c < channels; c++)
        for (Py_ssize_t i = 0; i < n; i++)
            most[i] = x[c * inner + i] > most[i] ? x[c * inner + i] : most[i];
    for (Py_ssize_t c = 0; c < channels; c++) {
        const real *from = x + c * inner;
        real *to = y + c * inner;
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            to[i] = NAME(exp)(from[i] - most[i]);
        for (Py_ssize_t i = 0; i < n; i++)
            total[i] += to[i];
    }
    for (Py_ssize_t i = 0; i < n; i++)
        most[i] = (real)total[i];
    for (Py_ssize_t c = 0; c < channels; c++)
        for (Py_ssize_t i = 0; i < n; i++)
            y[c * inner + i] = y[c * inner + i] / most[i];
}

LOCAL void NAME(softmax_backward_row)(const real *y, const real *dy, real *dx, Py_ssize_t channels)
{
    const Py_ssize_t whole = channels - channels % LANES_OF_SUM;
    double sum[LANES_OF_SUM] = {0}, total;
    for (Py_ssize_t c = 0; c < whole; c += LANES_OF_SUM)
        for (int l = 0; l < LANES_OF_SUM; l++)
            sum[l] += (double)y[c + l] * dy[c + l];
    total = add_lanes(sum);
    for (Py_ssize_t c = whole; c < channels; c++)
        total += (double)y[c] * dy[c];
    const real dot = (real)total;
    VECTORISE
    for (Py_ssize_t c = 0; c < channels; c++)
        dx[c] = (dy[c] - dot) * y[c];
}

LOCAL void NAME(softmax_backward_columns)(const real *y, const real *dy, real *dx, Py_ssize_t channels,
                                          Py_ssize_t inner, Py_ssize_t n)
{
    double total[POSITIONS];
    real dot[POSITIONS];
    for (Py_ssize_t i = 0; i < n; i++)
        total[i] = 0;
    for (Py_ssize_t c = 0; c < channels; c++)
        for (Py_ssize_t i = 0; i < n; i++)
            total[i] += (double)y[c * inner + i] * dy[c * inner + i];
    for (Py_ssize_t i = 0; i < n; i++)
        dot[i] = (real)total[i];
    for (Py_ssize_t c = 0; c < channels; c++) {
        const real *from = dy + c * inner, *share = y + c * inner;
        real *to = dx + c * inner;
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            to[i] = (from[i] - dot[i]) * share[i];
    }
}

/* ---- several arrays to one; arrays[k] + at are the operands, any of which y may be ---- */

LOCAL void NAME(sum_part)(const void **arrays, const double *weights, Py_ssize_t count, Py_ssize_t at, real *y, Py_ssize_t n,
                          int activated, real slope)
{
    const real *first = (const real *)arrays[0] + at, *second = (const real *)arrays[count > 1] + at;
    const real w0 = (real)weights[0], w1 = count > 1 ? (real)weights[1] : 0;
    if (count == 1) {
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            y[i] = w0 * first[i];
    } else if (w0 == 1 && w1 == 1 && count == 2 && activated) {
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            y[i] = NAME(leaky)(first[i] + second[i], slope);
        return;
    } else {
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            y[i] = w0 * first[i] + w1 * second[i];
    }
    for (Py_ssize_t k = 2; k < count; k++) {
        const real *next = (const real *)arrays[k] + at;
        const real w = (real)weights[k];
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            y[i] += w * next[i];
    }
    if (activated) {
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            y[i] = NAME(leaky)(y[i], slope);
    }
}

LOCAL void NAME(sum_block)(const void **arrays, const double *weights, Py_ssize_t count, Py_ssize_t at, real *y, Py_ssize_t n,
                           int activated, double slope, int streamed)
{
    real part[PART] __attribute__((aligned(64)));
    if (!streamed && count <= 2) {
        NAME(sum_part)(arrays, weights, count, at, y, n, activated, (real)slope);
        return;
    }
    for (Py_ssize_t i = 0; i < n; i += PART) {
        Py_ssize_t m = n - i < PART ? n - i : PART;
        NAME(sum_part)(arrays, weights, count, at + i, part, m, activated, (real)slope);
        if (streamed)
            NAME(stream_out)(part, y + i, m);
        else
            memcpy(y + i, part, (size_t)m * sizeof(real));
    }
    if (streamed)
        end_stream();
}

LOCAL void NAME(product_block)(const void **arrays, Py_ssize_t count, Py_ssize_t at, real *y, Py_ssize_t n)
{
    real part[PART] __attribute__((aligned(64)));
    for (Py_ssize_t i = 0; i < n; i += PART) {
        Py_ssize_t m = n - i < PART ? n - i : PART;
        memcpy(part, (const real *)arrays[0] + at + i, (size_t)m * sizeof(real));
        for (Py_ssize_t k = 1; k < count; k++) {
            const real *next = (const real *)arrays[k] + at + i;
            for (Py_ssize_t j = 0; j < m; j++)
                part[j] *= next[j];
        }
        memcpy(y + i, part, (size_t)m * sizeof(real));
    }
}

/* Of two equal ones the second wins, of more a later one only if it is larger. */
LOCAL void NAME(largest_block)(const void **arrays, Py_ssize_t count, Py_ssize_t at, real *y, int32_t *winner, Py_ssize_t n)
{
    real best[PART] __attribute__((aligned(64)));
    int32_t number[PART] __attribute__((aligned(64)));
    for (Py_ssize_t i = 0; i < n; i += PART) {
        Py_ssize_t m = n - i < PART ? n - i : PART;
        const real *first = (const real *)arrays[0] + at + i, *second = (const real *)arrays[count > 1] + at + i;
        for (Py_ssize_t j = 0; j < m; j++) {
            number[j] = first[j] > second[j] ? 0 : count > 1;
            best[j] = first[j] > second[j] ? first[j] : second[j];
        }
        for (Py_ssize_t k = 2; k < count; k++) {
            const real *next = (const real *)arrays[k] + at + i;
            for (Py_ssize_t j = 0; j < m; j++) {
                number[j] = next[j] > best[j] ? (int32_t)k : number[j];
                best[j] = next[j] > best[j] ? next[j] : best[j];
            }
        }
        memcpy(y + i, best, (size_t)m * sizeof(real));
        if (winner)
            memcpy(winner + i, number, (size_t)m * sizeof(int32_t));
    }
}

LOCAL void NAME(winner_block)(const real *dy, const int32_t *winner, int32_t number, real *dx, Py_ssize_t n)
{
    VECTORISE
    for (Py_ssize_t i = 0; i < n; i++)
        dx[i] = winner[i] == number ? dy[i] : 0;
}

/* ---- reductions ---- */

#define REDUCE(value)                                                                                           \
    for (Py_ssize_t i = 0; i < whole; i += LANES_OF_SUM)                                                        \
        for (int l = 0; l < LANES_OF_SUM; l++) {                                                                \
            double v = x[i + l];                                                                                \
            sum[l] += value;                                                                                    \
        }                                                                                                       \
    for (Py_ssize_t i = whole; i < n; i++) {                                                                    \
        double v = x[i];                                                                                        \
        sum[i - whole] += value;                                                                                \
    }                                                                                                           \
    break;

LOCAL double NAME(reduce_block)(int operation, const real *x, Py_ssize_t n)
{
    const Py_ssize_t whole = n - n % LANES_OF_SUM;
    double sum[LANES_OF_SUM] = {0};
    switch (operation) {
    case SUM:
        REDUCE(v)
    case ASUM:
        REDUCE(fabs(v))
    case SUMSQ:
        REDUCE(v * v)
    }
    return add_lanes(sum);
}
#undef REDUCE

/* dx = factor * the derivative of a sum's term. */
LOCAL void NAME(spread_block)(int operation, const real *x, double factor, real *dx, Py_ssize_t n)
{
    const real one = (real)factor, two = (real)(2 * factor);
    switch (operation) {
    case SUM:
        for (Py_ssize_t i = 0; i < n; i++)
            dx[i] = one;
        break;
    case ASUM:
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            dx[i] = one * ((x[i] > 0 ? 1 : 0) - (x[i] < 0 ? 1 : 0));
        break;
    case SUMSQ:
        VECTORISE
        for (Py_ssize_t i = 0; i < n; i++)
            dx[i] = two * x[i];
        break;
    }
}

/* ---- rows and squares ---- */

LOCAL void NAME(scale_add_block)(double scale, const real *x, const real *y, real *out, Py_ssize_t n)
{
    const real a = (real)scale;
    VECTORISE
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = a * x[i] + y[i];
}

LOCAL void NAME(add_to)(const real *from, real *to, Py_ssize_t n)
{
    VECTORISE
    for (Py_ssize_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* y[column][row] = x[row][column] */
LOCAL void NAME(swap_square)(const real *x, real *y, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t x_stride,
                             Py_ssize_t y_stride)
{
    real square[SQUARE][SQUARE];
    for (Py_ssize_t r = 0; r < rows; r++)
        for (Py_ssize_t c = 0; c < columns; c++)
            square[c][r] = x[r * x_stride + c];
    for (Py_ssize_t c = 0; c < columns; c++)
        memcpy(y + c * y_stride, square[c], (size_t)rows * sizeof(real));
}

#endif
