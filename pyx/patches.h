/* im2col and col2im: all values that a kernel meets, in columns; any number of spatial axes.

   columns[channel][tap][position] = x[channel][position * stride + tap * dilation - pad], zeros outside. Each row of
   positions is copied in one go. 4 B read and written an element of the columns. */

#ifndef real
#ifndef CAFFENORM_PATCHES_H
#define CAFFENORM_PATCHES_H

#include <string.h>
#include "lanes.h"

#define MOST_AXES 32

struct patches {
    int axes;
    const Py_ssize_t *size, *out, *kernel, *stride, *pad, *dilation;
};

/* Positions of the last axis at which a tap is inside: begin to end. */
INLINE void inside_row(const struct patches *p, Py_ssize_t shift, Py_ssize_t *begin, Py_ssize_t *end)
{
    const int last = p->axes - 1;
    const Py_ssize_t stride = p->stride[last], size = p->size[last], out = p->out[last];
    *begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    *end = size - shift <= 0 ? 0 : (size - shift + stride - 1) / stride;
    if (*end > out)
        *end = out;
    if (*begin > *end)
        *begin = *end;
}

/* Where a row of the outer axes begins in a channel, or -1 if it lies outside; `row` counts through them. */
INLINE Py_ssize_t outer_row(const struct patches *p, const Py_ssize_t *shift, Py_ssize_t row)
{
    Py_ssize_t start = 0, step = p->size[p->axes - 1];
    for (int axis = p->axes - 2; axis >= 0; axis--) {
        const Py_ssize_t at = row % p->out[axis] * p->stride[axis] + shift[axis];
        if (at < 0 || at >= p->size[axis])
            return -1;
        start += at * step;
        step *= p->size[axis];
        row /= p->out[axis];
    }
    return start;
}

#define BODY "patches.h"
#include "for_reals.h"

#define im2col(p, x, ...) FOR_REAL(im2col, x)(p, x, __VA_ARGS__)
#define col2im(p, columns, ...) FOR_REAL(col2im, columns)(p, columns, __VA_ARGS__)

#endif
#else

/* One channel; with `add` the columns are added up into x instead. */
INLINE void NAME(patch_rows)(const struct patches *p, real *x, real *columns, const int add)
{
    const int last = p->axes - 1;
    const Py_ssize_t out = p->out[last], stride = p->stride[last];
    Py_ssize_t taps = 1, rows = 1, shift[MOST_AXES];
    for (int axis = 0; axis < p->axes; axis++)
        taps *= p->kernel[axis];
    for (int axis = 0; axis < last; axis++)
        rows *= p->out[axis];
    for (Py_ssize_t tap = 0; tap < taps; tap++) {
        Py_ssize_t rest = tap, begin, end;
        for (int axis = last; axis >= 0; axis--) {
            shift[axis] = rest % p->kernel[axis] * p->dilation[axis] - p->pad[axis];
            rest /= p->kernel[axis];
        }
        inside_row(p, shift[last], &begin, &end);
        for (Py_ssize_t row = 0; row < rows; row++, columns += out) {
            const Py_ssize_t start = outer_row(p, shift, row);
            const Py_ssize_t from = start < 0 ? 0 : begin, to = start < 0 ? 0 : end;
            real *in = x + start + shift[last];
            if (add) {
                for (Py_ssize_t i = from; i < to; i++)
                    in[i * stride] += columns[i];
                continue;
            }
            for (Py_ssize_t i = 0; i < from; i++)
                columns[i] = 0;
            if (stride == 1)
                for (Py_ssize_t i = from; i < to; i++)
                    columns[i] = in[i];
            else
                for (Py_ssize_t i = from; i < to; i++)
                    columns[i] = in[i * stride];
            for (Py_ssize_t i = to; i < out; i++)
                columns[i] = 0;
        }
    }
}

static void NAME(im2col)(const struct patches *p, const real *x, real *columns)
{
    NAME(patch_rows)(p, (real *)x, columns, 0);
}

/* x of `size` values. */
static void NAME(col2im)(const struct patches *p, const real *columns, real *x, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i++)
        x[i] = 0;
    NAME(patch_rows)(p, x, (real *)columns, 1);
}

#endif
