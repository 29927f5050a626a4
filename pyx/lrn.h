/* Local response normalisation: y = x * s^-beta, s = k + factor * sum of x^2 over a window of channels or of positions.

   dx = dy * s^-beta - 2 * factor * beta * x * (sum over the same window of dy * x * s^(-beta - 1))

   Windows are summed anew for each value, in order: no running sum that rounding or an infinity would spoil. The power is
   made of square roots where beta is 0.5, 0.75 or 1, else it is libm's. Bound by arithmetic, not by memory. */

#ifndef real
#ifndef CAFFENORM_LRN_H
#define CAFFENORM_LRN_H

#include <math.h>
#include "lanes.h"

/* Neighbouring positions that are worked on together. */
#define ROW 128

#define root_f32 sqrtf
#define root_f64 sqrt
#define power_f32 powf
#define power_f64 pow

#define BODY "lrn.h"
#include "for_reals.h"

#define lrn_across(x, ...) FOR_REAL(lrn_across, x)(x, __VA_ARGS__)
#define lrn_across_backward(x, ...) FOR_REAL(lrn_across_backward, x)(x, __VA_ARGS__)
#define lrn_within(x, ...) FOR_REAL(lrn_within, x)(x, __VA_ARGS__)
#define lrn_within_backward(x, ...) FOR_REAL(lrn_within_backward, x)(x, __VA_ARGS__)

#endif
#else

/* out = s^-beta */
static void NAME(inverse_power)(const real *s, Py_ssize_t count, double beta, real *out)
{
    if (beta == 0.75)
        for (Py_ssize_t i = 0; i < count; i++) {
            const real half = NAME(root)(s[i]);
            out[i] = 1 / (half * NAME(root)(half));
        }
    else if (beta == 0.5)
        for (Py_ssize_t i = 0; i < count; i++)
            out[i] = 1 / NAME(root)(s[i]);
    else if (beta == 1)
        for (Py_ssize_t i = 0; i < count; i++)
            out[i] = 1 / s[i];
    else
        for (Py_ssize_t i = 0; i < count; i++)
            out[i] = NAME(power)(s[i], (real)-beta);
}

/* dy * x * s^(-beta - 1) */
static void NAME(scaled_product)(const real *x, const real *dy, const real *s, Py_ssize_t count, double beta,
                                 real *out)
{
    NAME(inverse_power)(s, count, beta, out);
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = dy[i] * x[i] * (out[i] / s[i]);
}

/* ---- across channels: `count` (at most ROW) positions of an image, `inner` apart from channel to channel ---- */

static void NAME(lrn_across)(const real *x, real *y, real *scale, Py_ssize_t channels, Py_ssize_t inner,
                             Py_ssize_t count, Py_ssize_t size, double factor, double beta, double k)
{
    real s[ROW], p[ROW];
    const Py_ssize_t reach = (size - 1) / 2;
    for (Py_ssize_t c = 0; c < channels; c++) {
        const Py_ssize_t first = c > reach ? c - reach : 0,
                         last = c + reach < channels - 1 ? c + reach : channels - 1;
        for (Py_ssize_t i = 0; i < count; i++)
            s[i] = 0;
        for (Py_ssize_t j = first; j <= last; j++)
            for (Py_ssize_t i = 0; i < count; i++)
                s[i] += x[j * inner + i] * x[j * inner + i];
        for (Py_ssize_t i = 0; i < count; i++)
            s[i] = (real)k + (real)factor * s[i];
        if (scale)
            for (Py_ssize_t i = 0; i < count; i++)
                scale[c * inner + i] = s[i];
        NAME(inverse_power)(s, count, beta, p);
        for (Py_ssize_t i = 0; i < count; i++)
            y[c * inner + i] = x[c * inner + i] * p[i];
    }
}

/* `products` is work space, ROW values for each channel. */
static void NAME(lrn_across_backward)(const real *x, const real *scale, const real *dy, real *dx, real *products,
                                      Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t count, Py_ssize_t size,
                                      double factor, double beta)
{
    real sum[ROW], p[ROW];
    const Py_ssize_t reach = (size - 1) / 2;
    const real both = (real)(2 * factor * beta);
    for (Py_ssize_t c = 0; c < channels; c++)
        NAME(scaled_product)(x + c * inner, dy + c * inner, scale + c * inner, count, beta, products + c * ROW);
    for (Py_ssize_t c = 0; c < channels; c++) {
        const Py_ssize_t first = c > reach ? c - reach : 0,
                         last = c + reach < channels - 1 ? c + reach : channels - 1;
        for (Py_ssize_t i = 0; i < count; i++)
            sum[i] = 0;
        for (Py_ssize_t j = first; j <= last; j++)
            for (Py_ssize_t i = 0; i < count; i++)
                sum[i] += products[j * ROW + i];
        NAME(inverse_power)(scale + c * inner, count, beta, p);
        for (Py_ssize_t i = 0; i < count; i++)
            dx[c * inner + i] = dy[c * inner + i] * p[i] - both * x[c * inner + i] * sum[i];
    }
}

/* ---- within a channel: one plane ---- */

/* out[row][column] = sum of the size x size window around it; `wide` is work space, width + size values. */
static void NAME(box_sums)(const real *x, Py_ssize_t height, Py_ssize_t width, Py_ssize_t size, int squares,
                           real *out, real *wide)
{
    const Py_ssize_t reach = (size - 1) / 2;
    for (Py_ssize_t r = 0; r < height; r++) {
        const Py_ssize_t first = r > reach ? r - reach : 0, last = r + reach < height - 1 ? r + reach : height - 1;
        real *y = out + r * width, *middle = wide + reach;
        for (Py_ssize_t i = 0; i < width + size; i++)
            wide[i] = 0;
        for (Py_ssize_t j = first; j <= last; j++)
            if (squares)
                for (Py_ssize_t i = 0; i < width; i++)
                    middle[i] += x[j * width + i] * x[j * width + i];
            else
                for (Py_ssize_t i = 0; i < width; i++)
                    middle[i] += x[j * width + i];
        for (Py_ssize_t i = 0; i < width; i++)
            y[i] = wide[i];
        for (Py_ssize_t j = 1; j < size; j++)
            for (Py_ssize_t i = 0; i < width; i++)
                y[i] += wide[i + j];
    }
}

static void NAME(lrn_within)(const real *x, real *y, real *scale, Py_ssize_t height, Py_ssize_t width,
                             Py_ssize_t size, double factor, double beta, double k, real *wide)
{
    const Py_ssize_t count = height * width;
    NAME(box_sums)(x, height, width, size, 1, scale, wide);
    for (Py_ssize_t i = 0; i < count; i++)
        scale[i] = (real)k + (real)factor * scale[i];
    NAME(inverse_power)(scale, count, beta, y);
    for (Py_ssize_t i = 0; i < count; i++)
        y[i] *= x[i];
}

/* `products` and `sums` are work space, a plane each. */
static void NAME(lrn_within_backward)(const real *x, const real *scale, const real *dy, real *dx, Py_ssize_t height,
                                      Py_ssize_t width, Py_ssize_t size, double factor, double beta, real *products,
                                      real *sums, real *wide)
{
    const Py_ssize_t count = height * width;
    const real both = (real)(2 * factor * beta);
    NAME(scaled_product)(x, dy, scale, count, beta, products);
    NAME(box_sums)(products, height, width, size, 0, sums, wide);
    NAME(inverse_power)(scale, count, beta, products);
    for (Py_ssize_t i = 0; i < count; i++)
        dx[i] = dy[i] * products[i] - both * x[i] * sums[i];
}

#endif
