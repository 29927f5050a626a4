/* Products along the rows of both sides: out[m][n] = sum over i of a[m][i] * b[n][i].

   left_gradient   of a convolution: a is the output's gradient, b the right side of gather.h, packed a
   stretch of columns at a time, and i runs over all columns of all images dot_rows        of two matrices in
   memory

   A sum runs in vectors over a stretch of columns, and over the stretches in order: it does not depend on the
   threads. */

#ifndef real
#ifndef CAFFENORM_ROW_PRODUCTS_H
#define CAFFENORM_ROW_PRODUCTS_H

#include "gather.h"

/* Columns of a stretch: 4 KiB of a row in float, 8 KiB in double. */
#define STRETCH 1024
/* Rows of both sides that one thread takes at a time, so that their stretches (640 KiB in float) stay in
   cache. */
#define RIGHT_ROWS 96
#define LEFT_ROWS 64
/* Rows of the right matrix that a thread of dot_rows takes at a time. */
#define MATRIX_ROWS 48

/* Stretches of an image's columns are of even size; images of few columns are taken together (0). */
static Py_ssize_t image_stretches(Py_ssize_t columns)
{
    return columns < STRETCH / 4 ? 0 : ceil_div(columns, STRETCH);
}

/* Whether offsets go up in even steps. */
static int is_even(const Py_ssize_t *offset, Py_ssize_t count)
{
    for (Py_ssize_t k = 2; k < count; k++)
        if (offset[k] - offset[k - 1] != offset[1] - offset[0])
            return 0;
    return 1;
}

#define BODY "row_products.h"
#include "for_reals.h"

#define gradient_bytes(x, c, threads) FOR_REAL(gradient_bytes, x)(c, threads)
#define left_gradient(c, x, ...) FOR_REAL(left_gradient, x)(c, x, __VA_ARGS__)
#define dot_rows(a, ...) FOR_REAL(dot_rows, a)(a, __VA_ARGS__)

#endif
#else

/* out[m * out_row + at[k]] += products of rows of a and rows of b. */
static void NAME(add_dots)(const real *a, Py_ssize_t a_row, Py_ssize_t rows, const real *b, Py_ssize_t b_row,
                           Py_ssize_t depth, Py_ssize_t length, real *out, Py_ssize_t out_row, const Py_ssize_t *at)
{
    real sums[DOT_ROWS * DOT_COLUMNS];
    for (Py_ssize_t k = 0; k < depth; k += DOT_COLUMNS)
        for (Py_ssize_t m = 0; m < rows; m += DOT_ROWS) {
            const Py_ssize_t high = least(DOT_ROWS, rows - m), wide = least(DOT_COLUMNS, depth - k);
            NAME(dots)(a + m * a_row, a_row, high, b + k * b_row, b_row, wide, length, sums);
            for (Py_ssize_t i = 0; i < high; i++)
                for (Py_ssize_t j = 0; j < wide; j++)
                    out[(m + i) * out_row + (at ? at[k + j] : k + j)] += sums[i * DOT_COLUMNS + j];
        }
}

/* Adds one stretch of columns to the gradient of a block of the left side: rows `row` to `row + rows` of a
   group, and depths `k` to `k + depth`. */
static void NAME(add_stretch)(const struct products *c, const real *right, const real *dy, real *dw, Py_ssize_t first,
                              Py_ssize_t count, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t k, Py_ssize_t depth,
                              real *work)
{
    const struct product *p = c->product;
    struct segment s[STRETCH];
    Py_ssize_t row_offset[LEFT_ROWS];
    const Py_ssize_t n = cut(c, p, first, count, NATIVE, s), width = (ceil_div(count, NATIVE) | 1) * NATIVE;
    const real *a = dy + row * c->out_row + s[0].to, *b = right + p->offset[k] + s[0].from;
    Py_ssize_t a_row = c->out_row, b_row = depth > 1 ? p->offset[k + 1] - p->offset[k] : 0;

    if (!comes_in_one(s, n) || !is_even(p->offset + k, depth)) {
        NAME(pack)(right, p->offset + k, depth, s, n, count, width, work);
        b = work;
        b_row = width;
    }
    if (!goes_in_one(p, s, n)) {
        real *packed = work + RIGHT_ROWS * (STRETCH + NATIVE);
        for (Py_ssize_t r = 0; r < rows; r++)
            row_offset[r] = (row + r) * c->out_row;
        for (Py_ssize_t i = 0; i < n; i++)
            s[i].from = s[i].to;
        NAME(pack)(dy, row_offset, rows, s, n, count, width, packed);
        a = packed;
        a_row = width;
    }
    NAME(add_dots)(a, a_row, rows, b, b_row, depth, count, dw + row * c->weight_row, c->weight_row, p->weight + k);
}

