// Local response normalisation: y = x * s^-beta, s = k + factor * sum of x^2 over a window; interface/window.py.
//
//    dx = dy * s^-beta - 2 * factor * beta * x * (sum over the same window of dy * x * s^(-beta - 1))
//
// Windows are added up anew for each value, in order: no running sum that rounding or an infinity would spoil.
//
// lrn_across*: a thread takes `strip` channels of one position and keeps the window's terms in registers, so
// that each is made once for a strip (SIZE > 0); for other sizes (SIZE 0) terms are made again for each window.
// 8 or 12 B an element forward (x, y, scale), 16 B backward, and SIZE - 1 channels more for each strip.
// lrn_within*: sums down the columns, then along the rows, through work space of x's size.

#include "window.cuh"

__device__ __forceinline__ float root(float s) { return sqrtf(s); }
__device__ __forceinline__ double root(double s) { return sqrt(s); }
__device__ __forceinline__ float power(float s, float e) { return powf(s, e); }
__device__ __forceinline__ double power(double s, double e) { return pow(s, e); }

// s^-beta, of square roots where they do.
template <typename T>
__device__ __forceinline__ T inverse_power(T s, double beta) {
    if (beta == 0.75) {
        const T half = root(s);
        return 1 / (half * root(half));
    }
    if (beta == 0.5) return 1 / root(s);
    if (beta == 1.0) return 1 / s;
    return power(s, static_cast<T>(-beta));
}

// --- terms of the sums ---

template <typename T>
struct Squares {
    const T* x;

    __device__ __forceinline__ T operator()(index_t at) const { return x[at] * x[at]; }
};

// dy * x * s^(-beta - 1)
template <typename T>
struct Products {
    const T *x, *scale, *dy;
    double beta;

    __device__ __forceinline__ T operator()(index_t at) const {
        return dy[at] * x[at] * (inverse_power(scale[at], beta) / scale[at]);
    }
};

// --- across channels ---

// Sums of terms over SIZE channels around one that moves on; SIZE 0 takes `size` as it comes.
template <typename T, int SIZE, typename Term>
struct ChannelSum {
    const Term term;
    const index_t start, inner, channels, size;
    T held[SIZE > 0 ? SIZE : 1];

    // `start` is where channel 0 has this position.
    __device__ __forceinline__ ChannelSum(const Term& term, index_t start, index_t inner, index_t channels,
                                          index_t size, index_t channel)
        : term(term), start(start), inner(inner), channels(channels), size(size) {
        for (int j = 0; j < SIZE - 1; j++) held[j + 1] = at(channel - SIZE / 2 + j);
    }

    __device__ __forceinline__ T at(index_t c) const {
        return c < 0 || c >= channels ? T(0) : term(start + c * inner);
    }

    // Call it for one channel after the other.
    __device__ __forceinline__ T around(index_t channel) {
        T sum = 0;
        if (SIZE > 0) {
            for (int j = 0; j < SIZE - 1; j++) held[j] = held[j + 1];
            held[SIZE > 0 ? SIZE - 1 : 0] = at(channel + SIZE / 2);
            for (int j = 0; j < SIZE; j++) sum += held[j];
        } else {
            const index_t reach = (size - 1) / 2, last = least(channel + reach, channels - 1);
            for (index_t c = most(channel - reach, 0); c <= last; c++) sum += term(start + c * inner);
        }
        return sum;
    }
};

// Which position and channels a thread takes.
struct Strip {
    index_t start, first, last;

    __device__ __forceinline__ Strip(index_t thread, index_t channels, index_t inner, index_t strip) {
        const index_t strips = divide(channels + strip - 1, strip).quotient;
        const Division position = divide(thread, inner), part = divide(position.quotient, strips);
        start = part.quotient * channels * inner + position.rest;
        first = part.rest * strip;
        last = least(first + strip, channels);
    }
};

