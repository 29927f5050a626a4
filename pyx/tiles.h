/* The inner loops of matrix products: tiles of the result whose sums stay in registers.

   tile        out[r][c] = sum over k of a[k][r] * b[k][c], columns in vectors; both sides are packed
   line        one row of that, with the right side where it lies
   dots        out[r][c] += sum over i of a[r][i] * b[c][i], along rows of both sides

   muladd(a, b, c) is a * b + c, fused where the instruction set has it. So the last bits of a product differ
   between builds, as they do between BLAS libraries. They do not depend on the number of threads.

   Measured on one core of a Zen 5 server (AVX-512 at 4.27 GHz: 273 GFLOP/s in float): 8 x 3 vectors 265, 8 x 2 265,
   4 x 4 262, 8 x 1 225; built for AVX2 (136): 4 x 3 135, 4 x 2 125, 2 x 4 105; for SSE2: 4 x 3 47. */

#ifndef real
#ifndef CAFFENORM_TILES_H
#define CAFFENORM_TILES_H

#include "lanes.h"
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

/* With 32 vector registers 8 x 3 sums, 3 vectors of the right side and one of the left take 28; with 16
   registers 4 x 3 sums, 3 and 1 take all. Dots: 4 x 6 sums, 4 and 1; 3 x 4 sums, 3 and 1. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define MANY_REGISTERS 1
#define TILE_ROWS 8
#define DOT_ROWS 4
#define DOT_COLUMNS 6
#else
#define MANY_REGISTERS 0
#define TILE_ROWS 4
#define DOT_ROWS 3
#define DOT_COLUMNS 4
#endif
#define WIDEST 4 /* vectors of the widest tile, which has half the rows */

