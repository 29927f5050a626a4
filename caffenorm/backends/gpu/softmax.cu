// Softmax, its gradient, and the largest values, along the channels of (outer, channels, inner).
//
// .._rows      inner is 1 or small: a block a position, its threads share the channels
// .._columns   inner is large: a thread a position, neighbours in inner, so that memory is read in order
//
// softmax reads x twice (the second time from cache while a row fits there) and y once more, 16 B an element at
// most (float); sums are in double. top values: k passes over the channels of a position, each finding what comes
// next after the one before, so that no memory is needed; meant for small k.

#include "common.cuh"

// --- the largest over a block ---

template <typename T>
__device__ __forceinline__ T block_largest(T value, T* shared) {
    const int lane = thread_in_block() % 32, warp = thread_in_block() / 32;
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, value, lanes);
        value = other > value ? other : value;
    }
    __syncthreads();  // until nobody reads what `shared` held before
    if (lane == 0) shared[warp] = value;
    __syncthreads();  // until all warps' values are there
    for (int w = 0; w * 32 < threads_in_block(); ++w) value = shared[w] > value ? shared[w] : value;
    return value;
}

// Where the channels of a position begin.
__device__ __forceinline__ index_t start_of(index_t position, index_t channels, index_t inner) {
    return position / inner * channels * inner + position % inner;
}

// --- softmax; y may be x ---

template <typename T>
__global__ void softmax_rows(const T* x, T* y, index_t positions, index_t channels, index_t inner) {
    __shared__ T largest[32];
    __shared__ double sums[32];
    for (index_t position = blockIdx.x; position < positions; position += gridDim.x) {
        const index_t start = start_of(position, channels, inner);
        T top = x[start];
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x) {
            const T value = x[start + c * inner];
            top = value > top ? value : top;
        }
        top = block_largest(top, largest);
        double sum = 0;
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x) {
            const T value = exp(x[start + c * inner] - top);
            y[start + c * inner] = value;
            sum += value;
        }
        const T total = static_cast<T>(block_sum_all(sum, sums));
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x) y[start + c * inner] /= total;
    }
}

template <typename T>
__global__ void softmax_columns(const T* x, T* y, index_t positions, index_t channels, index_t inner) {
    for (index_t position = thread_index(); position < positions; position += grid_stride()) {
        const index_t start = start_of(position, channels, inner);
        T top = x[start];
        for (index_t c = 1; c < channels; ++c) {
            const T value = x[start + c * inner];
            top = value > top ? value : top;
        }
        double sum = 0;
        for (index_t c = 0; c < channels; ++c) {
            const T value = exp(x[start + c * inner] - top);
            y[start + c * inner] = value;
            sum += value;
        }
        const T total = static_cast<T>(sum);
        for (index_t c = 0; c < channels; ++c) y[start + c * inner] /= total;
    }
}

// --- dx = (dy - sum of y * dy) * y; dx may be dy ---

template <typename T>
__global__ void softmax_backward_rows(const T* __restrict__ y, const T* dy, T* dx, index_t positions,
                                      index_t channels, index_t inner) {
    __shared__ double sums[32];
    for (index_t position = blockIdx.x; position < positions; position += gridDim.x) {
        const index_t start = start_of(position, channels, inner);
        double sum = 0;
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x)
            sum += static_cast<double>(y[start + c * inner]) * dy[start + c * inner];
        const T dot = static_cast<T>(block_sum_all(sum, sums));
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x)
            dx[start + c * inner] = (dy[start + c * inner] - dot) * y[start + c * inner];
    }
}

template <typename T>
__global__ void softmax_backward_columns(const T* __restrict__ y, const T* dy, T* dx, index_t positions,
                                         index_t channels, index_t inner) {
    for (index_t position = thread_index(); position < positions; position += grid_stride()) {
        const index_t start = start_of(position, channels, inner);
        double sum = 0;
        for (index_t c = 0; c < channels; ++c)
            sum += static_cast<double>(y[start + c * inner]) * dy[start + c * inner];
        const T dot = static_cast<T>(sum);
        for (index_t c = 0; c < channels; ++c)
            dx[start + c * inner] = (dy[start + c * inner] - dot) * y[start + c * inner];
    }
}

