// CUDA kernels of the activation family: functions of single elements, their gradients, and random masks.
//
// activate            y = f(x): 8 B an element (float), read and written in packs of 16 bytes where aligned
// activate_backward   dx = dy * f'(x), from x or y: 12 B an element
// random_mask         y = x * mask, the mask from a counter-based generator, never stored: 8 B an element
//
// An element's result depends on nothing but that element (and its index, for the mask). Functions are numbered
// as activation.py lists them; half types are computed in float. What v, g, a, b and c are is said in the
// interface.

#include "common.cuh"

// --- single elements ---

// max(v, 0) + slope * min(v, 0), where a NaN passes.
template <typename A>
__device__ __forceinline__ A leaky(A v, A slope) {
    return (v < 0 ? A(0) : v) + slope * (v > 0 ? A(0) : v);
}

template <typename A>
__device__ __forceinline__ A between(A v, A low, A high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

// Without overflow, and exact for large negative v too.
template <typename A>
__device__ __forceinline__ A sigmoid(A v) {
    const A e = exp(v < 0 ? v : -v);
    return (v < 0 ? e : A(1)) / (1 + e);
}

// log(1 + e^v)
template <typename A>
__device__ __forceinline__ A softplus(A v) {
    return (v > 0 ? v : A(0)) + log1p(exp(v > 0 ? -v : v));
}

enum Forward { RELU, CLIPPED_RELU, ELU, SIGMOID, TANH, SWISH, BNLL, ABS, CLIP, THRESHOLD, POWER, EXP, LOG };

template <int F, typename A>
__device__ __forceinline__ A value_of(A v, A a, A b, A c) {
    if (F == RELU) return leaky(v, a);
    if (F == CLIPPED_RELU) return between(leaky(v, a), b, c);
    if (F == ELU) return b * (v > 0 ? v : a * expm1(v > 0 ? A(0) : v));
    if (F == SIGMOID) return sigmoid(v);
    if (F == TANH) return tanh(v);
    if (F == SWISH) return v * sigmoid(a * v);
    if (F == BNLL) return softplus(v);
    if (F == ABS) return v < 0 ? -v : v + 0;
    if (F == CLIP) return between(v, a, b);
    if (F == THRESHOLD) return v > a ? A(1) : A(0);
    if (F == POWER) {
        const A base = b * v + c;
        return a == 1 ? base : a == 2 ? base * base : a == -1 ? 1 / base : pow(base, a);
    }
    if (F == EXP) return exp(a * v + b);
    return log(a * v + b) * c;
}

enum Backward { D_RELU, D_CLIPPED_RELU, D_ELU, D_ELU_OF_X, D_SIGMOID, D_TANH, D_SWISH, D_BNLL, D_ABS, D_CLIP,
                D_POWER, D_EXP, D_LOG };

template <int F, typename A>
__device__ __forceinline__ A gradient_of(A v, A g, A a, A b, A c) {
    const A side = (v > 0 ? A(1) : A(0)) + (v <= 0 ? a : A(0));  // a NaN has slope 0, as in Caffe
    if (F == D_RELU) return g * side;
    if (F == D_CLIPPED_RELU) return g * (v <= b || v >= c ? A(0) : side);
    if (F == D_ELU) return g * (v > 0 ? b : v + a * b);
    if (F == D_ELU_OF_X) return g * (v > 0 ? b : a * b * exp(v > 0 ? A(0) : v));
    if (F == D_SIGMOID) return g * v * (1 - v);
    if (F == D_TANH) return g * (1 - v * v);
    if (F == D_SWISH) {
        const A w = a * v, share = sigmoid(w);
        return g * (share + w * share * (1 - share));
    }
    if (F == D_BNLL) return g * sigmoid(v);
    if (F == D_ABS) return g * ((v > 0 ? A(1) : A(0)) - (v < 0 ? A(1) : A(0)));
    if (F == D_CLIP) return g * (v >= a && v <= b ? A(1) : A(0));
    if (F == D_POWER) {
        const A base = b * v + c;
        return g * (a == 1    ? b
                    : a == 2  ? 2 * b * base
                    : a == -1 ? -b / (base * base)
                              : a * b * pow(base, a - 1));
    }
    if (F == D_EXP) return g * v * a;
    return g * (a * c) / (a * v + b);
}

// --- whole arrays ---

// y may be x.
// instances: F = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
template <typename T, int F>
__global__ void activate(const T* x, T* y, index_t count, double a, double b, double c) {
    using A = Real<T>;
    const A ra = static_cast<A>(a), rb = static_cast<A>(b), rc = static_cast<A>(c);
    const bool packed = is_aligned16(x) && is_aligned16(y);
    const index_t packs = packed ? count / pack_size<T>() : 0;
    for (index_t i = thread_index(); i < packs; i += grid_stride()) {
        Pack<T> values = load_pack(x + i * pack_size<T>());
        for (int k = 0; k < pack_size<T>(); ++k)
            values.at[k] = from_real<T>(value_of<F>(to_real(values.at[k]), ra, rb, rc));
        store_pack(y + i * pack_size<T>(), values);
    }
    for (index_t i = packs * pack_size<T>() + thread_index(); i < count; i += grid_stride())
        store(y + i, value_of<F>(load(x + i), ra, rb, rc));
}

// s is x or y, as the function has it; dx may be dy.
// instances: F = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
template <typename T, int F>
__global__ void activate_backward(const T* s, const T* dy, T* dx, index_t count, double a, double b, double c) {
    using A = Real<T>;
    const A ra = static_cast<A>(a), rb = static_cast<A>(b), rc = static_cast<A>(c);
    const bool packed = is_aligned16(s) && is_aligned16(dy) && is_aligned16(dx);
    const index_t packs = packed ? count / pack_size<T>() : 0;
    for (index_t i = thread_index(); i < packs; i += grid_stride()) {
        const Pack<T> values = load_pack(s + i * pack_size<T>());
        Pack<T> gradients = load_pack(dy + i * pack_size<T>());
        for (int k = 0; k < pack_size<T>(); ++k)
            gradients.at[k] =
                from_real<T>(gradient_of<F>(to_real(values.at[k]), to_real(gradients.at[k]), ra, rb, rc));
        store_pack(dx + i * pack_size<T>(), gradients);
    }
    for (index_t i = packs * pack_size<T>() + thread_index(); i < count; i += grid_stride())
        store(dx + i, gradient_of<F>(load(s + i), load(dy + i), ra, rb, rc));
}

// --- random masks ---

struct Words {
    unsigned word[4];
};

// The Philox4x32-10 generator (Salmon et al., Parallel random numbers: as easy as 1, 2, 3; 2011).
__device__ __forceinline__ Words philox(unsigned long long seed, unsigned long long counter) {
    unsigned w0 = static_cast<unsigned>(counter), w1 = static_cast<unsigned>(counter >> 32), w2 = 0, w3 = 0;
    unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = static_cast<unsigned long long>(w0) * 0xD2511F53u;
        const unsigned long long p1 = static_cast<unsigned long long>(w2) * 0xCD9E8D57u;
        w0 = static_cast<unsigned>(p1 >> 32) ^ w1 ^ key0;
        w2 = static_cast<unsigned>(p0 >> 32) ^ w3 ^ key1;
        w1 = static_cast<unsigned>(p1);
        w3 = static_cast<unsigned>(p0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{w0, w1, w2, w3}};
}

// y = x * scale where the element's word is `threshold` or more, else x * 0; y may be x. A thread takes a
// counter, whose four words are for elements 256 apart.
template <typename T>
__global__ void random_mask(const T* x, T* y, index_t count, index_t seed, index_t threshold, double scale) {
    using A = Real<T>;
    const A factor = static_cast<A>(scale);
    const index_t counters = (count + 1023) / 1024 * 256;
    for (index_t i = thread_index(); i < counters; i += grid_stride()) {
        const Words words = philox(static_cast<unsigned long long>(seed), static_cast<unsigned long long>(i));
        for (int k = 0; k < 4; ++k) {
            const index_t at = i / 256 * 1024 + 256 * k + i % 256;
            if (at < count) store(y + at, load(x + at) * (words.word[k] >= threshold ? factor : A(0)));
        }
    }
}