// `count` is images * strips * inner; `scale` may be null.
// instances: SIZE = 0, 3, 5, 7
template <typename T, int SIZE>
__global__ void lrn_across(const T* __restrict__ x, T* __restrict__ y, T* __restrict__ scale, index_t count,
                           index_t channels, index_t inner, index_t strip, index_t size, double factor, double beta,
                           double k) {
    for (index_t thread = thread_index(); thread < count; thread += grid_stride()) {
        const Strip mine(thread, channels, inner, strip);
        ChannelSum<T, SIZE, Squares<T>> sum(Squares<T>{x}, mine.start, inner, channels, size, mine.first);
        for (index_t c = mine.first; c < mine.last; c++) {
            const index_t at = mine.start + c * inner;
            const T s = static_cast<T>(k) + static_cast<T>(factor) * sum.around(c);
            if (scale) scale[at] = s;
            y[at] = x[at] * inverse_power(s, beta);
        }
    }
}

// instances: SIZE = 0, 3, 5, 7
template <typename T, int SIZE>
__global__ void lrn_across_backward(const T* __restrict__ x, const T* __restrict__ scale, const T* __restrict__ dy,
                                    T* __restrict__ dx, index_t count, index_t channels, index_t inner, index_t strip,
                                    index_t size, double factor, double beta) {
    const T both = static_cast<T>(2 * factor * beta);
    for (index_t thread = thread_index(); thread < count; thread += grid_stride()) {
        const Strip mine(thread, channels, inner, strip);
        ChannelSum<T, SIZE, Products<T>> sum(Products<T>{x, scale, dy, beta}, mine.start, inner, channels, size,
                                             mine.first);
        for (index_t c = mine.first; c < mine.last; c++) {
            const index_t at = mine.start + c * inner;
            dx[at] = dy[at] * inverse_power(scale[at], beta) - both * x[at] * sum.around(c);
        }
    }
}

// --- within a channel: (planes, height, width) ---

template <typename T>
__global__ void lrn_products(const T* __restrict__ x, const T* __restrict__ scale, const T* __restrict__ dy,
                             T* __restrict__ products, index_t count, double beta) {
    const Products<T> term = {x, scale, dy, beta};
    for (index_t i = thread_index(); i < count; i += grid_stride()) products[i] = term(i);
}

// out = sums of x, or of its squares, over `size` rows around.
template <typename T, bool SQUARES>
__global__ void column_sums(const T* __restrict__ x, T* __restrict__ out, index_t count, index_t height, index_t width,
                            index_t size) {
    const index_t reach = (size - 1) / 2;
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const index_t row = divide(divide(i, width).quotient, height).rest;
        const index_t above = least(reach, row), below = least(reach, height - 1 - row);
        T sum = 0;
        for (index_t j = -above; j <= below; j++) {
            const T v = x[i + j * width];
            sum += SQUARES ? v * v : v;
        }
        out[i] = sum;
    }
}

// The sum of `size` values around place i of its row.
template <typename T>
__device__ __forceinline__ T row_sum(const T* values, index_t i, index_t width, index_t size) {
    const index_t reach = (size - 1) / 2, column = divide(i, width).rest;
    const index_t left = least(reach, column), right = least(reach, width - 1 - column);
    T sum = 0;
    for (index_t j = -left; j <= right; j++) sum += values[i + j];
    return sum;
}

// `columns` are column_sums of squares.
template <typename T>
__global__ void lrn_within(const T* __restrict__ x, const T* __restrict__ columns, T* __restrict__ y,
                           T* __restrict__ scale, index_t count, index_t width, index_t size, double factor,
                           double beta, double k) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const T s = static_cast<T>(k) + static_cast<T>(factor) * row_sum(columns, i, width, size);
        scale[i] = s;
        y[i] = x[i] * inverse_power(s, beta);
    }
}

// `columns` are column_sums of lrn_products.
template <typename T>
__global__ void lrn_within_backward(const T* __restrict__ x, const T* __restrict__ scale, const T* __restrict__ dy,
                                    const T* __restrict__ columns, T* __restrict__ dx, index_t count, index_t width,
                                    index_t size, double factor, double beta) {
    const T both = static_cast<T>(2 * factor * beta);
    for (index_t i = thread_index(); i < count; i += grid_stride())
        dx[i] = dy[i] * inverse_power(scale[i], beta) - both * x[i] * row_sum(columns, i, width, size);
}
