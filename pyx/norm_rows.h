/* The inner loops of batch normalisation on rows, runs of one channel's values: forward, the sums of backward, and dx. */

#ifndef real
#ifndef CAFFENORM_NORM_ROWS_H
#define CAFFENORM_NORM_ROWS_H

#include "moments.h"

/* What a loop does beside the plain case, or less; each combination is compiled by itself.
   ACT: there is an activation. STREAM: the result goes past the caches.
   Forward: HAT: x_hat is written too. LINEAR: gamma * x + beta, without statistics.
   Sums: SLOPE: for the slope too. TOTAL: sum(dy) alone. DOT: sum(dy * x) alone.
   dx: GIVEN: the statistics were given, so it is from_dy * g alone, and without an activation x is not read. */
enum { ACT = 1, STREAM = 4, HAT = 2, LINEAR = 8, SLOPE = 2, TOTAL = 4, DOT = 8, GIVEN = 2 };

/* The channels of a tile, or its columns. y = act(gamma * (x - mean) * inv_std + beta); backward, with g = dy * act':
   dx = from_dy * g + (from_x * (x - mean) + constant). */
struct channels {
    union tile mean, inv_std, gamma, beta, slope, from_dy, from_x, constant;
};

/* Sums of backward: g, g * (x - mean), and what the slope's gradient adds up. */
struct gradients {
    double g, gx, slope;
};
struct row_gradients {
    double g[MOST_LANES], gx[MOST_LANES], slope[MOST_LANES];
};

LOCAL struct gradients end_row_gradients(const struct row_gradients *s)
{
    struct row_gradients t = *s;
    for (int half = MOST_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) {
            t.g[l] += t.g[l + half];
            t.gx[l] += t.gx[l + half];
            t.slope[l] += t.slope[l + half];
        }
    return (struct gradients){t.g[0], t.gx[0], t.slope[0]};
}

#define BODY "norm_rows.h"
#include "for_reals.h"

#define fill(x, to, from, first, step, otherwise, n) FOR_REAL(fill, x)(x, to, from, first, step, otherwise, n)
#define set_backward(x, c, inv_std, first, g, g_x_hat, share, n)                                                 \
    FOR_REAL(set_backward, x)(x, c, inv_std, first, g, g_x_hat, share, n)
#define apply_rows(x, y, x_hat, rows, stride, n, channels, ahead, c, how)                                        \
    FOR_REAL(apply_rows, x)(x, y, x_hat, rows, stride, n, channels, ahead, c, how)
#define add_row_gradients(x, dy, rows, stride, n, channels, c, how, s)                                           \
    FOR_REAL(add_row_gradients, x)(x, dy, rows, stride, n, channels, c, how, s)
#define backward_rows(x, dy, dx, rows, stride, n, channels, ahead, c, how)                                       \
    FOR_REAL(backward_rows, x)(x, dy, dx, rows, stride, n, channels, ahead, c, how)

#endif
#else

/* A parameter of the k-th channel. */
#define OF(name, k) c->name.SUFFIX[k]

/* ---- parameters ---- */

/* n values from the first-th of `from` on, an array of this type; with step 0 the first alone, without `from` another. */
LOCAL void NAME(fill)(const real *x, union tile *to, const void *from, Py_ssize_t first, Py_ssize_t step, double otherwise,
                      Py_ssize_t n)
{
    const real *values = (const real *)from + (from ? first * step : 0);
    (void)x;
    if (from && step)
        for (Py_ssize_t k = 0; k < n; k++)
            to->SUFFIX[k] = values[k];
    else
        for (Py_ssize_t k = 0; k < n; k++)
            to->SUFFIX[k] = from ? values[0] : (real)otherwise;
}

/* Sets what backward adds for n channels, from share times their sums of g and g * x_hat; without sums, the statistics do
   not depend on x. c->inv_std is that of x, 1 where x is x_hat. */
