/* The sizes of tiles of matrix products, and what they are made of: multiply-adds and sums of vectors.

   muladd(a, b, c) is a * b + c, fused where the instruction set has it. So the last bits of a product differ between
   builds, as they do between BLAS libraries. They do not depend on the number of threads. */

#ifndef CAFFENORM_MULADD_H
#define CAFFENORM_MULADD_H

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
#define EXTRA 4 /* columns beside three vectors whose sums still find registers */
#else
#define EXTRA 0
#endif

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

/* A value for each row of a tile, and a * b + c of such; native vectors stand in where there are none. */
#if EXTRA
typedef float rows_vector_f32 __attribute__((vector_size(TILE_ROWS * 4), may_alias, aligned(4)));
typedef double rows_vector_f64 __attribute__((vector_size(TILE_ROWS * 8), may_alias, aligned(8)));
INLINE rows_vector_f32 muladd_rows_f32(rows_vector_f32 a, rows_vector_f32 b, rows_vector_f32 c)
{
    return (rows_vector_f32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE rows_vector_f64 muladd_rows_f64(rows_vector_f64 a, rows_vector_f64 b, rows_vector_f64 c)
{
    return (rows_vector_f64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#else
typedef native_f32 rows_vector_f32;
typedef native_f64 rows_vector_f64;
#define muladd_rows_f32 muladd_f32
#define muladd_rows_f64 muladd_f64
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

#endif
