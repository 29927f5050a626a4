/* exp and tanh of floats in plain arithmetic, which compilers turn into vector code, and with the same bits in every build.
 *
 * exp   Cody and Waite's reduction to |r| <= ln 2 / 2, a polynomial of degree 6 in r, and 2^n as two factors so that
 *       results below the normal range come out right: at most 2 units in the last place.
 * tanh  a polynomial for |x| < 0.625 (coefficients of Moshier's Cephes), 1 - 2 / (exp(2 x) + 1) beyond: 2 units.
 * NaN gives NaN; infinities give their limits. Doubles use libm.
 */
#ifndef CAFFENORM_VECTOR_MATH_H
#define CAFFENORM_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float power_of_two(int32_t n) {
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float fast_exp_f(float x) {
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding and taking it away rounds to a whole number */
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -104.0f ? -104.0f : bounded;
    float n = (bounded * 1.44269504088896341f + rounder) - rounder;
    float r = bounded - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t whole = n >= -200.0f && n <= 200.0f ? (int32_t)n : 0;
    int32_t half = whole >> 1;
    return p * power_of_two(half) * power_of_two(whole - half);
}

static inline float fast_tanh_f(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    float small = p * z * x + x;
    float large = 1.0f - 2.0f / (fast_exp_f(2.0f * x) + 1.0f);
    return x < 0.625f && x > -0.625f ? small : large;
}

static inline float sigmoid_f(float x) { return 1.0f / (1.0f + fast_exp_f(-x)); }
static inline double sigmoid_d(double x) { return 1.0 / (1.0 + exp(-x)); }

#endif
