/* Pooling of planes of up to three axes: first down the rows of a window, along all columns at once, then across.

   max          the largest value of a window and where it stands: the first of equal ones in row order. As in Caffe only
                values above -FLT_MAX count, so NaN is never chosen; where there is none, y is -FLT_MAX and the index -1
   average      the sum of a window divided by the number of its positions; 0 where it has none
   stochastic   the value at which the running sum reaches a share of the whole sum, or the mean weighted by the values

   x is read kernel / stride times, but for the first time from cache, and y is written once. A column takes its rows in
   order, a window its columns in order, so every build gives the same bits. */

#ifndef real
#ifndef CAFFENORM_POOLING_H
#define CAFFENORM_POOLING_H

#include <float.h>
#include "lanes.h"

/* Windows over (depth, height, width). With count_pads an average divides by positions in the pads too. */
struct windows {
    Py_ssize_t size[3], out[3], kernel[3], stride[3], pad[3], pad_after[3];
    int count_pads;
};

/* The part of a window that lies inside, along one axis. */
struct span {
    Py_ssize_t begin, end;
};

INLINE struct span span_of(const struct windows *w, int axis, Py_ssize_t position)
{
    const Py_ssize_t start = position * w->stride[axis] - w->pad[axis], end = start + w->kernel[axis];
    struct span s = {start < 0 ? 0 : start, end < w->size[axis] ? end : w->size[axis]};
    if (s.end < s.begin)
        s.end = s.begin;
    return s;
}

/* How many positions of a window an average divides by, along one axis. */
INLINE Py_ssize_t positions(const struct windows *w, int axis, Py_ssize_t position)
{
    const struct span s = span_of(w, axis, position);
    if (!w->count_pads || s.begin == s.end)
        return s.end - s.begin;
    const Py_ssize_t start = position * w->stride[axis] - w->pad[axis], end = start + w->kernel[axis];
    const Py_ssize_t last = w->size[axis] + w->pad_after[axis];
    return (end < last ? end : last) - start;
}

/* Columns of a row with its pads, as far as windows reach. */
LOCAL Py_ssize_t padded_width(const struct windows *w)
{
    const Py_ssize_t reach = (w->out[2] - 1) * w->stride[2] + w->kernel[2], all = w->pad[2] + w->size[2];
    return reach > all ? reach : all;
}

LOCAL Py_ssize_t plane_size(const struct windows *w) { return w->size[0] * w->size[1] * w->size[2]; }

#define BODY "pooling.h"
#include "for_reals.h"

#define pooling_bytes(x, w) FOR_REAL(pooling_bytes, x)(w)
#define max_pool(w, x, ...) FOR_REAL(max_pool, x)(w, x, __VA_ARGS__)
#define max_pool_backward(w, dy, ...) FOR_REAL(max_pool_backward, dy)(w, dy, __VA_ARGS__)
#define average_pool(w, x, ...) FOR_REAL(average_pool, x)(w, x, __VA_ARGS__)
#define average_pool_backward(w, dy, ...) FOR_REAL(average_pool_backward, dy)(w, dy, __VA_ARGS__)
#define stochastic_pool(w, x, ...) FOR_REAL(stochastic_pool, x)(w, x, __VA_ARGS__)
#define weighted_pool(w, x, ...) FOR_REAL(weighted_pool, x)(w, x, __VA_ARGS__)
#define weighted_pool_backward(w, x, ...) FOR_REAL(weighted_pool_backward, x)(w, x, __VA_ARGS__)

#endif
#else

/* A whole number as wide as a real. */
typedef __typeof__((*(NAME(bits) *)0)[0]) NAME(whole);
#define whole NAME(whole)

/* Bytes of work space for one row of the output: rows of values with their pads, and of numbers for each column. */
static Py_ssize_t NAME(pooling_bytes)(const struct windows *w)
{
    return (3 * (padded_width(w) + w->out[2]) * (Py_ssize_t)sizeof(real) + 63) / 64 * 64;
}

