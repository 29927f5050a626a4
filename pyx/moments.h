/* Mean and variance in one pass over memory: the sums of a block, for rows and for columns.

   Float lanes sum x - shift and its square; a shift begins as the mean of four of the lane's (column's) values. After each
   block, a lane whose mean lies far from its shift, (mean - shift)^2 > LEAP * variance, gets its mean as the next shift. So
   what cancels in sum((x - mean)^2) = sum((x - shift)^2) - n * (mean - shift)^2 is never much: either the shift was near,
   or the step away from it is part of the total variance as well. Sums of blocks are added in double, in index order, and
   brought to one `origin` when a shift changes and at the end.
   Error of the variance, relative to it: about 1e-7, 5e-7 for a mean of 1e4 standard deviations; below 1e-5 where the first
   values lie as far from the rest.

   An inf or NaN in x never becomes a shift; it reaches mean and variance through the sums: inf or NaN, and NaN. */

#ifndef real
#ifndef CAFFENORM_MOMENTS_H
#define CAFFENORM_MOMENTS_H

#include <math.h>
#include "lanes.h"

#define LEAP 8.0
#define MOST_LANES 16
/* Channels whose runs are summed in turn. */
#define MOST_RUNS 64

/* A mean, and the sum of squared deviations from it. */
struct moments {
    double mean, m2;
};

/* Sums of one row of blocks. `sum` and `square` are about `shift`, for the `count` values that a lane has had since its
   shift changed; the `done` ones, about `origin`, are those of before. */
struct row_sums {
    double origin, done_count, done_sum, done_square;
    double shift[MOST_LANES], count[MOST_LANES], sum[MOST_LANES], square[MOST_LANES];
};

/* The same for columns, each a lane; a column has had `rows - done_rows` values since its shift changed. The columns are
   `repeat` times `width`, and those `inner` next to each other, and their repetitions, belong to one channel. */
struct column_sums {
    Py_ssize_t rows, width, repeat, inner;
    double origin[TILE], sum[TILE], square[TILE], done_rows[TILE], done_sum[TILE], done_square[TILE];
    union tile shift;
};

/* From sums about origin; share is 1 / count. */
INLINE struct moments moments_about(double origin, double share, double sum, double square)
{
    double m2 = square - sum * (sum * share);
    return (struct moments){origin + sum * share, m2 < 0 ? 0 : m2};
}

/* Adds the moments of other values, `more` for each channel, to those of `count`. An infinite mean stays infinite. */
LOCAL void merge_moments(double count, double *mean, double *m2, double more, const double *more_mean,
                         const double *more_m2, Py_ssize_t channels)
{
    const double weight = more / (count + more), spread = count * weight;
    for (Py_ssize_t c = 0; c < channels; c++) {
        double step = more_mean[c] - mean[c];
        mean[c] = step - step == 0 ? mean[c] + step * weight : mean[c] + more_mean[c];
        m2[c] += more_m2[c] + step * step * spread;
    }
}

/* Moments of all that was added. */
LOCAL struct moments end_row_sums(const struct row_sums *s)
{
    double count[MOST_LANES], sum[MOST_LANES], square[MOST_LANES];
    for (int l = 0; l < MOST_LANES; l++) {
        double step = s->shift[l] - s->origin;
        count[l] = s->count[l];
        sum[l] = s->sum[l] + s->count[l] * step;
        square[l] = s->square[l] + (2 * s->sum[l] + s->count[l] * step) * step;
    }
    for (int half = MOST_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) {
            count[l] += count[l + half];
            sum[l] += sum[l + half];
            square[l] += square[l + half];
        }
    return moments_about(s->origin, 1 / (s->done_count + count[0]), s->done_sum + sum[0], s->done_square + square[0]);
}

#define BODY "moments.h"
#include "for_reals.h"

#define start_row_sums(x, rows, stride, n, s) FOR_REAL(start_row_sums, x)(x, rows, stride, n, s)
#define add_row_sums(x, rows, stride, n, channels, s) FOR_REAL(add_row_sums, x)(x, rows, stride, n, channels, s)
#define start_column_sums(x, rows, stride, width, repeat, inner, s)                                              \
    FOR_REAL(start_column_sums, x)(x, rows, stride, width, repeat, inner, s)
