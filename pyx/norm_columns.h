/* The inner loops of batch normalisation on columns, for few values a channel and row: forward, the sums of backward, and
   dx. Every column has its channel's parameters in arrays, so that vectors run across channels. */

#ifndef real
#ifndef CAFFENORM_NORM_COLUMNS_H
#define CAFFENORM_NORM_COLUMNS_H

#include "norm_rows.h"

/* The columns of a row: `repeat` times `width`, and those `inner` next to each other belong to one channel. */
struct columns {
    Py_ssize_t width, repeat, inner;
    struct channels of;
};

struct column_gradients {
    double g[TILE], gx[TILE], slope[TILE];
};

LOCAL void start_column_gradients(const struct columns *c, struct column_gradients *s)
{
    for (Py_ssize_t j = 0; j < c->repeat * c->width; j++)
        s->g[j] = s->gx[j] = s->slope[j] = 0;
}

/* Sums of each channel. */
LOCAL void end_column_gradients(const struct columns *c, struct column_gradients *s, double *g, double *gx, double *slope)
{
    for (Py_ssize_t j = c->width; j < c->repeat * c->width; j++) {
        s->g[j % c->width] += s->g[j];
        s->gx[j % c->width] += s->gx[j];
        s->slope[j % c->width] += s->slope[j];
    }
    for (Py_ssize_t i = 0; i < c->width / c->inner; i++) {
        g[i] = gx[i] = slope[i] = 0;
        for (Py_ssize_t j = i * c->inner; j < (i + 1) * c->inner; j++) {
            g[i] += s->g[j];
            gx[i] += s->gx[j];
            slope[i] += s->slope[j];
        }
    }
}

#define BODY "norm_columns.h"
#include "for_reals.h"

#define set_columns(x, from, backward, c) FOR_REAL(set_columns, x)(x, from, backward, c)
#define apply_columns(x, y, x_hat, rows, stride, ahead, c, how)                                                  \
    FOR_REAL(apply_columns, x)(x, y, x_hat, rows, stride, ahead, c, how)
#define add_column_gradients(x, dy, rows, stride, c, how, s)                                                     \
    FOR_REAL(add_column_gradients, x)(x, dy, rows, stride, c, how, s)
#define backward_columns(x, dy, dx, rows, stride, ahead, c, how)                                                 \
    FOR_REAL(backward_columns, x)(x, dy, dx, rows, stride, ahead, c, how)

#endif
#else

INLINE void NAME(spread)(const struct columns *c, const union tile *channels, union tile *columns)
{
    const Py_ssize_t inner = c->inner, width = c->width;
    if (inner == 1)
        for (Py_ssize_t i = 0; i < width; i++)
            columns->SUFFIX[i] = channels->SUFFIX[i];
    else
        for (Py_ssize_t i = 0; i < width / inner; i++)
            for (Py_ssize_t j = i * inner; j < (i + 1) * inner; j++)
                columns->SUFFIX[j] = channels->SUFFIX[i];
    for (Py_ssize_t j = width; j < width * c->repeat; j++)
        columns->SUFFIX[j] = columns->SUFFIX[j - width];
}

/* Gives each column the parameters of its channel, those of backward too if asked. */
LOCAL void NAME(set_columns)(const real *x, const struct channels *from, int backward, struct columns *c)
{
    (void)x;
    NAME(spread)(c, &from->mean, &c->of.mean);
    NAME(spread)(c, &from->inv_std, &c->of.inv_std);
    NAME(spread)(c, &from->gamma, &c->of.gamma);
    NAME(spread)(c, &from->beta, &c->of.beta);
    NAME(spread)(c, &from->slope, &c->of.slope);
    if (backward) {
        NAME(spread)(c, &from->from_dy, &c->of.from_dy);
        NAME(spread)(c, &from->from_x, &c->of.from_x);
        NAME(spread)(c, &from->constant, &c->of.constant);
    }
}

/* One vector, or where `some` is not 0 its first elements; what lies beyond them in the arrays is not used. */
#define AT(p) (some ? load_some(p, some, all(0)) : load(p))
#define PUT(p, v) (some ? store_some(p, v, some) : store(p, v))
/* A parameter of the columns from the j-th on. */
#define OF(name) AT(c->of.name.SUFFIX + j)

/* ---- forward ---- */