/* The largest value down each column of a window's rows, and which row (from 0) it is in if `rank` is given. */
INLINE void NAME(columns_max)(const struct windows *w, const real *x, struct span depth, struct span height,
                              real *row, whole *rank)
{
    const Py_ssize_t width = w->size[2], first = w->pad[2], all_columns = padded_width(w);
    whole number = 0;
    for (Py_ssize_t i = 0; i < all_columns; i++)
        row[i] = -FLT_MAX;
    if (rank)
        for (Py_ssize_t i = 0; i < all_columns; i++)
            rank[i] = -1;
    row += first;
    for (Py_ssize_t d = depth.begin; d < depth.end; d++)
        for (Py_ssize_t h = height.begin; h < height.end; h++, number++) {
            const real *from = x + (d * w->size[1] + h) * width;
            if (rank) {
                whole *place = rank + first;
                for (Py_ssize_t i = 0; i < width; i++) {
                    const int better = from[i] > row[i];
                    row[i] = better ? from[i] : row[i];
                    place[i] = better ? number : place[i];
                }
            } else
                for (Py_ssize_t i = 0; i < width; i++)
                    row[i] = from[i] > row[i] ? from[i] : row[i];
        }
}

/* The largest of the columns of each window; with `rank` also its rank and column. Of equal values the one in the earlier
   row is taken, then the one in the earlier column. */
INLINE void NAME(across_max)(Py_ssize_t out, Py_ssize_t kernel, const Py_ssize_t stride, const real *row,
                             const whole *rank, real *y, whole *best_rank, whole *best_column)
{
    for (Py_ssize_t i = 0; i < out; i++)
        y[i] = row[i * stride];
    if (rank)
        for (Py_ssize_t i = 0; i < out; i++) {
            best_rank[i] = rank[i * stride];
            best_column[i] = 0;
        }
    for (Py_ssize_t j = 1; j < kernel; j++)
        if (rank)
            for (Py_ssize_t i = 0; i < out; i++) {
                const real v = row[i * stride + j];
                const whole r = rank[i * stride + j];
                const int better = (v > y[i]) | ((v == y[i]) & (r < best_rank[i]));
                y[i] = better ? v : y[i];
                best_rank[i] = better ? r : best_rank[i];
                best_column[i] = better ? (whole)j : best_column[i];
            }
        else
            for (Py_ssize_t i = 0; i < out; i++)
                y[i] = row[i * stride + j] > y[i] ? row[i * stride + j] : y[i];
}

/* The place in the plane of each window's largest value, from its row in the window and its column; -1 for none. */
static void NAME(places)(const struct windows *w, struct span depth, struct span height, const whole *rank,
                         const whole *column, int32_t *index)
{
    const int32_t out = (int32_t)w->out[2], width = (int32_t)w->size[2], stride = (int32_t)w->stride[2];
    const int32_t rows = (int32_t)(height.end - height.begin), plane = (int32_t)w->size[1];
    const int32_t start = (int32_t)((depth.begin * plane + height.begin) * width - w->pad[2]);
    for (int32_t i = 0; i < out; i++) {
        const int32_t at = start + (int32_t)rank[i] * width + i * stride + (int32_t)column[i];
        index[i] = rank[i] < 0 ? -1 : at;
    }
    if (depth.end - depth.begin <= 1 || rows == plane)
        return;
    for (int32_t i = 0; i < out; i++) /* rows of deeper planes lie further apart */
        if (rank[i] >= rows)
            index[i] += (int32_t)rank[i] / rows * (plane - rows) * width;
}

/* Rows `first` to `last` of a plane's output, counted through all depths. `index` may be NULL. */
static void NAME(max_pool)(const struct windows *w, const real *x, real *y, int32_t *index, Py_ssize_t first,
                           Py_ssize_t last, unsigned char *work)
{
    const Py_ssize_t out = w->out[2], stride = w->stride[2], kernel = w->kernel[2], width = padded_width(w);
    real *row = (real *)work;
    whole *rank = index ? (whole *)(row + width) : NULL;
    whole *best_rank = (whole *)(row + 2 * width), *best_column = best_rank + out;
    for (Py_ssize_t r = first; r < last; r++) {
        const struct span depth = span_of(w, 0, r / w->out[1]), height = span_of(w, 1, r % w->out[1]);
        NAME(columns_max)(w, x, depth, height, row, rank);
        if (stride == 1)
            NAME(across_max)(out, kernel, 1, row, rank, y + r * out, best_rank, best_column);
        else if (stride == 2)
            NAME(across_max)(out, kernel, 2, row, rank, y + r * out, best_rank, best_column);
        else
            NAME(across_max)(out, kernel, stride, row, rank, y + r * out, best_rank, best_column);
        if (index)
            NAME(places)(w, depth, height, best_rank, best_column, index + r * out);
    }
}

