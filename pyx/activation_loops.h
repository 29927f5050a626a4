/* The inner loops of the activation kernels: y = f(x) and dx = dy * f'(..), element by element; y may be x, dx may be dy.

   Each function is one expression of v (an element of x, or of y where its gradient reads y), g (of dy) and the parameters
   a, b, c. Which is which is said in the interface. */

#ifndef real
#ifndef CAFFENORM_ACTIVATION_LOOPS_H
#define CAFFENORM_ACTIVATION_LOOPS_H

#include "stream_out.h"
#include "vector_math.h"

/* The operands are the same array or do not overlap, which compilers cannot see. */
#if defined(__clang__)
#define VECTORISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define VECTORISE _Pragma("GCC ivdep")
#endif

/* Every function, with the elements of cheap work that one of its elements counts as. */
#define FORWARD_FUNCTIONS(_)                                                                                    \
    _(relu, 1) _(clipped_relu, 1) _(elu, 4) _(sigmoid, 6) _(tanh, 8) _(swish, 6) _(bnll, 8) _(abs, 1) _(clip, 1) \
    _(threshold, 1) _(power, 16) _(exp, 5) _(log, 50)
#define BACKWARD_FUNCTIONS(_)                                                                                   \
    _(relu, 1) _(clipped_relu, 1) _(elu, 1) _(elu_of_x, 6) _(sigmoid, 1) _(tanh, 1) _(swish, 6) _(bnll, 6)        \
    _(abs, 1) _(clip, 1) _(power, 16) _(exp, 1) _(log, 1)

#define NUMBER(name, cost) FORWARD_##name,
enum { FORWARD_FUNCTIONS(NUMBER) FORWARD_COUNT };
#undef NUMBER
#define NUMBER(name, cost) BACKWARD_##name,
enum { BACKWARD_FUNCTIONS(NUMBER) BACKWARD_COUNT };
#undef NUMBER

#define STRING(name, cost) #name,
static const char *const forward_names[] = {FORWARD_FUNCTIONS(STRING)};
static const char *const backward_names[] = {BACKWARD_FUNCTIONS(STRING)};
#undef STRING
#define COST(name, cost) cost,
static const int forward_costs[] = {FORWARD_FUNCTIONS(COST)};
static const int backward_costs[] = {BACKWARD_FUNCTIONS(COST)};
#undef COST

/* Random numbers that a mask takes at a time: word k of counter i is for element k * COUNTERS + i. */
#define COUNTERS 256
#define MASKED (4 * COUNTERS)

/* The Philox4x32-10 generator (Salmon et al., Parallel random numbers: as easy as 1, 2, 3; 2011) with the counters
   first ... first + COUNTERS - 1. */
LOCAL void philox(uint64_t seed, uint64_t first, uint32_t *words)
{
    VECTORISE
    for (int i = 0; i < COUNTERS; i++) {
        uint64_t counter = first + (uint64_t)i;
        uint32_t w0 = (uint32_t)counter, w1 = (uint32_t)(counter >> 32), w2 = 0, w3 = 0;
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) {
            uint64_t p0 = (uint64_t)w0 * 0xD2511F53u, p1 = (uint64_t)w2 * 0xCD9E8D57u;
            w0 = (uint32_t)(p1 >> 32) ^ w1 ^ key0;
            w2 = (uint32_t)(p0 >> 32) ^ w3 ^ key1;
            w1 = (uint32_t)p1;
            w3 = (uint32_t)p0;
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        words[i] = w0;
        words[COUNTERS + i] = w1;
        words[2 * COUNTERS + i] = w2;
        words[3 * COUNTERS + i] = w3;
    }
}

#define BODY "activation_loops.h"
#include "for_reals.h"

#define forward_block(function, x, y, n, a, b, c, streamed) \
    FOR_REAL(forward_block, x)(function, x, y, n, a, b, c, streamed)
#define backward_block(function, v, dy, dx, n, a, b, c, streamed) \
    FOR_REAL(backward_block, v)(function, v, dy, dx, n, a, b, c, streamed)
#define mask_block(x, y, n, seed, block, threshold, scale) FOR_REAL(mask_block, x)(x, y, n, seed, block, threshold, scale)

#endif
#else

#define FORWARD(name, expression)                                                                               \
    LOCAL void NAME(forward_##name)(const real *x, real *y, Py_ssize_t n, real a, real b, real c)                \
    {                                                                                                           \
        (void)a, (void)b, (void)c;                                                                              \
        VECTORISE                                                                                               \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                    \
            real v = x[i];                                                                                      \
            y[i] = expression;                                                                                  \
        }                                                                                                       \
    }
#define BACKWARD(name, expression)                                                                              \
    LOCAL void NAME(backward_##name)(const real *s, const real *dy, real *dx, Py_ssize_t n, real a, real b, real c) \
    {                                                                                                           \
        (void)a, (void)b, (void)c;                                                                              \
        VECTORISE                                                                                               \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                    \
            real v = s[i], g = dy[i];                                                                           \
            (void)v;                                                                                            \
            dx[i] = expression;                                                                                 \
        }                                                                                                       \
    }

