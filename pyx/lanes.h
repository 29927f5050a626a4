/* Vectors for kernels whose results must not depend on the instruction set.

   A sum runs over fixed lanes: element i of a row always goes to the same partial sum, whether a vector of the machine
   holds 16, 8 or 4 floats. Everything else here works on single elements. So all builds give the same bits, as long as
   the compiler does not contract a * b + c (-ffp-contract=off).

   `#define BODY "file.h"` and `#include "for_reals.h"` make the functions of file.h for float and double. */

#ifndef CAFFENORM_LANES_H
#define CAFFENORM_LANES_H

#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define NATIVE_BYTES 64
#elif defined(__AVX__)
#define NATIVE_BYTES 32
#else
#define NATIVE_BYTES 16
#endif
#define PARTS (64 / NATIVE_BYTES)

/* Columns, or channels, that are worked on together: their sums and parameters stay in the first-level cache. */
#define TILE 512

#define INLINE static inline __attribute__((always_inline))
#define LOCAL static __attribute__((unused))
#define FOR_REAL(function, x)                                                                                    \
    _Generic((x), float *: function##_f32, const float *: function##_f32, double *: function##_f64,              \
             const double *: function##_f64)

/* A value for each column or channel of a tile. */
union tile {
    float f32[TILE];
    double f64[TILE];
};

typedef float native_f32 __attribute__((vector_size(NATIVE_BYTES), may_alias));
typedef double native_f64 __attribute__((vector_size(NATIVE_BYTES), may_alias));
typedef float unaligned_f32 __attribute__((vector_size(NATIVE_BYTES), may_alias, aligned(4)));
typedef double unaligned_f64 __attribute__((vector_size(NATIVE_BYTES), may_alias, aligned(8)));
typedef int32_t bits_f32 __attribute__((vector_size(NATIVE_BYTES), may_alias));
typedef int64_t bits_f64 __attribute__((vector_size(NATIVE_BYTES), may_alias));

/* ---- what every instruction set has a way of its own for ---- */

#if defined(__AVX512F__)

INLINE native_f32 load_some_f32(const float *p, Py_ssize_t count, native_f32 rest)
{
    return (native_f32)_mm512_mask_loadu_ps((__m512)rest, (__mmask16)((1u << count) - 1), p);
}
INLINE native_f64 load_some_f64(const double *p, Py_ssize_t count, native_f64 rest)
{
    return (native_f64)_mm512_mask_loadu_pd((__m512d)rest, (__mmask8)((1u << count) - 1), p);
}
INLINE void store_some_f32(float *p, native_f32 v, Py_ssize_t count)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
}
INLINE void store_some_f64(double *p, native_f64 v, Py_ssize_t count)
{
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << count) - 1), (__m512d)v);
}
INLINE void stream_f32(float *p, native_f32 v) { _mm512_stream_ps(p, (__m512)v); }
INLINE void stream_f64(double *p, native_f64 v) { _mm512_stream_pd(p, (__m512d)v); }
INLINE int any_greater_f32(native_f32 a, native_f32 b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0;
}
INLINE int any_greater_f64(native_f64 a, native_f64 b)
{
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ) != 0;
}

#elif defined(__AVX__)

/* A window of 32 bytes that starts `count` elements before the middle has its first `count` elements set. */
static const int32_t some_f32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
static const int64_t some_f64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

INLINE __m256i first_f32(Py_ssize_t count) { return _mm256_loadu_si256((const __m256i *)(some_f32 + 8 - count)); }
INLINE __m256i first_f64(Py_ssize_t count) { return _mm256_loadu_si256((const __m256i *)(some_f64 + 4 - count)); }

INLINE native_f32 load_some_f32(const float *p, Py_ssize_t count, native_f32 rest)
{
    __m256i first = first_f32(count);
    return (native_f32)_mm256_blendv_ps((__m256)rest, _mm256_maskload_ps(p, first), _mm256_castsi256_ps(first));
}
INLINE native_f64 load_some_f64(const double *p, Py_ssize_t count, native_f64 rest)
{
    __m256i first = first_f64(count);
    return (native_f64)_mm256_blendv_pd((__m256d)rest, _mm256_maskload_pd(p, first), _mm256_castsi256_pd(first));
}
INLINE void store_some_f32(float *p, native_f32 v, Py_ssize_t count)
{
    _mm256_maskstore_ps(p, first_f32(count), (__m256)v);
}
INLINE void store_some_f64(double *p, native_f64 v, Py_ssize_t count)
{
    _mm256_maskstore_pd(p, first_f64(count), (__m256d)v);
}
INLINE void stream_f32(float *p, native_f32 v) { _mm256_stream_ps(p, (__m256)v); }
INLINE void stream_f64(double *p, native_f64 v) { _mm256_stream_pd(p, (__m256d)v); }
INLINE int any_greater_f32(native_f32 a, native_f32 b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)) != 0;
}
INLINE int any_greater_f64(native_f64 a, native_f64 b)
{
    return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_GT_OQ)) != 0;
}