/* dx of one plane. */
static void NAME(max_pool_backward)(const struct windows *w, const real *dy, const int32_t *index, real *dx)
{
    const Py_ssize_t size = plane_size(w), count = w->out[0] * w->out[1] * w->out[2];
    for (Py_ssize_t i = 0; i < size; i++)
        dx[i] = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (index[i] >= 0 && index[i] < size)
            dx[index[i]] += dy[i];
}

/* A sum over neighbours in memory, in LANES partial sums. */
static real NAME(sum_of)(const real *x, Py_ssize_t count)
{
    real lane[LANES] = {0};
    Py_ssize_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    for (int l = 0; i + l < count; l++)
        lane[l] += x[i + l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

INLINE void NAME(across_sum)(Py_ssize_t out, Py_ssize_t kernel, const Py_ssize_t stride, const real *row, real *y)
{
    for (Py_ssize_t i = 0; i < out; i++)
        y[i] = row[i * stride];
    for (Py_ssize_t j = 1; j < kernel; j++)
        for (Py_ssize_t i = 0; i < out; i++)
            y[i] += row[i * stride + j];
}

/* How many positions each window has along a row. */
static void NAME(row_positions)(const struct windows *w, real *count)
{
    for (Py_ssize_t i = 0; i < w->out[2]; i++)
        count[i] = (real)positions(w, 2, i);
}

/* Rows `first` to `last` of a plane's output. */
static void NAME(average_pool)(const struct windows *w, const real *x, real *y, Py_ssize_t first, Py_ssize_t last,
                               unsigned char *work)
{
    const Py_ssize_t out = w->out[2], stride = w->stride[2], kernel = w->kernel[2], width = padded_width(w);
    const Py_ssize_t size = w->size[2];
    real *row = (real *)work, *count = row + width;
    NAME(row_positions)(w, count);
    for (Py_ssize_t r = first; r < last; r++) {
        const Py_ssize_t d = r / w->out[1], h = r % w->out[1];
        const real rows = (real)(positions(w, 0, d) * positions(w, 1, h));
        const struct span depth = span_of(w, 0, d), height = span_of(w, 1, h);
        real *to = y + r * out;
        if (out == 1 && w->pad[2] == 0 && kernel >= size) { /* whole rows, which are neighbours in memory */
            real sum = 0;
            for (Py_ssize_t i = depth.begin; i < depth.end; i++)
                sum += NAME(sum_of)(x + (i * w->size[1] + height.begin) * size, (height.end - height.begin) * size);
            to[0] = sum;
        } else {
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] = 0;
            for (Py_ssize_t i = depth.begin; i < depth.end; i++)
                for (Py_ssize_t j = height.begin; j < height.end; j++) {
                    const real *from = x + (i * w->size[1] + j) * size;
                    for (Py_ssize_t k = 0; k < size; k++)
                        row[w->pad[2] + k] += from[k];
                }
            if (stride == 1)
                NAME(across_sum)(out, kernel, 1, row, to);
            else if (stride == 2)
                NAME(across_sum)(out, kernel, 2, row, to);
            else
                NAME(across_sum)(out, kernel, stride, row, to);
        }
        for (Py_ssize_t i = 0; i < out; i++)
            to[i] = rows * count[i] > 0 ? to[i] / (rows * count[i]) : 0;
    }
}

INLINE void NAME(spread)(Py_ssize_t out, Py_ssize_t kernel, const Py_ssize_t stride, const real *share, real *row)
{
    for (Py_ssize_t j = 0; j < kernel; j++)
        for (Py_ssize_t i = 0; i < out; i++)
            row[i * stride + j] += share[i];
}

/* dx of one plane. */
static void NAME(average_pool_backward)(const struct windows *w, const real *dy, real *dx, unsigned char *work)
{
    const Py_ssize_t out = w->out[2], stride = w->stride[2], kernel = w->kernel[2], width = padded_width(w);
    const Py_ssize_t size = w->size[2], values = plane_size(w);
    real *row = (real *)work, *count = row + width, *share = count + out;
    NAME(row_positions)(w, count);
    for (Py_ssize_t i = 0; i < values; i++)
        dx[i] = 0;
    for (Py_ssize_t r = 0; r < w->out[0] * w->out[1]; r++, dy += out) {
        const Py_ssize_t d = r / w->out[1], h = r % w->out[1];
        const real rows = (real)(positions(w, 0, d) * positions(w, 1, h));
        const struct span depth = span_of(w, 0, d), height = span_of(w, 1, h);
        for (Py_ssize_t i = 0; i < width; i++)
            row[i] = 0;
        for (Py_ssize_t i = 0; i < out; i++)
            share[i] = rows * count[i] > 0 ? dy[i] / (rows * count[i]) : 0;
        if (stride == 1)
            NAME(spread)(out, kernel, 1, share, row);
        else
            NAME(spread)(out, kernel, stride, share, row);
        for (Py_ssize_t i = depth.begin; i < depth.end; i++)
            for (Py_ssize_t j = height.begin; j < height.end; j++) {
                real *to = dx + (i * w->size[1] + j) * size;
                for (Py_ssize_t k = 0; k < size; k++)
                    to[k] += row[w->pad[2] + k];
            }
    }
}

/* Runs `each` for the positions of the window of output i, in row order, with the value `v` at index `at`. */
#define EACH_OF_WINDOW(i, each)                                                     \
    {                                                                               \
        const struct span depth_ = span_of(w, 0, (i) / w->out[2] / w->out[1]);      \
        const struct span height_ = span_of(w, 1, (i) / w->out[2] % w->out[1]);     \
        const struct span width_ = span_of(w, 2, (i) % w->out[2]);                  \
        for (Py_ssize_t d_ = depth_.begin; d_ < depth_.end; d_++)                   \
            for (Py_ssize_t h_ = height_.begin; h_ < height_.end; h_++)             \
                for (Py_ssize_t w_ = width_.begin; w_ < width_.end; w_++) {         \
                    const Py_ssize_t at = (d_ * w->size[1] + h_) * w->size[2] + w_; \
                    const real v = x[at];                                           \
                    each                                                            \
                }                                                                   \
    }

/* One plane: the first value at which the running sum reaches the drawn share of the sum; else the last one (where there
   are negative values or NaN). */
static void NAME(stochastic_pool)(const struct windows *w, const real *x, const real *draw, real *y, int32_t *index)
{
    const Py_ssize_t count = w->out[0] * w->out[1] * w->out[2];
    for (Py_ssize_t i = 0; i < count; i++) {
        real sum = 0, running = 0;
        int found = 0;
        EACH_OF_WINDOW(i, {
            (void)at;
            sum += v;
        })
        const real share = draw[i] * sum;
        y[i] = 0;
        index[i] = -1;
        EACH_OF_WINDOW(i, {
            if (!found) {
                running += v;
                found = running >= share;
                y[i] = v;
                index[i] = (int32_t)at;
            }
        })
    }
}

/* One plane: y = sum of squares / sum, 0 where the sum is not above 0. */
static void NAME(weighted_pool)(const struct windows *w, const real *x, real *y)
{
    const Py_ssize_t count = w->out[0] * w->out[1] * w->out[2];
    for (Py_ssize_t i = 0; i < count; i++) {
        real sum = 0, squares = 0;
        EACH_OF_WINDOW(i, {
            (void)at;
            sum += v;
            squares += v * v;
        })
        y[i] = sum > 0 ? squares / sum : 0;
    }
}

/* dx += dy * (2 x - y) / sum. */
static void NAME(weighted_pool_backward)(const struct windows *w, const real *x, const real *dy, real *dx)
{
    const Py_ssize_t count = w->out[0] * w->out[1] * w->out[2], size = plane_size(w);
    for (Py_ssize_t i = 0; i < size; i++)
        dx[i] = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        real sum = 0, squares = 0;
        EACH_OF_WINDOW(i, {
            (void)at;
            sum += v;
            squares += v * v;
        })
        if (!(sum > 0))
            continue;
        const real y = squares / sum, share = dy[i] / sum;
        EACH_OF_WINDOW(i, { dx[at] += share * (2 * v - y); })
    }
}

#undef EACH_OF_WINDOW
#undef whole
#endif
