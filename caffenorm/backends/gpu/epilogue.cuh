// How a product ends: result = act(sum + bias + more), act(z) = max(z, 0) + slope * min(z, 0).

#include "common.cuh"

// Caffe's max and min: a NaN passes, and so does -0.
template <typename T>
__device__ __forceinline__ T leaky(T z, T slope) {
    return (z < 0 ? T(0) : z) + slope * (z > 0 ? T(0) : z);
}

template <typename T>
struct Ending {
    const T *bias, *more;  // either may be null
    bool active;
    T slope;

    __device__ __forceinline__ T operator()(T sum, index_t channel, index_t at) const {
        if (bias) sum += bias[channel];
        if (more) sum += more[at];
        return active ? leaky(sum, slope) : sum;
    }
};
