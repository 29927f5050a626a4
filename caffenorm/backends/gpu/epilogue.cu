// What follows a product: bias, a residual and an activation in one pass; partial products added up.
//
// 8 B an element, 12 with `more`; packs of 16 bytes where a pack lies in one channel and arrays are aligned.

#include "epilogue.cuh"
#include "window.cuh"

// y = act(sums + bias + more) over (outer, channels, inner); y may be sums or more, bias and more may be null.
template <typename T>
__global__ void epilogue(const T* sums, const T* bias, const T* more, T* y, index_t count, index_t channels,
                         index_t inner, index_t active, double slope) {
    const Ending<T> end = {bias, more, active != 0, static_cast<T>(slope)};
    constexpr index_t size = pack_size<T>();
    const bool packed = inner % size == 0 && is_aligned16(sums) && is_aligned16(more) && is_aligned16(y);
    if (!packed) {
        for (index_t i = thread_index(); i < count; i += grid_stride()) {
            const index_t channel = divide(divide(i, inner).quotient, channels).rest;
            y[i] = end(sums[i], channel, i);
        }
        return;
    }
    const T offset_of_none = 0;
    for (index_t i = thread_index() * size; i < count; i += grid_stride() * size) {
        const index_t channel = divide(divide(i, inner).quotient, channels).rest;
        const T offset = bias ? bias[channel] : offset_of_none;
        Pack<T> values = load_pack(sums + i), others = {};
        if (more) others = load_pack(more + i);
        for (index_t j = 0; j < size; j++) {
            const T z = values.at[j] + offset + others.at[j];
            values.at[j] = end.active ? leaky(z, end.slope) : z;
        }
        store_pack(y + i, values);
    }
}

// out += the sum of `parts` arrays, one after the other.
template <typename T>
__global__ void add_parts(const T* __restrict__ partial, T* __restrict__ out, index_t count, index_t parts) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        T sum = 0;
        for (index_t p = 0; p < parts; p++) sum += partial[p * count + i];
        out[i] += sum;
    }
}