#define add_column_sums(x, rows, stride, s) FOR_REAL(add_column_sums, x)(x, rows, stride, s)
#define end_column_sums(x, s, mean, m2) FOR_REAL(end_column_sums, x)(x, s, mean, m2)

#endif
#else

INLINE double NAME(finite_or_0)(real a) { return a - a == 0 ? (double)a : 0; }

/* Whether the mean of count values lies far from the shift that their sum and square are about. */
INLINE int NAME(leaps)(real count, real sum, real square) { return sum * sum * (real)(1 + 1 / LEAP) > square * count; }

/* ---- rows ---- */

/* Makes the sums of runs empty that begin with `rows` of n values, `stride` apart. Shifts are the mean of four vectors, from
   one run or one each of four, or of fewer a vector. */
LOCAL void NAME(start_row_sums)(const real *x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n, struct row_sums *s)
{
    const Py_ssize_t apart = n >= 4 * LANES ? LANES : rows >= 4 ? stride : 0;
    *s = (struct row_sums){0};
    for (Py_ssize_t l = 0; l < LANES; l++) {
        const real *v = x + (l < n ? l : 0);
        s->shift[l] = NAME(finite_or_0)(((v[0] + v[apart]) + (v[2 * apart] + v[3 * apart])) * (real)0.25);
    }
    s->origin = s->shift[0];
}

/* Gives each lane that leaps the mean of its last block as shift. */
LOCAL __attribute__((noinline)) void NAME(move_row_shifts)(const real *counts, const real *sums, const real *squares,
                                                            struct row_sums *s)
{
    for (Py_ssize_t l = 0; l < LANES; l++)
        if (NAME(leaps)(counts[l], sums[l], squares[l])) {
            double step = s->shift[l] - s->origin;
            s->done_count += s->count[l];
            s->done_sum += s->sum[l] + s->count[l] * step;
            s->done_square += s->square[l] + (2 * s->sum[l] + s->count[l] * step) * step;
            s->count[l] = s->sum[l] = s->square[l] = 0;
            s->shift[l] = (double)(real)(s->shift[l] + (double)sums[l] / (double)counts[l]);
        }
}