#if defined(__AVX512F__)
INLINE native_f32 muladd_f32(native_f32 a, native_f32 b, native_f32 c)
{
    return (native_f32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE native_f64 muladd_f64(native_f64 a, native_f64 b, native_f64 c)
{
    return (native_f64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__FMA__)
INLINE native_f32 muladd_f32(native_f32 a, native_f32 b, native_f32 c)
{
    return (native_f32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE native_f64 muladd_f64(native_f64 a, native_f64 b, native_f64 c)
{
    return (native_f64)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(__ARM_NEON) && defined(__aarch64__)
INLINE native_f32 muladd_f32(native_f32 a, native_f32 b, native_f32 c)
{
    return (native_f32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE native_f64 muladd_f64(native_f64 a, native_f64 b, native_f64 c)
{
    return (native_f64)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
INLINE native_f32 muladd_f32(native_f32 a, native_f32 b, native_f32 c) { return a * b + c; }
INLINE native_f64 muladd_f64(native_f64 a, native_f64 b, native_f64 c) { return a * b + c; }
#endif

/* The sum of a vector's elements. */
#if defined(__AVX512F__)
INLINE float total_f32(native_f32 v) { return _mm512_reduce_add_ps((__m512)v); }
INLINE double total_f64(native_f64 v) { return _mm512_reduce_add_pd((__m512d)v); }
#elif defined(__AVX__)
INLINE float total_f32(native_f32 v)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
INLINE double total_f64(native_f64 v)
{
    __m128d half = _mm_add_pd(_mm256_castpd256_pd128((__m256d)v), _mm256_extractf128_pd((__m256d)v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}
#else
INLINE float total_f32(native_f32 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
INLINE double total_f64(native_f64 v) { return v[0] + v[1]; }
#endif

#define BODY "tiles.h"
#include "for_reals.h"

#endif
#else

#define muladd NAME(muladd)
#define EACH_ROW _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
#define EACH_VEC _Pragma("GCC unroll 8") for (int v = 0; v < vecs; v++)

/* What follows a sum: act(sum + bias of the row + more); bias and more may be missing (NULL), as may the
   activation. */
typedef struct {
    const real *bias, *more;
    Py_ssize_t more_stride; /* from row to row */
    int has_slope;
    real slope;
} NAME(ending);

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
    NAME(ending) ending;
} NAME(tile_job);

INLINE native NAME(with_act)(native z, const NAME(ending) *e) { return e->has_slope ? act(z, all(e->slope)) : z; }

/* One vector of the result: `rest` elements of it, all where it is NATIVE. */
INLINE void NAME(put)(native sum, native bias, const real *more, real *out, Py_ssize_t rest, const
NAME(ending) *e) { native z = sum + bias; if (rest == NATIVE) { if (more) z += load(more); store(out,
NAME(with_act)(z, e)); } else { if (more) z += load_some(more, rest, all(0)); store_some(out,
NAME(with_act)(z, e), rest); } }

INLINE void NAME(tile)(const int rows, const int vecs, const NAME(tile_job) *t)
{
    native sum[TILE_ROWS][WIDEST];
    const real *a = t->a, *b = t->b;
    real *carry = t->carry;
    const Py_ssize_t width = t->width;

    if (t->first)
        EACH_ROW EACH_VEC sum[r][v] = all(0);
    else
        EACH_ROW EACH_VEC sum[r][v] = load(carry + r * width + v * NATIVE);
    for (Py_ssize_t k = 0; k < t->depth; k++) {
        native right[WIDEST];
        EACH_VEC right[v] = load(b + v * NATIVE);
        EACH_ROW
        {
            native left = all(a[r]);
            EACH_VEC sum[r][v] = muladd(left, right[v], sum[r][v]);
        }
        a += TILE_ROWS;
        b += width;
    }
    if (!t->last) {
        EACH_ROW EACH_VEC store(carry + r * width + v * NATIVE, sum[r][v]);
        return;
    }
    const NAME(ending) *e = &t->ending;
    const Py_ssize_t rest = t->count - (vecs - 1) * NATIVE;
    real *out = t->out;
    const real *more = e->more;
    EACH_ROW
    {
        if (r >= t->valid)
            break;
        native bias = all(e->bias ? e->bias[r] : 0);
        EACH_VEC NAME(put)(sum[r][v], bias, more ? more + v * NATIVE : NULL, out + v * NATIVE,
                           v < vecs - 1 ? NATIVE : rest, e);
        out += t->stride;
        if (more)
            more += e->more_stride;
    }
}

#define OF_VECS(vecs, rows) \
    static __attribute__((noinline)) void NAME(tile_##vecs)(const NAME(tile_job) * t) { NAME(tile)(rows, vecs, t); }
OF_VECS(1, TILE_ROWS)
OF_VECS(2, TILE_ROWS)
OF_VECS(3, TILE_ROWS)
OF_VECS(4, TILE_ROWS / 2)
#undef OF_VECS

/* All `valid` (at most TILE_ROWS) rows of a tile; `t` is that of its first row. */
static void NAME(run_tile)(NAME(tile_job) * t)
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
    const Py_ssize_t half = TILE_ROWS / 2, valid = t->valid;
    t->valid = valid < half ? valid : half;
    NAME(tile_4)(t);
    if (valid <= half)
        return;
    t->a += half;
    t->carry += half * t->width;
    t->out += half * t->stride;
    t->valid = valid - half;
    if (t->ending.bias)
        t->ending.bias += half;
    if (t->ending.more)
        t->ending.more += half * t->ending.more_stride;
    NAME(tile_4)(t);
}

/* out[c] for count <= vecs * NATIVE columns; a steps by TILE_ROWS, row k of the right side is at right +
   offset[k]. */
INLINE void NAME(line_of)(const int vecs, const real *a, const real *right, const Py_ssize_t *offset, Py_ssize_t depth,
                          real *out, Py_ssize_t count, const NAME(ending) *e)
{
    native sum[WIDEST];
    const Py_ssize_t rest = count - (vecs - 1) * NATIVE;
    EACH_VEC sum[v] = all(0);
    for (Py_ssize_t k = 0; k < depth; k++) {
        const real *b = right + offset[k];
        native left = all(a[k * TILE_ROWS]);
        EACH_VEC sum[v] = muladd(left, v < vecs - 1 ? load(b + v * NATIVE) : load_some(b + v * NATIVE, rest, all(0)), sum[v]);
    }
    native bias = all(e->bias ? e->bias[0] : 0);
    EACH_VEC NAME(put)(sum[v], bias, e->more ? e->more + v * NATIVE : NULL, out + v * NATIVE,
                       v < vecs - 1 ? NATIVE : rest, e);
}

static void NAME(line)(const real *a, const real *right, const Py_ssize_t *offset, Py_ssize_t depth, real *out,
                       Py_ssize_t count, const NAME(ending) *e)
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

/* sums[r * DOT_COLUMNS + c] of rows that may be fewer than the tile has: the last ones then stand for those
   beyond. */
INLINE void NAME(dots_of)(const int rows, const real *a, Py_ssize_t a_stride, Py_ssize_t a_rows, const real *b,
                          Py_ssize_t b_stride, Py_ssize_t b_rows, Py_ssize_t length, real *sums)
{
    const int vecs = DOT_COLUMNS;
    native sum[DOT_ROWS][DOT_COLUMNS];
    const real *left[DOT_ROWS], *right[DOT_COLUMNS];
    const Py_ssize_t whole = length / NATIVE * NATIVE;

    EACH_ROW left[r] = a + (r < a_rows ? r : a_rows - 1) * a_stride;
    EACH_VEC right[v] = b + (v < b_rows ? v : b_rows - 1) * b_stride;
    EACH_ROW EACH_VEC sum[r][v] = all(0);
    for (Py_ssize_t i = 0; i < whole; i += NATIVE) {
        native l[DOT_ROWS];
        EACH_ROW l[r] = load(left[r] + i);
        EACH_VEC
        {
            native one = load(right[v] + i);
            EACH_ROW sum[r][v] = muladd(l[r], one, sum[r][v]);
        }
    }
    if (whole < length) {
        native l[DOT_ROWS];
        EACH_ROW l[r] = load_some(left[r] + whole, length - whole, all(0));
        EACH_VEC
        {
            native one = load_some(right[v] + whole, length - whole, all(0));
            EACH_ROW sum[r][v] = muladd(l[r], one, sum[r][v]);
        }
    }
    EACH_ROW EACH_VEC sums[r * DOT_COLUMNS + v] = NAME(total)(sum[r][v]);
}

static void NAME(dots)(const real *a, Py_ssize_t a_stride, Py_ssize_t a_rows, const real *b, Py_ssize_t b_stride,
                       Py_ssize_t b_rows, Py_ssize_t length, real *sums)
{
    if (a_rows == 1)
        NAME(dots_of)(1, a, a_stride, 1, b, b_stride, b_rows, length, sums);
    else
        NAME(dots_of)(DOT_ROWS, a, a_stride, a_rows, b, b_stride, b_rows, length, sums);
}

#undef muladd
#undef EACH_ROW
#undef EACH_VEC
#endif
