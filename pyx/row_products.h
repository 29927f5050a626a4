/* Products of matrices along the rows of both: out[m][n] = sum over i of a[m][i] * b[n][i].

   A sum runs in vectors over a stretch of the rows, and over the stretches in order, whatever the number of threads. */

#ifndef real
#ifndef CAFFENORM_ROW_PRODUCTS_H
#define CAFFENORM_ROW_PRODUCTS_H

#include "gather.h"

/* Columns that all products of a block take before going on, so that their rows stay in cache. */
#define ROW_STRETCH 1024
/* Rows of both matrices that a thread takes at a time. */
#define LEFT_ROWS 64
#define RIGHT_ROWS 48

#define BODY "row_products.h"
#include "for_reals.h"

#define dot_rows(a, ...) FOR_REAL(dot_rows, a)(a, __VA_ARGS__)

#endif
#else

/* out[m][n] += products of `rows` rows of a and `columns` rows of b over `length` values. */
static void NAME(add_dots)(const real *a, Py_ssize_t rows, const real *b, Py_ssize_t columns, Py_ssize_t row,
                           Py_ssize_t length, real *out, Py_ssize_t out_row)
{
    real sums[DOT_ROWS * DOT_COLUMNS];
    for (Py_ssize_t n = 0; n < columns; n += DOT_COLUMNS)
        for (Py_ssize_t m = 0; m < rows; m += DOT_ROWS) {
            const Py_ssize_t high = least(DOT_ROWS, rows - m), wide = least(DOT_COLUMNS, columns - n);
            NAME(dots)(a + m * row, high, b + n * row, wide, row, length, sums);
            for (Py_ssize_t i = 0; i < high; i++)
                for (Py_ssize_t j = 0; j < wide; j++)
                    out[(m + i) * out_row + n + j] += sums[i * DOT_COLUMNS + j];
        }
}

/* out[m][n] = act(sum + bias[n]), or out[m][n] += sum, for matrices of `depth` columns. */
static void NAME(dot_rows)(const real *a, Py_ssize_t rows, const real *b, Py_ssize_t columns, Py_ssize_t depth,
                           real *out, int accumulate, const real *bias, int has_slope, double slope, int threads)
{
    const Py_ssize_t row_blocks = ceil_div(rows, LEFT_ROWS), blocks = ceil_div(columns, RIGHT_ROWS);
    const Py_ssize_t stretch = rows <= DOT_ROWS ? depth : ROW_STRETCH;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (Py_ssize_t job = 0; job < row_blocks * blocks; job++) {
        const Py_ssize_t m = job % row_blocks * rows / row_blocks, m_end = (job % row_blocks + 1) * rows / row_blocks;
        const Py_ssize_t n = job / row_blocks * columns / blocks, n_end = (job / row_blocks + 1) * columns / blocks;
        if (!accumulate)
            for (Py_ssize_t r = m; r < m_end; r++)
                for (Py_ssize_t i = n; i < n_end; i++)
                    out[r * columns + i] = 0;
        for (Py_ssize_t k = 0; k < depth; k += stretch)
            NAME(add_dots)(a + m * depth + k, m_end - m, b + n * depth + k, n_end - n, depth,
                           least(stretch, depth - k), out + m * columns + n, columns);
        if (bias || has_slope)
            for (Py_ssize_t r = m; r < m_end; r++)
                for (Py_ssize_t i = n; i < n_end; i++) {
                    const real z = out[r * columns + i] + (bias ? bias[i] : 0);
                    out[r * columns + i] = has_slope && !(z > 0) ? z * (real)slope : z;
                }
    }
}

#endif