/* One vector of columns in `rows` rows. */
INLINE void NAME(apply_vector)(const real *x, real *y, real *x_hat, const int rows, Py_ssize_t stride, Py_ssize_t j,
                               Py_ssize_t some, const struct columns *c, const int how)
{
    const native mean = OF(mean), inv_std = OF(inv_std), gamma = OF(gamma), beta = OF(beta), slope = OF(slope);
    for (int row = 0; row < rows; row++) {
        const Py_ssize_t at = row * stride + j;
        native h = AT(x + at), z;
        if (!(how & LINEAR))
            h = (h - mean) * inv_std;
        z = gamma * h + beta;
        if (how & ACT)
            z = act(z, slope);
        if (how & HAT)
            PUT(x_hat + at, h);
        if (how & STREAM)
            stream(y + at, z);
        else
            PUT(y + at, z);
    }
}

INLINE void NAME(apply_rows_of_columns)(const real *x, real *y, real *x_hat, const int rows, Py_ssize_t stride,
                                        Py_ssize_t ahead, const struct columns *c, const int how)
{
    const Py_ssize_t columns = c->width * c->repeat;
    Py_ssize_t j = 0;
    for (; j + NATIVE <= columns; j += NATIVE) {
        NAME(apply_vector)(x, y, x_hat, rows, stride, j, 0, c, how);
        for (int row = 0; row < rows; row++)
            prefetch(x + row * stride + j + ahead);
    }
    if (j < columns)
        NAME(apply_vector)(x, y, x_hat, rows, stride, j, columns - j, c, how & ~STREAM);
}

INLINE void NAME(apply_columns_as)(const real *x, real *y, real *x_hat, Py_ssize_t rows, Py_ssize_t stride,
                                   Py_ssize_t ahead, const struct columns *c, const int how)
{
    Py_ssize_t row = 0;
    for (; row + 4 <= rows; row += 4)
        NAME(apply_rows_of_columns)(x + row * stride, y + row * stride, how & HAT ? x_hat + row * stride : 0, 4, stride,
                                    ahead, c, how);
    for (; row < rows; row++)
        NAME(apply_rows_of_columns)(x + row * stride, y + row * stride, how & HAT ? x_hat + row * stride : 0, 1, stride,
                                    ahead, c, how);
}

/* y may be streamed where each row of it is aligned; x_hat is not. */
LOCAL void NAME(apply_columns)(const real *x, real *y, real *x_hat, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t ahead,
                                const struct columns *c, int how)
{
    if (((uintptr_t)y | (uintptr_t)stride * sizeof(real)) % NATIVE_BYTES)
        how &= ~STREAM;
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(apply_columns_as)(x, y, x_hat, rows, stride, ahead, c, which);                                      \
        break;
    switch (how) {
        CASE(0)
        CASE(ACT)
        CASE(HAT)
        CASE(HAT | ACT)
        CASE(STREAM)
        CASE(STREAM | ACT)
        CASE(STREAM | HAT)
        CASE(STREAM | HAT | ACT)
        CASE(LINEAR)
        CASE(LINEAR | ACT)
        CASE(LINEAR | STREAM)
        CASE(LINEAR | STREAM | ACT)
    }
#undef CASE
}

/* ---- backward: sums ---- */

INLINE void NAME(add_strip_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t first,
                                      const int parts, Py_ssize_t some, const struct columns *c,
                                      struct column_gradients *s, const int how)
{
    const Py_ssize_t columns = some ? some : parts * NATIVE;
    native mean[4], sum_g[4], sum_gx[4], sum_slope[4];
    real lanes[4 * NATIVE] = {0};
    for (int p = 0; p < parts; p++) {
        const Py_ssize_t j = first + p * NATIVE;
        mean[p] = OF(mean);
        sum_g[p] = sum_gx[p] = sum_slope[p] = all(0);
    }
    for (Py_ssize_t row = 0; row < rows; row++, x += stride, dy += stride)
        for (int p = 0; p < parts; p++) {
            const Py_ssize_t j = first + p * NATIVE;
            native u = all(0), g = AT(dy + j);
            if (!(how & (TOTAL | DOT)))
                HOLD(g);
            if (how & DOT)
                u = AT(x + j);
            else if (!(how & TOTAL))
                u = AT(x + j) - mean[p];
            if (how & ACT) {
                native z = OF(gamma) * (u * OF(inv_std)) + OF(beta);
                if (how & SLOPE)
                    sum_slope[p] += g * z * not_above(z);
                g *= act_slope(z, OF(slope));
            }
            if (!(how & DOT))
                sum_g[p] += g;
            if (!(how & TOTAL))
                sum_gx[p] += g * u;
        }
#define FLUSH(sums, into)                                                                                        \
    for (int p = 0; p < parts; p++)                                                                              \
        store(lanes + p * NATIVE, sums[p]);                                                                      \
    for (Py_ssize_t i = 0; i < columns; i++)                                                                     \
        (into)[first + i] += (double)lanes[i];