// --- the values that come first ---

// A value and its place, -1 for none.
template <typename T>
struct Placed {
    T value;
    index_t place;
};

// Whether a is listed before b: a NaN first; of equal ones that with the later place, or with `smallest` the
// earlier. Two NaNs: the later.
template <typename T>
__device__ __forceinline__ bool goes_before(const Placed<T>& a, const Placed<T>& b, bool smallest) {
    if (b.place < 0) return a.place >= 0;
    if (a.place < 0) return false;
    if (is_nan(a.value) || is_nan(b.value)) return is_nan(a.value) && (!is_nan(b.value) || a.place > b.place);
    if (a.value == b.value) return smallest ? a.place < b.place : a.place > b.place;
    return smallest ? a.value < b.value : a.value > b.value;
}

// Of the channels first, first + step, ... what is listed first among all that come after `before`.
template <typename T>
__device__ __forceinline__ Placed<T> next_after(const T* x, index_t channels, index_t inner, index_t first,
                                                index_t step, const Placed<T>& before, bool smallest) {
    Placed<T> best = {T(0), -1};
    for (index_t c = first; c < channels; c += step) {
        const Placed<T> here = {x[c * inner], c};
        if ((before.place < 0 || goes_before(before, here, smallest)) && goes_before(here, best, smallest)) best = here;
    }
    return best;
}

template <typename T>
__device__ __forceinline__ void put(const Placed<T>& found, T* places, T* values, index_t at) {
    if (places) places[at] = static_cast<T>(found.place);
    if (values) values[at] = found.value;
}

// places, values (outer, k, inner), either of which may be null.
template <typename T>
__global__ void top_rows(const T* __restrict__ x, T* __restrict__ places, T* __restrict__ values, index_t positions,
                         index_t channels, index_t inner, index_t k, index_t smallest) {
    __shared__ Placed<T> shared[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (index_t position = blockIdx.x; position < positions; position += gridDim.x) {
        const T* start = x + start_of(position, channels, inner);
        Placed<T> found = {T(0), -1};
        for (index_t rank = 0; rank < k; ++rank) {
            Placed<T> best = next_after(start, channels, inner, threadIdx.x, blockDim.x, found, smallest != 0);
            for (int lanes = 16; lanes > 0; lanes /= 2) {
                const Placed<T> other = {__shfl_xor_sync(0xffffffffu, best.value, lanes),
                                         __shfl_xor_sync(0xffffffffu, best.place, lanes)};
                if (goes_before(other, best, smallest != 0)) best = other;
            }
            __syncthreads();  // until nobody reads the rank before
            if (lane == 0) shared[warp] = best;
            __syncthreads();  // until all warps' best are there
            found = shared[0];
            for (int w = 1; w * 32 < static_cast<int>(blockDim.x); ++w)
                if (goes_before(shared[w], found, smallest != 0)) found = shared[w];
            if (threadIdx.x == 0) put(found, places, values, start_of(position, k, inner) + rank * inner);
        }
    }
}

template <typename T>
__global__ void top_columns(const T* __restrict__ x, T* __restrict__ places, T* __restrict__ values,
                            index_t positions, index_t channels, index_t inner, index_t k, index_t smallest) {
    for (index_t position = thread_index(); position < positions; position += grid_stride()) {
        const T* start = x + start_of(position, channels, inner);
        Placed<T> found = {T(0), -1};
        for (index_t rank = 0; rank < k; ++rank) {
            found = next_after(start, channels, inner, 0, 1, found, smallest != 0);
            put(found, places, values, start_of(position, k, inner) + rank * inner);
        }
    }
}
