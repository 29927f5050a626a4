/* Exponentials, logarithms and their relatives of single numbers, in plain arithmetic without branches or calls, so that
   compilers turn loops over them into vector code and every build gives the same bits. Names end in _f32 and _f64.

   float: polynomials (own minimax fits, by Remez' algorithm in 50 digits). Largest errors found over every seventh float,
   in units in the last place, subnormal results included: exp 1.0, expm1 0.9, log1p 2.0, tanh 1.4, sigmoid 2.4, softplus 2.8.
   double: libm.

   exp reduces x to n ln 2 + r with |r| <= ln 2 / 2, and multiplies e^r by 2^n in two steps, so that results below the
   normal range come out rounded and results beyond the range infinite. NaN gives NaN everywhere. */

#ifndef CAFFENORM_VECTOR_MATH_H
#define CAFFENORM_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define ONE_NUMBER static inline __attribute__((always_inline, unused))

/* 1.5 * 2^23: adding it rounds a small float to a whole number, which then stands in the lowest bits. */
#define ROUNDER_F32 12582912.0f

ONE_NUMBER int32_t bits_of_f32(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 2^n for -127 < n < 128; any number of those bits otherwise. */
ONE_NUMBER float power_of_two_f32(int32_t n)
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* x = n ln 2 + r: gives r, and n through the lowest bits of `shifted`. The first part of ln 2 has 9 bits, so n times it is exact. */
ONE_NUMBER float reduced_f32(float x, float *shifted)
{
    *shifted = x * 1.44269504f + ROUNDER_F32;
    float n = *shifted - ROUNDER_F32;
    return (x - n * 0.693359375f) - n * -2.12194440e-4f;
}

/* e^r - 1 for |r| <= ln 2 / 2. */
ONE_NUMBER float expm1_of_reduced_f32(float r)
{
    float p = 1.99183516e-4f;
    p = p * r + 1.39459118e-3f;
    p = p * r + 8.33326448e-3f;
    p = p * r + 4.16662733e-2f;
    p = p * r + 1.66666669e-1f;
    p = p * r + 5.00000008e-1f;
    return (p * r) * r + r;
}

ONE_NUMBER float exp_f32(float x)
{
    float shifted, bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -104.0f ? -104.0f : bounded;
    float r = reduced_f32(bounded, &shifted);
    int32_t n = bits_of_f32(shifted) - bits_of_f32(ROUNDER_F32), half = n >> 1;
    return (expm1_of_reduced_f32(r) + 1.0f) * power_of_two_f32(half) * power_of_two_f32(n - half);
}

/* e^x - 1 for x <= 0. */
ONE_NUMBER float expm1_f32(float x)
{
    float shifted, bounded = x < -30.0f ? -30.0f : x;
    float r = reduced_f32(bounded, &shifted);
    float power = power_of_two_f32(bits_of_f32(shifted) - bits_of_f32(ROUNDER_F32));
    return power * expm1_of_reduced_f32(r) + (power - 1.0f);
}

/* log(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)). */
ONE_NUMBER float log1p_f32(float e)
{
    float s = e / (2.0f + e), u = s * s;
    float p = 1.40137911e-1f;
    p = p * u + 1.39993553e-1f;
    p = p * u + 2.00108547e-1f;
    p = p * u + 3.33332067e-1f;
    return (s + s) + (s + s) * (u * p);
}

ONE_NUMBER float tanh_f32(float x)
{
    float size = fabsf(x), u = x * x;
    float p = -5.72163755e-3f;
    p = p * u + 2.06552259e-2f;
    p = p * u + -5.37451472e-2f;
    p = p * u + 1.33315152e-1f;
    p = p * u + -3.33332853e-1f;
    float small = x + x * (u * p);
    float large = 1.0f - 2.0f / (exp_f32(size + size) + 1.0f);
    large = x < 0.0f ? -large : large;
    return size < 0.625f ? small : large;
}

ONE_NUMBER float sigmoid_f32(float x)
{
    float e = exp_f32(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* log(1 + e^x) */
ONE_NUMBER float softplus_f32(float x) { return (x > 0.0f ? x : 0.0f) + log1p_f32(exp_f32(-fabsf(x))); }

ONE_NUMBER double exp_f64(double x) { return exp(x); }
ONE_NUMBER double expm1_f64(double x) { return expm1(x); }
ONE_NUMBER double tanh_f64(double x) { return tanh(x); }
ONE_NUMBER double sigmoid_f64(double x)
{
    double e = exp(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}
ONE_NUMBER double softplus_f64(double x) { return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))); }

ONE_NUMBER float log_f32(float x) { return logf(x); }
ONE_NUMBER double log_f64(double x) { return log(x); }
ONE_NUMBER float pow_f32(float x, float power) { return powf(x, power); }
ONE_NUMBER double pow_f64(double x, double power) { return pow(x, power); }
ONE_NUMBER float sqrt_f32(float x) { return sqrtf(x); }
ONE_NUMBER double sqrt_f64(double x) { return sqrt(x); }

#endif
