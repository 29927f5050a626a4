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
#define AT(p, j) (some ? load_some((p) + (j), some, all(0)) : load((p) + (j)))
#define PUT(p, v) (some ? store_some((p), v, some) : store((p), v))

/* ---- forward ---- */

INLINE void NAME(apply_vector)(const real *x, real *y, real *x_hat, Py_ssize_t j, Py_ssize_t some, const struct columns *c,
                               const int how)
{
    native h = (AT(x, j) - AT(c->of.mean.SUFFIX, j)) * AT(c->of.inv_std.SUFFIX, j);
    native z = AT(c->of.gamma.SUFFIX, j) * h + AT(c->of.beta.SUFFIX, j);
    if (how & ACT)
        z = act(z, AT(c->of.slope.SUFFIX, j));
    if (how & HAT)
        PUT(x_hat + j, h);
    if (how & STREAM)
        stream(y + j, z);
    else
        PUT(y + j, z);
}

INLINE void NAME(apply_columns_as)(const real *x, real *y, real *x_hat, Py_ssize_t rows, Py_ssize_t stride,
                                   Py_ssize_t ahead, const struct columns *c, const int how)
{
    const Py_ssize_t columns = c->width * c->repeat;
    for (Py_ssize_t row = 0; row < rows; row++, x += stride, y += stride) {
        Py_ssize_t j = 0;
        for (; j + NATIVE <= columns; j += NATIVE) {
            NAME(apply_vector)(x, y, x_hat, j, 0, c, how);
            prefetch(x + j + ahead);
        }
        if (j < columns)
            NAME(apply_vector)(x, y, x_hat, j, columns - j, c, how & ~STREAM);
        if (how & HAT)
            x_hat += stride;
    }
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
    }
#undef CASE
}

/* ---- backward: sums ---- */

INLINE void NAME(add_strip_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t j,
                                      const int parts, Py_ssize_t some, const struct columns *c,
                                      struct column_gradients *s, const int how)
{
    const Py_ssize_t columns = some ? some : parts * NATIVE;
    native mean[2], sum_g[2], sum_gx[2], sum_slope[2];
    real lanes[2 * NATIVE];
    for (int p = 0; p < parts; p++) {
        mean[p] = AT(c->of.mean.SUFFIX, j + p * NATIVE);
        sum_g[p] = sum_gx[p] = sum_slope[p] = all(0);
    }
    for (Py_ssize_t row = 0; row < rows; row++, x += stride, dy += stride)
        for (int p = 0; p < parts; p++) {
            const Py_ssize_t i = j + p * NATIVE;
            native u = AT(x, i) - mean[p], g = AT(dy, i);
            HOLD(g);
            if (how & ACT) {
                native z = AT(c->of.gamma.SUFFIX, i) * (u * AT(c->of.inv_std.SUFFIX, i)) + AT(c->of.beta.SUFFIX, i);
                if (how & SLOPE)
                    sum_slope[p] += g * z * not_above(z);
                g *= act_slope(z, AT(c->of.slope.SUFFIX, i));
            }
            sum_g[p] += g;
            sum_gx[p] += g * u;
        }
#define FLUSH(sums, into)                                                                                        \
    for (int p = 0; p < parts; p++)                                                                              \
        store(lanes + p * NATIVE, sums[p]);                                                                      \
    for (Py_ssize_t i = 0; i < columns; i++)                                                                     \
        (into)[j + i] += (double)lanes[i];

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
    for (; j + 2 * NATIVE <= columns; j += 2 * NATIVE)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 2, 0, c, s, how);
    for (; j + NATIVE <= columns; j += NATIVE)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 1, 0, c, s, how);
    if (j < columns)
        NAME(add_strip_gradients)(x, dy, rows, stride, j, 1, columns - j, c, s, how);
}

/* Adds a block: `rows` rows of columns, `stride` apart. A column's values are summed in order. */
LOCAL void NAME(add_column_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride,
                                       const struct columns *c, int how, struct column_gradients *s)
{
    if (how == 0)
        NAME(add_column_gradients_as)(x, dy, rows, stride, c, s, 0);
    else if (how == ACT)
        NAME(add_column_gradients_as)(x, dy, rows, stride, c, s, ACT);
    else
        NAME(add_column_gradients_as)(x, dy, rows, stride, c, s, ACT | SLOPE);
}

/* ---- backward: dx ---- */

INLINE void NAME(backward_vector)(const real *x, const real *dy, real *dx, Py_ssize_t j, Py_ssize_t some,
                                  const struct columns *c, const int how)
{
    const int needs_x = how & ACT || !(how & GIVEN);
    native u = all(0), g = AT(dy, j);
    if (needs_x)
        u = AT(x, j) - AT(c->of.mean.SUFFIX, j);
    if (how & ACT) {
        native z = AT(c->of.gamma.SUFFIX, j) * (u * AT(c->of.inv_std.SUFFIX, j)) + AT(c->of.beta.SUFFIX, j);
        g *= act_slope(z, AT(c->of.slope.SUFFIX, j));
    }
    g *= AT(c->of.from_dy.SUFFIX, j);
    if (!(how & GIVEN))
        g += AT(c->of.from_x.SUFFIX, j) * u + AT(c->of.constant.SUFFIX, j);
    if (how & STREAM)
        stream(dx + j, g);
    else
        PUT(dx + j, g);
}

INLINE void NAME(backward_columns_as)(const real *x, const real *dy, real *dx, Py_ssize_t rows, Py_ssize_t stride,
                                      Py_ssize_t ahead, const struct columns *c, const int how)
{
    const Py_ssize_t columns = c->width * c->repeat;
    for (Py_ssize_t row = 0; row < rows; row++, x += stride, dy += stride, dx += stride) {
        Py_ssize_t j = 0;
        for (; j + NATIVE <= columns; j += NATIVE) {
            NAME(backward_vector)(x, dy, dx, j, 0, c, how);
            prefetch(x + j + ahead);
            prefetch(dy + j + ahead);
        }
        if (j < columns)
            NAME(backward_vector)(x, dy, dx, j, columns - j, c, how & ~STREAM);
    }
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
#undef PUT
#endif