#else

INLINE native_f32 load_some_f32(const float *p, Py_ssize_t count, native_f32 rest)
{
    for (Py_ssize_t i = 0; i < count; i++)
        rest[i] = p[i];
    return rest;
}
INLINE native_f64 load_some_f64(const double *p, Py_ssize_t count, native_f64 rest)
{
    for (Py_ssize_t i = 0; i < count; i++)
        rest[i] = p[i];
    return rest;
}
INLINE void store_some_f32(float *p, native_f32 v, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        p[i] = v[i];
}
INLINE void store_some_f64(double *p, native_f64 v, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        p[i] = v[i];
}
#if defined(__SSE2__)
INLINE void stream_f32(float *p, native_f32 v) { _mm_stream_ps(p, (__m128)v); }
INLINE void stream_f64(double *p, native_f64 v) { _mm_stream_pd(p, (__m128d)v); }
#else
INLINE void stream_f32(float *p, native_f32 v) { *(native_f32 *)p = v; }
INLINE void stream_f64(double *p, native_f64 v) { *(native_f64 *)p = v; }
#endif
INLINE int any_greater_f32(native_f32 a, native_f32 b)
{
    bits_f32 found = a > b;
    return (found[0] | found[1] | found[2] | found[3]) != 0;
}
INLINE int any_greater_f64(native_f64 a, native_f64 b)
{
    bits_f64 found = a > b;
    return (found[0] | found[1]) != 0;
}

#endif

/* Streamed stores become visible to other threads in order only after this. */
INLINE void end_stream(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* Keeps a loaded vector in its register: compilers would rather load it again for its second use, which costs more. */
#if defined(__x86_64__)
#define HOLD(v) __asm__("" : "+x"(v))
#else
#define HOLD(v) (void)(v)
#endif

INLINE void prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }

/* ---- what all share ---- */

INLINE native_f32 load_f32(const float *p) { return (native_f32)*(const unaligned_f32 *)p; }
INLINE native_f64 load_f64(const double *p) { return (native_f64)*(const unaligned_f64 *)p; }
INLINE void store_f32(float *p, native_f32 v) { *(unaligned_f32 *)p = (unaligned_f32)v; }
INLINE void store_f64(double *p, native_f64 v) { *(unaligned_f64 *)p = (unaligned_f64)v; }
INLINE native_f32 all_f32(float a) { return a - (native_f32){0}; }
INLINE native_f64 all_f64(double a) { return a - (native_f64){0}; }

/* The activation max(z, 0) + slope * min(z, 0), with Caffe's max and min: a NaN passes, and so does -0.
   act_slope is its derivative (z > 0) + slope * (z <= 0), 0 for a NaN; not_above is (z <= 0), a number too. */
INLINE native_f32 act_f32(native_f32 z, native_f32 slope)
{
    return (native_f32)((bits_f32)z & ~(z < 0)) + slope * (native_f32)((bits_f32)z & ~(z > 0));
}
INLINE native_f64 act_f64(native_f64 z, native_f64 slope)
{
    return (native_f64)((bits_f64)z & ~(z < 0)) + slope * (native_f64)((bits_f64)z & ~(z > 0));
}
INLINE native_f32 act_slope_f32(native_f32 z, native_f32 slope)
{
    return (native_f32)(((bits_f32)all_f32(1) & (z > 0)) | ((bits_f32)slope & (z <= 0)));
}
INLINE native_f64 act_slope_f64(native_f64 z, native_f64 slope)
{
    return (native_f64)(((bits_f64)all_f64(1) & (z > 0)) | ((bits_f64)slope & (z <= 0)));
}
INLINE native_f32 not_above_f32(native_f32 z) { return (native_f32)((bits_f32)all_f32(1) & (z <= 0)); }
INLINE native_f64 not_above_f64(native_f64 z) { return (native_f64)((bits_f64)all_f64(1) & (z <= 0)); }

#endif