    FLUSH(sum_g, s->g)
    FLUSH(sum_gx, s->gx)
    if (how & SLOPE) {
        FLUSH(sum_slope, s->slope)
    }
#undef FLUSH
}

INLINE void NAME(add_column_gradients_as)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride,
                                          const struct columns *c, struct column_gradients *s, const int how)
{
    const Py_ssize_t columns = c->width * c->repeat;
    Py_ssize_t j = 0;
    for (; j + 4 * NATIVE <= columns; j += 4 * NATIVE)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 4, 0, c, s, how);
    for (; j + NATIVE <= columns; j += NATIVE)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 1, 0, c, s, how);
    if (j < columns)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 1, columns - j, c, s, how);
}

/* Adds a block: `rows` rows of columns, `stride` apart. A column's values are summed in order. */
LOCAL void NAME(add_column_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride,
                                       const struct columns *c, int how, struct column_gradients *s)
{
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(add_column_gradients_as)(x, dy, rows, stride, c, s, which);                                         \
        break;
    switch (how) {
        CASE(0)
        CASE(ACT)
        CASE(ACT | SLOPE)
        CASE(TOTAL)
        CASE(DOT)
    }
#undef CASE
}

/* ---- backward: dx ---- */

/* One vector of columns in `rows` rows. */
INLINE void NAME(backward_vector)(const real *x, const real *dy, real *dx, const int rows, Py_ssize_t stride, Py_ssize_t j,
                                  Py_ssize_t some, const struct columns *c, const int how)
{
    const native mean = OF(mean), inv_std = OF(inv_std), gamma = OF(gamma), beta = OF(beta), slope = OF(slope);
    const native from_dy = OF(from_dy), from_x = OF(from_x), constant = OF(constant);
    for (int row = 0; row < rows; row++) {
        const Py_ssize_t at = row * stride + j;
        native u = all(0), g = AT(dy + at);
        if (how & ACT || !(how & GIVEN))
            u = AT(x + at) - mean;
        if (how & ACT)
            g *= act_slope(gamma * (u * inv_std) + beta, slope);
        g *= from_dy;
        if (!(how & GIVEN))
            g += from_x * u + constant;
        if (how & STREAM)
            stream(dx + at, g);
        else
            PUT(dx + at, g);
    }
}

INLINE void NAME(backward_rows_of_columns)(const real *x, const real *dy, real *dx, const int rows, Py_ssize_t stride,
                                           Py_ssize_t ahead, const struct columns *c, const int how)
{
    const Py_ssize_t columns = c->width * c->repeat;
    Py_ssize_t j = 0;
    for (; j + NATIVE <= columns; j += NATIVE) {
        NAME(backward_vector)(x, dy, dx, rows, stride, j, 0, c, how);
        for (int row = 0; row < rows; row++) {
            prefetch(x + row * stride + j + ahead);
            prefetch(dy + row * stride + j + ahead);
        }
    }
    if (j < columns)
        NAME(backward_vector)(x, dy, dx, rows, stride, j, columns - j, c, how & ~STREAM);
}

INLINE void NAME(backward_columns_as)(const real *x, const real *dy, real *dx, Py_ssize_t rows, Py_ssize_t stride,
                                      Py_ssize_t ahead, const struct columns *c, const int how)
{
    Py_ssize_t row = 0;
    for (; row + 4 <= rows; row += 4)
        NAME(backward_rows_of_columns)(x + row * stride, dy + row * stride, dx + row * stride, 4, stride, ahead, c, how);
    for (; row < rows; row++)
        NAME(backward_rows_of_columns)(x + row * stride, dy + row * stride, dx + row * stride, 1, stride, ahead, c, how);
}

/* dx may be streamed where each row of it is aligned. */
LOCAL void NAME(backward_columns)(const real *x, const real *dy, real *dx, Py_ssize_t rows, Py_ssize_t stride,
                                   Py_ssize_t ahead, const struct columns *c, int how)
{
    if (((uintptr_t)dx | (uintptr_t)stride * sizeof(real)) % NATIVE_BYTES)
        how &= ~STREAM;
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(backward_columns_as)(x, dy, dx, rows, stride, ahead, c, which);                                     \
        break;
    switch (how) {
        CASE(0)
        CASE(ACT)
        CASE(GIVEN)
        CASE(GIVEN | ACT)
        CASE(STREAM)
        CASE(STREAM | ACT)
        CASE(STREAM | GIVEN)
        CASE(STREAM | GIVEN | ACT)
    }
#undef CASE
}

#undef AT
#undef OF
#undef PUT
#endif