/* Bytes of work space for `left_gradient`: the copy of a chunk of images, then each thread's. */
static Py_ssize_t NAME(stretch_bytes)(void)
{
    return aligned_size((RIGHT_ROWS + LEFT_ROWS) * (STRETCH + NATIVE) * (Py_ssize_t)sizeof(real));
}
static Py_ssize_t NAME(gradient_bytes)(const struct products *c, int threads)
{
    return NAME(copy_bytes)(c) + threads * NAME(stretch_bytes)();
}

/* Adds to dw the gradient of the left side of the first product (the only one), for all images. */
static void NAME(left_gradient)(const struct products *c, const real *in, const real *dy, real *dw, int threads,
                                unsigned char *work)
{
    const struct product *p = c->product;
    const Py_ssize_t columns = p->runs * p->run, stretches = image_stretches(columns);
    const Py_ssize_t depth_blocks = ceil_div(p->depth, RIGHT_ROWS), row_blocks = ceil_div(c->rows, LEFT_ROWS);

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        real *mine = (real *)(work + NAME(copy_bytes)(c) + NAME(stretch_bytes)() * this_thread());
        for (Py_ssize_t image = 0; image < c->images; image += c->chunk) {
            const Py_ssize_t images = least(c->chunk, c->images - image);
            const real *right = in + image * c->in_image, *from = dy + image * c->out_image;
            const Py_ssize_t pieces = stretches ? images * stretches : ceil_div(images * columns, STRETCH);
            if (c->source.rows) {
                NAME(copy_images)(c, right, images, (real *)work);
                right = (const real *)work;
            }
#pragma omp for schedule(dynamic) nowait
            for (Py_ssize_t job = 0; job < c->groups * depth_blocks * row_blocks; job++) {
                const Py_ssize_t group = job / depth_blocks / row_blocks, block = job / row_blocks % depth_blocks;
                const Py_ssize_t k = block * p->depth / depth_blocks, k_end = (block + 1) * p->depth / depth_blocks;
                const Py_ssize_t row = job % row_blocks * c->rows / row_blocks;
                const Py_ssize_t row_end = (job % row_blocks + 1) * c->rows / row_blocks;
                for (Py_ssize_t i = 0; i < pieces; i++) {
                    const Py_ssize_t base = stretches ? i / stretches * columns : 0;
                    const Py_ssize_t first = stretches ? i % stretches * columns / stretches : i * STRETCH;
                    const Py_ssize_t end = stretches ? (i % stretches + 1) * columns / stretches
                                                     : least(images * columns, first + STRETCH);
                    NAME(add_stretch)(c, right + group * c->right_group, from + group * c->out_group,
                                      dw + group * c->weight_group, base + first, end - first, row, row_end - row, k,
                                      k_end - k, mine);
                }
            }
            if (image + c->chunk < c->images) {
#pragma omp barrier
            }
        }
    }
}

/* out[m][n] = act(sum + bias[n]), or out[m][n] += sum, for matrices of `depth` columns. */
static void NAME(dot_rows)(const real *a, Py_ssize_t rows, const real *b, Py_ssize_t columns, Py_ssize_t depth,
                           real *out, int accumulate, const real *bias, int has_slope, double slope, int threads)
{
    const Py_ssize_t row_blocks = ceil_div(rows, LEFT_ROWS), blocks = ceil_div(columns, MATRIX_ROWS);
    const Py_ssize_t stretch = rows <= DOT_ROWS ? depth : STRETCH;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (Py_ssize_t job = 0; job < row_blocks * blocks; job++) {
        const Py_ssize_t m = job % row_blocks * rows / row_blocks, m_end = (job % row_blocks + 1) * rows / row_blocks;
        const Py_ssize_t n = job / row_blocks * columns / blocks, n_end = (job / row_blocks + 1) * columns / blocks;
        if (!accumulate)
            for (Py_ssize_t r = m; r < m_end; r++)
                for (Py_ssize_t i = n; i < n_end; i++)
                    out[r * columns + i] = 0;
        for (Py_ssize_t k = 0; k < depth; k += stretch)
            NAME(add_dots)(a + m * depth + k, depth, m_end - m, b + n * depth + k, depth, n_end - n,
                           least(stretch, depth - k), out + m * columns + n, columns, NULL);
        if (bias || has_slope)
            for (Py_ssize_t r = m; r < m_end; r++)
                for (Py_ssize_t i = n; i < n_end; i++) {
                    const real z = out[r * columns + i] + (bias ? bias[i] : 0);
                    out[r * columns + i] = has_slope && !(z > 0) ? z * (real)slope : z;
                }
    }
}

#endif