LOCAL void NAME(set_backward)(const real *x, struct channels *c, const void *inv_std, Py_ssize_t first, const double *g,
                              const double *g_x_hat, double share, Py_ssize_t n)
{
    (void)x;
    for (Py_ssize_t k = 0; k < n; k++)
        c->from_dy.SUFFIX[k] = inv_std ? c->gamma.SUFFIX[k] * ((const real *)inv_std)[first + k] : c->gamma.SUFFIX[k];
    if (g)
        for (Py_ssize_t k = 0; k < n; k++) {
            const double from_dy = (double)c->gamma.SUFFIX[k] * (double)((const real *)inv_std)[first + k] * share;
            c->from_x.SUFFIX[k] = (real)(-from_dy * g_x_hat[k] * (double)c->inv_std.SUFFIX[k]);
            c->constant.SUFFIX[k] = (real)(-from_dy * g[k]);
        }
}

/* ---- forward ---- */

/* y and x_hat of one vector. */
#define APPLY(v)                                                                                                 \
    native h = (v), z;                                                                                           \
    if (!(how & LINEAR))                                                                                         \
        h = (h - mean) * inv_std;                                                                                \
    z = gamma * h + beta;                                                                                        \
    if (how & ACT)                                                                                               \
        z = act(z, slope);

INLINE void NAME(apply_run)(const real *x, real *y, real *x_hat, Py_ssize_t n, Py_ssize_t ahead, const struct channels *c,
                            Py_ssize_t k, const int how)
{
    const native mean = all(OF(mean, k)), inv_std = all(OF(inv_std, k));
    const native gamma = all(OF(gamma, k)), beta = all(OF(beta, k)), slope = all(OF(slope, k));
    Py_ssize_t i = 0;
    if (how & STREAM) {
        i = (Py_ssize_t)(-(uintptr_t)(how & HAT ? x_hat : y) % NATIVE_BYTES / sizeof(real));
        i = i < n ? i : n;
        APPLY(load_some(x, i, mean))
        store_some(y, z, i);
        if (how & HAT)
            store_some(x_hat, h, i);
    }
    for (; i + NATIVE <= n; i += NATIVE) {
        APPLY(load(x + i))
        prefetch(x + i + ahead);
        if (how & HAT && how & STREAM)
            stream(x_hat + i, h);
        else if (how & HAT)
            store(x_hat + i, h);
        if (how & STREAM && !(how & HAT))
            stream(y + i, z);
        else
            store(y + i, z);
    }
    if (i < n) {
        APPLY(load_some(x + i, n - i, mean))
        store_some(y + i, z, n - i);
        if (how & HAT)
            store_some(x_hat + i, h, n - i);
    }
}

INLINE void NAME(apply_rows_as)(const real *x, real *y, real *x_hat, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                                Py_ssize_t channels, Py_ssize_t ahead, const struct channels *c, const int how)
{
    for (Py_ssize_t row = 0; row < rows; row++)
        for (Py_ssize_t k = 0; k < channels; k++) {
            const Py_ssize_t at = row * stride + k * n;
            NAME(apply_run)(x + at, y + at, how & HAT ? x_hat + at : 0, n, ahead, c, k, how);
        }
}

