/* The inner loops of group normalisation where a channel has few values a sample, layer normalisation first of all: a run has
   one mean and inv_std, and a weight of its own for each value. Weights and offsets may be missing (1 and 0). */

#ifndef real
#ifndef CAFFENORM_GROUP_ROWS_H
#define CAFFENORM_GROUP_ROWS_H

#include "norm_rows.h"

#define BODY "group_rows.h"
#include "for_reals.h"

#define set_group_backward(x, c, inv_std, from_x, constant, n)                                                   \
    FOR_REAL(set_group_backward, x)(x, c, inv_std, from_x, constant, n)
#define apply_weighted(x, y, n, mean, inv_std, gamma, beta)                                                      \
    FOR_REAL(apply_weighted, x)(x, y, n, mean, inv_std, gamma, beta)
#define add_weighted_gradients(x, dy, n, mean, gamma, s)                                                         \
    FOR_REAL(add_weighted_gradients, x)(x, dy, n, mean, gamma, s)
#define backward_weighted(x, dy, dx, n, mean, inv_std, gamma, from_x, constant)                                  \
    FOR_REAL(backward_weighted, x)(x, dy, dx, n, mean, inv_std, gamma, from_x, constant)
#define add_weight_gradients(x, dy, rows, stride, n, mean, inv_std, step, dgamma, dbeta)                         \
    FOR_REAL(add_weight_gradients, x)(x, dy, rows, stride, n, mean, inv_std, step, dgamma, dbeta)

#endif
#else

/* What backward adds for channels with common statistics. */
LOCAL void NAME(set_group_backward)(const real *x, struct channels *c, double inv_std, double from_x, double constant,
                                    Py_ssize_t n)
{
    (void)x;
    for (Py_ssize_t k = 0; k < n; k++) {
        c->from_dy.SUFFIX[k] = c->gamma.SUFFIX[k] * (real)inv_std;
        c->from_x.SUFFIX[k] = (real)from_x;
        c->constant.SUFFIX[k] = (real)constant;
    }
}

/* One vector, or where `some` is not 0 its first elements; `missing` where there is no array. */
#define AT(p, missing) (!(p) ? all(missing) : some ? load_some((p) + i, some, all(0)) : load((p) + i))

/* y = gamma * ((x - mean) * inv_std) + beta */
LOCAL void NAME(apply_weighted)(const real *x, real *y, Py_ssize_t n, real mean, real inv_std, const real *gamma,
                                const real *beta)
{
    for (Py_ssize_t i = 0; i < n; i += NATIVE) {
        const Py_ssize_t some = n - i < NATIVE ? n - i : 0;
        native z = AT(gamma, 1) * ((AT(x, 0) - all(mean)) * all(inv_std)) + AT(beta, 0);
        if (some)
            store_some(y + i, z, some);
        else
            store(y + i, z);
    }
}

/* Adds g = gamma * dy and g * (x - mean): value i to partial sum i % (2 * LANES), as rows have it. */
LOCAL void NAME(add_weighted_gradients)(const real *x, const real *dy, Py_ssize_t n, real mean, const real *gamma,
                                        struct row_gradients *s)
{
    native sum_g[2 * PARTS], sum_gx[2 * PARTS];
    for (int j = 0; j < 2 * PARTS; j++)
        sum_g[j] = sum_gx[j] = all(0);
    for (Py_ssize_t start = 0; start < n; start += 2 * LANES) {
#pragma GCC unroll 8
        for (int j = 0; j < 2 * PARTS; j++) {
            const Py_ssize_t i = start + j * NATIVE, some = n - i < NATIVE ? n - i : 0;
            if (i < n) {
                native g = AT(gamma, 1) * AT(dy, 0);
                sum_g[j] += g;
                sum_gx[j] += g * (AT(x, 0) - all(mean));
            }
        }
    }
    NAME(end_gradient_block)(sum_g, sum_gx, sum_g, s, 0);
}

/* dx = inv_std * gamma * dy + (from_x * (x - mean) + constant) */
LOCAL void NAME(backward_weighted)(const real *x, const real *dy, real *dx, Py_ssize_t n, real mean, real inv_std,
                                   const real *gamma, real from_x, real constant)
{
    for (Py_ssize_t i = 0; i < n; i += NATIVE) {
        const Py_ssize_t some = n - i < NATIVE ? n - i : 0;
        native d = AT(gamma, 1) * all(inv_std) * AT(dy, 0) + (all(from_x) * (AT(x, 0) - all(mean)) + all(constant));
        if (some)
            store_some(dx + i, d, some);
        else
            store(dx + i, d);
    }
}

/* Adds to each column's gradients, over rows `stride` apart whose statistics are `step` apart: dy * x_hat and dy. */
LOCAL void NAME(add_weight_gradients)(const real *x, const real *dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                                      const real *mean, const real *inv_std, Py_ssize_t step, double *dgamma,
                                      double *dbeta)
{
    for (Py_ssize_t i = 0; i < n; i += NATIVE) {
        const Py_ssize_t some = n - i < NATIVE ? n - i : 0;
        real lanes[2][NATIVE_BYTES / sizeof(real)] = {{0}};
        native sum_g = all(0), sum_gx = all(0);
        for (Py_ssize_t row = 0; row < rows; row++) {
            const real *px = x + row * stride, *pdy = dy + row * stride;
            native g = AT(pdy, 0);
            sum_g += g;
            sum_gx += g * ((AT(px, 0) - all(mean[row * step])) * all(inv_std[row * step]));
        }
        store(lanes[0], sum_gx);
        store(lanes[1], sum_g);
        for (Py_ssize_t l = 0; l < (some ? some : NATIVE); l++) {
            dgamma[i + l] += (double)lanes[0][l];
            dbeta[i + l] += (double)lanes[1][l];
        }
    }
}

#undef AT
#endif
