/* The inner loops of matrix products: tiles of the result whose sums stay in registers.

   tile        out[r][c] = sum over k of a[k][r] * b[k][c], columns in vectors; both sides are packed
   line        one row of that, with the right side where it lies
   dots        out[r][c] += sum over i of a[r][i] * b[c][i], along rows of both sides

   Measured on one core of a Zen 5 server (AVX-512 at 4.27 GHz: 273 GFLOP/s in float): 8 x 3 vectors 265, 8 x 2 265,
   4 x 4 262, 8 x 1 225; built for AVX2 (136): 4 x 3 135, 4 x 2 125, 2 x 4 105; for SSE2: 4 x 3 47. */

#ifndef real
#ifndef CAFFENORM_TILES_H
#define CAFFENORM_TILES_H

#include "muladd.h"

#define BODY "tiles.h"
#include "for_reals.h"

#endif
#else

#define muladd NAME(muladd)
#define rows_vector NAME(rows_vector)
#define muladd_rows NAME(muladd_rows)
#define EACH_ROW _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
#define EACH_VEC _Pragma("GCC unroll 8") for (int v = 0; v < vecs; v++)
#define EACH_EXTRA _Pragma("GCC unroll 8") for (int c = 0; c < extra; c++)

/* What follows a sum: act(sum + bias of the row + more); bias and more may be missing (NULL), as may the
   activation. */
typedef struct {
    const real *bias, *more;
    Py_ssize_t more_stride; /* from row to row */
    int has_slope;
    real slope;
} NAME(ending);
#define ending NAME(ending)

/* `a` has TILE_ROWS values for each k, `b` has `width`. Sums go on from `carry` unless `first`, and to
   `carry` unless `last`; at last they go to `out`, `valid` rows of `count` columns. bias and more point to
   what belongs to `out`. */
typedef struct {
    Py_ssize_t depth;
    const real *a, *b;
    Py_ssize_t width;
    real *carry;
    int first, last;
    real *out;
    Py_ssize_t stride, valid, count;
    ending end;
} NAME(tile_job);
#define tile_job NAME(tile_job)

INLINE native NAME(with_act)(native z, const ending *e) { return e->has_slope ? act(z, all(e->slope)) : z; }

/* One vector of the result: `rest` elements of it, all where it is NATIVE. */
INLINE void NAME(put)(native sum, native bias, const real *more, real *out, Py_ssize_t rest, const ending *e)
{
    native z = sum + bias;
    if (rest == NATIVE) {
        if (more)
            z += load(more);
        store(out, NAME(with_act)(z, e));
    } else {
        if (more)
            z += load_some(more, rest, all(0));
        store_some(out, NAME(with_act)(z, e), rest);
    }
}

/* `extra` columns behind the vectors, at most EXTRA of them, are summed in vectors along the rows: a panel of 49
   columns, say, costs 3 vectors and one multiply-add a tile, not 4 vectors. */
INLINE void NAME(tile)(const int rows, const int vecs, const int extra, const tile_job *t)
{
    native sum[TILE_ROWS][WIDEST];
    rows_vector edge[EXTRA + 1];
    const real *a = t->a, *b = t->b;
    real *carry = t->carry;
    const Py_ssize_t width = t->width;

    if (t->first) {
        EACH_ROW
            EACH_VEC
                sum[r][v] = all(0);
        EACH_EXTRA
        edge[c] = (rows_vector){0};
    } else {
        EACH_ROW
            EACH_VEC
                sum[r][v] = load(carry + r * width + v * NATIVE);
        EACH_EXTRA
        EACH_ROW
            edge[c][r] = carry[r * width + vecs * NATIVE + c];
    }
    for (Py_ssize_t k = 0; k < t->depth; k++) {
        native right[WIDEST];
        EACH_VEC
            right[v] = load(b + v * NATIVE);
        EACH_ROW {
            native left = all(a[r]);
            EACH_VEC
                sum[r][v] = muladd(left, right[v], sum[r][v]);
        }
        EACH_EXTRA
        edge[c] = muladd_rows(*(const rows_vector *)a, b[vecs * NATIVE + c] - (rows_vector){0}, edge[c]);
        a += TILE_ROWS;
        b += width;
    }
    if (!t->last) {
        EACH_ROW
            EACH_VEC
                store(carry + r * width + v * NATIVE, sum[r][v]);
        EACH_EXTRA
        EACH_ROW
            carry[r * width + vecs * NATIVE + c] = edge[c][r];
        return;
    }
    const ending *e = &t->end;
    const Py_ssize_t rest = extra ? NATIVE : t->count - (vecs - 1) * NATIVE;
    real *out = t->out;
    const real *more = e->more;
    EACH_ROW {
        if (r >= t->valid)
            break;
        native bias = all(e->bias ? e->bias[r] : 0), last = all(0);
        EACH_VEC
            NAME(put)(sum[r][v], bias, more ? more + v * NATIVE : NULL, out + v * NATIVE,
                      v < vecs - 1 ? NATIVE : rest, e);
        if (extra) {
            EACH_EXTRA
            last[c] = edge[c][r];
            NAME(put)(last, bias, more ? more + vecs * NATIVE : NULL, out + vecs * NATIVE, extra, e);
        }
        out += t->stride;
        if (more)
            more += e->more_stride;
    }
}