/* Takes `rows` runs, `stride` apart, of `channels` times n values; reads `ahead` values ahead into the second-level cache. */
LOCAL void NAME(apply_rows)(const real *x, real *y, real *x_hat, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                            Py_ssize_t channels, Py_ssize_t ahead, const struct channels *c, int how)
{
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(apply_rows_as)(x, y, x_hat, rows, stride, n, channels, ahead, c, which);                            \
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

/* Adds runs of n values to the k-th channel's partial sums: value i to number i % (2 * LANES). */
INLINE void NAME(add_gradient_run)(const real *x, const real *dy, Py_ssize_t n, const struct channels *c, Py_ssize_t k,
                                   native *sum_g, native *sum_gx, native *sum_slope, const int how)
{
    const native mean = all(OF(mean, k)), inv_std = all(OF(inv_std, k));
    const native gamma = all(OF(gamma, k)), beta = all(OF(beta, k)), slope = all(OF(slope, k));
    const Py_ssize_t whole = n - n % (2 * LANES);

#define ADD(vx, vdy)                                                                                             \
    native u = all(0), g = (vdy);                                                                                \
    if (!(how & (TOTAL | DOT)))                                                                                  \
        HOLD(g);                                                                                                 \
    if (how & DOT)                                                                                               \
        u = (vx);                                                                                                \
    else if (!(how & TOTAL))                                                                                     \
        u = (vx) - mean;                                                                                         \
    if (how & ACT) {                                                                                             \
        native z = gamma * (u * inv_std) + beta;                                                                 \
        if (how & SLOPE)                                                                                         \
            sum_slope[j] += g * z * not_above(z);                                                                \
        g *= act_slope(z, slope);                                                                                \
    }                                                                                                            \
    if (!(how & DOT))                                                                                            \
        sum_g[j] += g;                                                                                           \
    if (!(how & TOTAL))                                                                                          \
        sum_gx[j] += g * u;

    for (Py_ssize_t i = 0; i < whole; i += 2 * LANES) {
#pragma GCC unroll 8
        for (int j = 0; j < 2 * PARTS; j++) {
            ADD(load(x + i + j * NATIVE), load(dy + i + j * NATIVE))
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < 2 * PARTS; j++) {
        const Py_ssize_t i = whole + j * NATIVE, left = n - i;
        if (left > 0) {
            if (left < NATIVE) {
                ADD(load_some(x + i, left, mean), load_some(dy + i, left, all(0)))
            } else {
                ADD(load(x + i), load(dy + i))
            }
        }
    }
#undef ADD
}

INLINE void NAME(end_gradient_sum)(const native *sum, double *into)
{
    real lanes[LANES];
    for (int j = 0; j < PARTS; j++)
        store(lanes + j * NATIVE, sum[j] + sum[j + PARTS]);
    for (Py_ssize_t l = 0; l < LANES; l++)
        into[l] += (double)lanes[l];
}

INLINE void NAME(end_gradient_block)(const native *sum_g, const native *sum_gx, const native *sum_slope,
                                     struct row_gradients *s, const int how)
{
    NAME(end_gradient_sum)(sum_g, s->g);
    NAME(end_gradient_sum)(sum_gx, s->gx);
    if (how & SLOPE)
        NAME(end_gradient_sum)(sum_slope, s->slope);
}

INLINE void NAME(add_row_gradients_as)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                                       Py_ssize_t channels, const struct channels *c, struct row_gradients *s,
                                       const int how)
{
    if (channels == 1) {
        native g[2 * PARTS], gx[2 * PARTS], slope[2 * PARTS];
        for (int j = 0; j < 2 * PARTS; j++)
            g[j] = gx[j] = slope[j] = all(0);
        for (Py_ssize_t row = 0; row < rows; row++)
            NAME(add_gradient_run)(x + row * stride, dy + row * stride, n, c, 0, g, gx, slope, how);
        NAME(end_gradient_block)(g, gx, slope, s, how);
        return;
    }
    native g[MOST_RUNS][2 * PARTS], gx[MOST_RUNS][2 * PARTS], slope[MOST_RUNS][2 * PARTS];
    for (Py_ssize_t k = 0; k < channels; k++)
        for (int j = 0; j < 2 * PARTS; j++)
            g[k][j] = gx[k][j] = slope[k][j] = all(0);
    for (Py_ssize_t row = 0; row < rows; row++)
        for (Py_ssize_t k = 0; k < channels; k++) {
            const Py_ssize_t at = row * stride + k * n;
            native one_g[2 * PARTS], one_gx[2 * PARTS], one_slope[2 * PARTS];
#pragma GCC unroll 8
            for (int j = 0; j < 2 * PARTS; j++) {
                one_g[j] = g[k][j];
                one_gx[j] = gx[k][j];
                one_slope[j] = slope[k][j];
            }
            NAME(add_gradient_run)(x + at, dy + at, n, c, k, one_g, one_gx, one_slope, how);
#pragma GCC unroll 8
            for (int j = 0; j < 2 * PARTS; j++) {
                g[k][j] = one_g[j];
                gx[k][j] = one_gx[j];
                slope[k][j] = one_slope[j];
            }
        }
    for (Py_ssize_t k = 0; k < channels; k++)
        NAME(end_gradient_block)(g[k], gx[k], slope[k], s + k, how);
}

/* Adds a block: `rows` times, `stride` apart, one run of n values for each channel. */
LOCAL void NAME(add_row_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                                   Py_ssize_t channels, const struct channels *c, int how, struct row_gradients *s)
{
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(add_row_gradients_as)(x, dy, rows, stride, n, channels, c, s, which);                               \
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

INLINE void NAME(backward_run)(const real *x, const real *dy, real *dx, Py_ssize_t n, Py_ssize_t ahead,
                               const struct channels *c, Py_ssize_t k, const int how)
{
    const native mean = all(OF(mean, k)), inv_std = all(OF(inv_std, k));
    const native gamma = all(OF(gamma, k)), beta = all(OF(beta, k)), slope = all(OF(slope, k));
    const native from_dy = all(OF(from_dy, k)), from_x = all(OF(from_x, k)), constant = all(OF(constant, k));
    const int needs_x = how & ACT || !(how & GIVEN);
    Py_ssize_t i = 0;

#define BACKWARD(load_x, vdy)                                                                                    \
    native u = all(0), g = (vdy);                                                                                \
    if (needs_x)                                                                                                 \
        u = (load_x) - mean;                                                                                     \
    if (how & ACT)                                                                                               \
        g *= act_slope(gamma * (u * inv_std) + beta, slope);                                                     \
    g *= from_dy;                                                                                                \
    if (!(how & GIVEN))                                                                                          \
        g += from_x * u + constant;

    if (how & STREAM) {
        i = (Py_ssize_t)(-(uintptr_t)dx % NATIVE_BYTES / sizeof(real));
        i = i < n ? i : n;
        BACKWARD(load_some(x, i, mean), load_some(dy, i, all(0)))
        store_some(dx, g, i);
    }
    for (; i + NATIVE <= n; i += NATIVE) {
        BACKWARD(load(x + i), load(dy + i))
        if (needs_x)
            prefetch(x + i + ahead);
        prefetch(dy + i + ahead);
        if (how & STREAM)
            stream(dx + i, g);
        else
            store(dx + i, g);
    }
    if (i < n) {
        BACKWARD(load_some(x + i, n - i, mean), load_some(dy + i, n - i, all(0)))
        store_some(dx + i, g, n - i);
    }
#undef BACKWARD
}

INLINE void NAME(backward_rows_as)(const real *x, const real *dy, real *dx, Py_ssize_t rows, Py_ssize_t stride,
                                   Py_ssize_t n, Py_ssize_t channels, Py_ssize_t ahead, const struct channels *c,
                                   const int how)
{
    for (Py_ssize_t row = 0; row < rows; row++)
        for (Py_ssize_t k = 0; k < channels; k++) {
            const Py_ssize_t at = row * stride + k * n;
            NAME(backward_run)(x + at, dy + at, dx + at, n, ahead, c, k, how);
        }
}

LOCAL void NAME(backward_rows)(const real *x, const real *dy, real *dx, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                               Py_ssize_t channels, Py_ssize_t ahead, const struct channels *c, int how)
{
#define CASE(which)                                                                                              \
    case which:                                                                                                  \
        NAME(backward_rows_as)(x, dy, dx, rows, stride, n, channels, ahead, c, which);                           \
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

#undef APPLY
#undef OF
#endif
