// Stored statistics of normalisation layers: one pass over a value a channel, products and sums rounded one by
// one, the same bits as on the CPU.

#include "common.cuh"

__device__ __forceinline__ float blend(float keep, float stored, float weight, float value) {
    return __fadd_rn(__fmul_rn(keep, stored), __fmul_rn(weight, value));
}
__device__ __forceinline__ double blend(double keep, double stored, double weight, double value) {
    return __dadd_rn(__dmul_rn(keep, stored), __dmul_rn(weight, value));
}

// factor may be null.
// instances: A = float, double
template <typename A>
__global__ void store_statistics(const A* mean, const A* var, A* stored_mean, A* stored_var, A* factor, double keep,
                                 double mean_weight, double var_weight, index_t channels) {
    const A k = static_cast<A>(keep);
    for (index_t c = thread_index(); c < channels; c += grid_stride()) {
        stored_mean[c] = blend(k, stored_mean[c], static_cast<A>(mean_weight), mean[c]);
        stored_var[c] = blend(k, stored_var[c], static_cast<A>(var_weight), var[c]);
    }
    if (factor && thread_index() == 0) factor[0] = blend(k, factor[0], A(1), A(1));
}

// instances: A = float, double
template <typename A>
__global__ void read_statistics(const A* mean_sum, const A* var_sum, const A* factor, A* mean, A* var,
                                index_t channels) {
    const A reciprocal = factor[0] == 0 ? A(0) : 1 / factor[0];
    for (index_t c = thread_index(); c < channels; c += grid_stride()) {
        mean[c] = reciprocal * mean_sum[c];
        var[c] = reciprocal * var_sum[c];
    }
}