/* Caffe's max(v, 0) + slope * min(v, 0), where a NaN passes. */
ONE_NUMBER real NAME(leaky)(real v, real slope) { return (v < 0 ? 0 : v) + slope * (v > 0 ? 0 : v); }
ONE_NUMBER real NAME(between)(real v, real low, real high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

FORWARD(relu, NAME(leaky)(v, a))
FORWARD(clipped_relu, NAME(between)(NAME(leaky)(v, a), b, c))
FORWARD(elu, b * (v > 0 ? v : a * NAME(expm1)(v > 0 ? 0 : v)))
FORWARD(sigmoid, NAME(sigmoid)(v))
FORWARD(tanh, NAME(tanh)(v))
FORWARD(swish, v * NAME(sigmoid)(a * v))
FORWARD(bnll, NAME(softplus)(v))
FORWARD(abs, v < 0 ? -v : v + 0)
FORWARD(clip, NAME(between)(v, a, b))
FORWARD(threshold, v > a ? 1 : 0)
FORWARD(exp, NAME(exp)(a * v + b))
FORWARD(log, NAME(log)(a * v + b) * c)

FORWARD(line, b * v + c)
FORWARD(square, (b * v + c) * (b * v + c))
FORWARD(inverse, 1 / (b * v + c))
FORWARD(any_power, NAME(pow)(b * v + c, a))

LOCAL void NAME(forward_power)(const real *x, real *y, Py_ssize_t n, real a, real b, real c)
{
    (a == 1 ? NAME(forward_line)
     : a == 2 ? NAME(forward_square)
     : a == -1 ? NAME(forward_inverse)
               : NAME(forward_any_power))(x, y, n, a, b, c);
}

BACKWARD(relu, g * ((v > 0 ? 1 : 0) + (v <= 0 ? a : 0)))
BACKWARD(clipped_relu, g * (v <= b || v >= c ? 0 : (v > 0 ? 1 : 0) + (v <= 0 ? a : 0)))
BACKWARD(elu, g * (v > 0 ? b : v + a * b))
BACKWARD(elu_of_x, g * (v > 0 ? b : a * b * NAME(exp)(v > 0 ? 0 : v)))
BACKWARD(sigmoid, g * v * (1 - v))
BACKWARD(tanh, g * (1 - v * v))
BACKWARD(bnll, g * NAME(sigmoid)(v))
BACKWARD(abs, g * ((v > 0 ? 1 : 0) - (v < 0 ? 1 : 0)))
BACKWARD(clip, g * (v >= a && v <= b ? 1 : 0))
BACKWARD(exp, g * v * a)
BACKWARD(log, g * (a * c) / (a * v + b))

LOCAL void NAME(backward_swish)(const real *s, const real *dy, real *dx, Py_ssize_t n, real a, real b, real c)
{
    (void)b, (void)c;
    VECTORISE
    for (Py_ssize_t i = 0; i < n; i++) {
        real v = a * s[i], share = NAME(sigmoid)(v);
        dx[i] = dy[i] * (share + v * share * (1 - share));
    }
}

BACKWARD(line, g * b)
BACKWARD(square, g * (2 * b * (b * v + c)))
BACKWARD(inverse, g * (-b / ((b * v + c) * (b * v + c))))
BACKWARD(any_power, g * (a * b * NAME(pow)(b * v + c, a - 1)))

LOCAL void NAME(backward_power)(const real *s, const real *dy, real *dx, Py_ssize_t n, real a, real b, real c)
{
    (a == 1 ? NAME(backward_line)
     : a == 2 ? NAME(backward_square)
     : a == -1 ? NAME(backward_inverse)
               : NAME(backward_any_power))(s, dy, dx, n, a, b, c);
}

#define ENTRY(name, cost) NAME(forward_##name),
static void (*const NAME(forward_functions)[])(const real *, real *, Py_ssize_t, real, real, real) = {
    FORWARD_FUNCTIONS(ENTRY)};
#undef ENTRY
#define ENTRY(name, cost) NAME(backward_##name),
static void (*const NAME(backward_functions)[])(const real *, const real *, real *, Py_ssize_t, real, real, real) = {
    BACKWARD_FUNCTIONS(ENTRY)};
#undef ENTRY

LOCAL void NAME(forward_block)(int function, const real *x, real *y, Py_ssize_t n, double a, double b, double c, int streamed)
{
    real part[PART] __attribute__((aligned(64)));
    if (!streamed) {
        NAME(forward_functions)[function](x, y, n, (real)a, (real)b, (real)c);
        return;
    }
    for (Py_ssize_t i = 0; i < n; i += PART) {
        Py_ssize_t count = n - i < PART ? n - i : PART;
        NAME(forward_functions)[function](x + i, part, count, (real)a, (real)b, (real)c);
        NAME(stream_out)(part, y + i, count);
    }
    end_stream();
}

LOCAL void NAME(backward_block)(int function, const real *s, const real *dy, real *dx, Py_ssize_t n, double a, double b,
                                double c, int streamed)
{
    real part[PART] __attribute__((aligned(64)));
    if (!streamed) {
        NAME(backward_functions)[function](s, dy, dx, n, (real)a, (real)b, (real)c);
        return;
    }
    for (Py_ssize_t i = 0; i < n; i += PART) {
        Py_ssize_t count = n - i < PART ? n - i : PART;
        NAME(backward_functions)[function](s + i, dy + i, part, count, (real)a, (real)b, (real)c);
        NAME(stream_out)(part, dx + i, count);
    }
    end_stream();
}

/* y = x * scale where the random word is threshold or more, x * 0 elsewhere; at most MASKED elements. */
LOCAL void NAME(mask_block)(const real *x, real *y, Py_ssize_t n, uint64_t seed, uint64_t block, uint32_t threshold,
                            double scale)
{
    uint32_t words[MASKED] __attribute__((aligned(64)));
    const real kept = (real)scale;
    philox(seed, block * COUNTERS, words);
    VECTORISE
    for (Py_ssize_t i = 0; i < n; i++)
        y[i] = x[i] * (words[i] >= threshold ? kept : 0);
}

#undef FORWARD
#undef BACKWARD

#endif