/* Adds a run of n values to partial sums: value i to number i % (2 * LANES). */
INLINE void NAME(add_run)(const real *x, Py_ssize_t n, const native *shift, native *sum, native *square)
{
    const Py_ssize_t whole = n - n % (2 * LANES);
    for (Py_ssize_t i = 0; i < whole; i += 2 * LANES) {
#pragma GCC unroll 8
        for (int j = 0; j < 2 * PARTS; j++) {
            native d = load(x + i + j * NATIVE) - shift[j % PARTS];
            sum[j] += d;
            square[j] += d * d;
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < 2 * PARTS; j++) {
        const Py_ssize_t i = whole + j * NATIVE;
        if (i < n) {
            native v = n - i < NATIVE ? load_some(x + i, n - i, shift[j % PARTS]) : load(x + i);
            native d = v - shift[j % PARTS];
            sum[j] += d;
            square[j] += d * d;
        }
    }
}

/* Ends a block of `rows` runs of n values. */
INLINE void NAME(end_block)(Py_ssize_t rows, Py_ssize_t n, const native *sum, const native *square, struct row_sums *s)
{
    const int left = (int)(n % (2 * LANES));
    real counts[LANES], sums[LANES], squares[LANES];
    int leaps = 0;
    for (int j = 0; j < PARTS; j++) {
        store(sums + j * NATIVE, sum[j] + sum[j + PARTS]);
        store(squares + j * NATIVE, square[j] + square[j + PARTS]);
    }
    for (int l = 0; l < LANES; l++) {
        counts[l] = (real)rows * (real)((int)(n / (2 * LANES)) * 2 + (l < left) + (l + (int)LANES < left));
        s->count[l] += (double)counts[l];
        s->sum[l] += (double)sums[l];
        s->square[l] += (double)squares[l];
        leaps |= NAME(leaps)(counts[l], sums[l], squares[l]);
    }
    if (leaps)
        NAME(move_row_shifts)(counts, sums, squares, s);
}

/* Adds a block: `rows` times, `stride` apart, one run of n values for each channel of s. The sums of one channel stay in
   registers; those of more, whose runs are short, in the first-level cache, for runs are best read as they lie. */
LOCAL void NAME(add_row_sums)(const real *x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t channels,
                              struct row_sums *s)
{
    native shift[MOST_RUNS][PARTS], sum[MOST_RUNS][2 * PARTS], square[MOST_RUNS][2 * PARTS];
    for (Py_ssize_t k = 0; k < channels; k++) {
        real shifts[LANES];
        for (Py_ssize_t l = 0; l < LANES; l++)
            shifts[l] = (real)s[k].shift[l];
        for (int j = 0; j < PARTS; j++)
            shift[k][j] = load(shifts + j * NATIVE);
        for (int j = 0; j < 2 * PARTS; j++)
            sum[k][j] = square[k][j] = all(0);
    }
    if (channels == 1) {
        native one[PARTS], one_sum[2 * PARTS], one_square[2 * PARTS];
        for (int j = 0; j < 2 * PARTS; j++) {
            one[j % PARTS] = shift[0][j % PARTS];
            one_sum[j] = one_square[j] = all(0);
        }
        for (Py_ssize_t row = 0; row < rows; row++)
            NAME(add_run)(x + row * stride, n, one, one_sum, one_square);
        NAME(end_block)(rows, n, one_sum, one_square, s);
        return;
    }
    for (Py_ssize_t row = 0; row < rows; row++)
        for (Py_ssize_t k = 0; k < channels; k++) {
            native one[PARTS], one_sum[2 * PARTS], one_square[2 * PARTS];
#pragma GCC unroll 8
            for (int j = 0; j < 2 * PARTS; j++) {
                one[j % PARTS] = shift[k][j % PARTS];
                one_sum[j] = sum[k][j];
                one_square[j] = square[k][j];
            }
            NAME(add_run)(x + row * stride + k * n, n, one, one_sum, one_square);
#pragma GCC unroll 8
            for (int j = 0; j < 2 * PARTS; j++) {
                sum[k][j] = one_sum[j];
                square[k][j] = one_square[j];
            }
        }
    for (Py_ssize_t k = 0; k < channels; k++)
        NAME(end_block)(rows, n, sum[k], square[k], s + k);
}

/* ---- columns ---- */

/* Makes the sums of columns empty that begin with the rows x. Shifts are the mean of four rows, or one of fewer. */
LOCAL void NAME(start_column_sums)(const real *x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t repeat,
                                   Py_ssize_t inner, struct column_sums *s)
{
    const real *x1 = rows < 4 ? x : x + stride, *x2 = rows < 4 ? x : x1 + stride, *x3 = rows < 4 ? x : x2 + stride;
    s->rows = 0;
    s->width = width;
    s->repeat = repeat;
    s->inner = inner;
    for (Py_ssize_t j = 0; j < width * repeat; j++) {
        s->shift.SUFFIX[j] = (real)NAME(finite_or_0)(((x[j] + x1[j]) + (x2[j] + x3[j])) * (real)0.25);
        s->sum[j] = s->square[j] = s->done_rows[j] = s->done_sum[j] = s->done_square[j] = 0;
    }
    for (Py_ssize_t j = 0; j < width; j += inner)
        for (Py_ssize_t i = j; i < j + inner; i++)
            s->origin[i] = (double)s->shift.SUFFIX[j];
    for (Py_ssize_t j = width; j < width * repeat; j++)
        s->origin[j] = s->origin[j - width];
}

/* Brings a column's sums about its shift to its origin. */
INLINE void NAME(move_column_sums)(Py_ssize_t j, struct column_sums *s)
{
    double count = (double)s->rows - s->done_rows[j], step = (double)s->shift.SUFFIX[j] - s->origin[j];
    s->done_sum[j] += s->sum[j] + count * step;
    s->done_square[j] += s->square[j] + (2 * s->sum[j] + count * step) * step;
    s->sum[j] = s->square[j] = 0;
    s->done_rows[j] = (double)s->rows;
}

/* Adds a block to `parts` vectors of columns from the j-th on, or where `some` is not 0 to that many columns. */
INLINE void NAME(add_strip_sums)(const real *x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t j, const int parts,
                                 Py_ssize_t some, struct column_sums *s)
{
    const Py_ssize_t columns = some ? some : parts * NATIVE;
    real sums[4 * NATIVE] = {0}, squares[4 * NATIVE] = {0};
    native shift[4], sum[4], square[4];
    int leaps = 0;

    for (int p = 0; p < parts; p++) {
        shift[p] = some ? load_some(s->shift.SUFFIX + j, some, all(0)) : load(s->shift.SUFFIX + j + p * NATIVE);
        sum[p] = square[p] = all(0);
    }
    for (Py_ssize_t row = 0; row < rows; row++)
        for (int p = 0; p < parts; p++) {
            const real *value = x + row * stride + j + p * NATIVE;
            native d = (some ? load_some(value, some, shift[p]) : load(value)) - shift[p];
            sum[p] += d;
            square[p] += d * d;
        }
    for (int p = 0; p < parts; p++) {
        store(sums + p * NATIVE, sum[p]);
        store(squares + p * NATIVE, square[p]);
        leaps |= any_greater(sum[p] * sum[p] * all((real)(1 + 1 / LEAP)), square[p] * all((real)rows));
    }
    for (Py_ssize_t i = 0; i < columns; i++) {
        s->sum[j + i] += (double)sums[i];
        s->square[j + i] += (double)squares[i];
    }
    if (leaps)
        for (Py_ssize_t i = 0; i < columns; i++)
            if (NAME(leaps)((real)rows, sums[i], squares[i])) {
                NAME(move_column_sums)(j + i, s);
                s->shift.SUFFIX[j + i] = (real)((double)s->shift.SUFFIX[j + i] + (double)sums[i] / (double)rows);
            }
}

/* Adds a block: `rows` rows of columns, `stride` apart. A column's values are summed in order. */
LOCAL void NAME(add_column_sums)(const real *x, Py_ssize_t rows, Py_ssize_t stride, struct column_sums *s)
{
    const Py_ssize_t columns = s->width * s->repeat;
    Py_ssize_t j = 0;
    s->rows += rows;
    for (; j + 4 * NATIVE <= columns; j += 4 * NATIVE)
        NAME(add_strip_sums)(x, rows, stride, j, 4, 0, s);
    for (; j + NATIVE <= columns; j += NATIVE)
        NAME(add_strip_sums)(x, rows, stride, j, 1, 0, s);
    if (j < columns)
        NAME(add_strip_sums)(x, rows, stride, j, 1, columns - j, s);
}

/* Moments of each channel. */
LOCAL void NAME(end_column_sums)(const real *x, struct column_sums *s, double *mean, double *m2)
{
    const double share = 1 / (double)(s->rows * s->repeat * s->inner);
    (void)x;
    for (Py_ssize_t j = 0; j < s->width * s->repeat; j++)
        NAME(move_column_sums)(j, s);
    for (Py_ssize_t j = s->width; j < s->width * s->repeat; j++) {
        s->done_sum[j % s->width] += s->done_sum[j];
        s->done_square[j % s->width] += s->done_square[j];
    }
    for (Py_ssize_t c = 0; c < s->width / s->inner; c++) {
        double sum = 0, square = 0;
        for (Py_ssize_t j = c * s->inner; j < (c + 1) * s->inner; j++) {
            sum += s->done_sum[j];
            square += s->done_square[j];
        }
        struct moments m = moments_about(s->origin[c * s->inner], share, sum, square);
        mean[c] = m.mean;
        m2[c] = m.m2;
    }
}

#endif