#define OF_VECS(name, vecs, rows, extra) \
    static __attribute__((noinline)) void NAME(tile_##name)(const tile_job *t) { NAME(tile)(rows, vecs, extra, t); }
OF_VECS(1, 1, TILE_ROWS, 0)
OF_VECS(2, 2, TILE_ROWS, 0)
OF_VECS(3, 3, TILE_ROWS, 0)
OF_VECS(4, 4, TILE_ROWS / 2, 0)
#if EXTRA
OF_VECS(3_1, 3, TILE_ROWS, 1)
OF_VECS(3_2, 3, TILE_ROWS, 2)
OF_VECS(3_3, 3, TILE_ROWS, 3)
OF_VECS(3_4, 3, TILE_ROWS, 4)
#endif
#undef OF_VECS

/* A tile of four vectors: its rows in two halves. */
static void NAME(tile_halves)(tile_job *t)
{
    const Py_ssize_t half = TILE_ROWS / 2, valid = t->valid;
    t->valid = valid < half ? valid : half;
    NAME(tile_4)(t);
    if (valid <= half)
        return;
    t->a += half;
    t->carry += half * t->width;
    t->out += half * t->stride;
    t->valid = valid - half;
    if (t->end.bias)
        t->end.bias += half;
    if (t->end.more)
        t->end.more += half * t->end.more_stride;
    NAME(tile_4)(t);
}

/* All `valid` (at most TILE_ROWS) rows of a tile; changes the job. */
static void NAME(run_tile)(tile_job *t)
{
    switch (t->width / NATIVE) {
    case 1:
        NAME(tile_1)(t);
        return;
    case 2:
        NAME(tile_2)(t);
        return;
    case 3:
        NAME(tile_3)(t);
        return;
    }
#if EXTRA
    switch (t->count - 3 * NATIVE) {
    case 1:
        NAME(tile_3_1)(t);
        return;
    case 2:
        NAME(tile_3_2)(t);
        return;
    case 3:
        NAME(tile_3_3)(t);
        return;
    case 4:
        NAME(tile_3_4)(t);
        return;
    }
#endif
    NAME(tile_halves)(t);
}

/* out[c] for count <= vecs * NATIVE columns; a steps by TILE_ROWS, row k of the right side is at right +
   offset[k]. */
INLINE void NAME(line_of)(const int vecs, const real *a, const real *right, const Py_ssize_t *offset,
                          Py_ssize_t depth, real *out, Py_ssize_t count, const ending *e)
{
    native sum[WIDEST];
    const Py_ssize_t rest = count - (vecs - 1) * NATIVE;
    EACH_VEC
        sum[v] = all(0);
    for (Py_ssize_t k = 0; k < depth; k++) {
        const real *b = right + offset[k];
        native left = all(a[k * TILE_ROWS]);
        EACH_VEC
            sum[v] = muladd(left, v < vecs - 1 ? load(b + v * NATIVE) : load_some(b + v * NATIVE, rest, all(0)),
                            sum[v]);
    }
    native bias = all(e->bias ? e->bias[0] : 0);
    EACH_VEC
        NAME(put)(sum[v], bias, e->more ? e->more + v * NATIVE : NULL, out + v * NATIVE, v < vecs - 1 ? NATIVE : rest,
                  e);
}

static void NAME(line)(const real *a, const real *right, const Py_ssize_t *offset, Py_ssize_t depth, real *out,
                       Py_ssize_t count, const ending *e)
{
    switch ((count + NATIVE - 1) / NATIVE) {
    case 1:
        NAME(line_of)(1, a, right, offset, depth, out, count, e);
        return;
    case 2:
        NAME(line_of)(2, a, right, offset, depth, out, count, e);
        return;
    case 3:
        NAME(line_of)(3, a, right, offset, depth, out, count, e);
        return;
    default:
        NAME(line_of)(4, a, right, offset, depth, out, count, e);
    }
}

/* sums[r * DOT_COLUMNS + c] = sum of a[r][i] * b[c][i]. There may be fewer rows than the tile has: the last ones then stand
   for those beyond. */
INLINE void NAME(dots_of)(const int rows, const real *a, Py_ssize_t a_rows, const real *b, Py_ssize_t b_rows,
                          Py_ssize_t row, Py_ssize_t length, real *sums)
{
    const int vecs = DOT_COLUMNS;
    native sum[DOT_ROWS][DOT_COLUMNS], l[DOT_ROWS], one;
    const real *left[DOT_ROWS], *right[DOT_COLUMNS];
    const Py_ssize_t rest = length % NATIVE, whole = length - rest;

    EACH_ROW
        left[r] = a + (r < a_rows ? r : a_rows - 1) * row;
    EACH_VEC
        right[v] = b + (v < b_rows ? v : b_rows - 1) * row;
    EACH_ROW
        EACH_VEC
            sum[r][v] = all(0);
    for (Py_ssize_t i = 0; i < whole; i += NATIVE) {
        EACH_ROW
            l[r] = load(left[r] + i);
        EACH_VEC {
            one = load(right[v] + i);
            EACH_ROW
                sum[r][v] = muladd(l[r], one, sum[r][v]);
        }
    }
    if (rest) {
        EACH_ROW
            l[r] = load_some(left[r] + whole, rest, all(0));
        EACH_VEC {
            one = load_some(right[v] + whole, rest, all(0));
            EACH_ROW
                sum[r][v] = muladd(l[r], one, sum[r][v]);
        }
    }
    EACH_ROW
        EACH_VEC
            sums[r * DOT_COLUMNS + v] = NAME(total)(sum[r][v]);
}

static void NAME(dots)(const real *a, Py_ssize_t a_rows, const real *b, Py_ssize_t b_rows, Py_ssize_t row,
                       Py_ssize_t length, real *sums)
{
    if (a_rows == 1)
        NAME(dots_of)(1, a, 1, b, b_rows, row, length, sums);
    else
        NAME(dots_of)(DOT_ROWS, a, a_rows, b, b_rows, row, length, sums);
}

#undef muladd
#undef rows_vector
#undef muladd_rows
#undef ending
#undef tile_job
#undef EACH_ROW
#undef EACH_VEC
#undef EACH_EXTRA
#endif
