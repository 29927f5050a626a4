// Convolutions with one input channel a group, by themselves: no columns, no GEMM, which they would leave idle.
//
// A group has `multiplier` outputs. Forward and transposed: a thread owns one place of the result and goes
// through planes; inputs are read once a tap, all but the first time from cache, the result is written once with
// bias, residual and activation in the same pass.
// depthwise_gradient: a block for each weight and part of the images. Its threads' sums are added in a tree, the
// parts in order by add_parts (epilogue.cu).

#include "epilogue.cuh"
#include "patches.cuh"

// `planes` is images * outputs; bias and more may be null.
// instances: AXES = 1, 2, 3
template <typename T, int AXES>
__global__ void depthwise(const T* __restrict__ x, const T* __restrict__ weights, const T* __restrict__ bias,
                          const T* more, T* y, const index_t* __restrict__ numbers, index_t planes, index_t outputs,
                          index_t multiplier, index_t active, double slope) {
    const Patches<AXES> p(numbers);
    const index_t output = place_of_thread(), out = p.out_plane(), plane = p.plane(), taps = p.taps();
    if (output >= out) return;
    const Ending<T> end = {bias, more, active != 0, static_cast<T>(slope)};
    MetByTaps<AXES> met(p, output);
    for (index_t row = first_plane(); row < planes; row += plane_step()) {
        const index_t channel = divide(row, outputs).rest;
        const T* from = x + divide(row, multiplier).quotient * plane;
        const T* taps_of = weights + channel * taps;
        T sum = 0;
        for (index_t t = 0; t < taps; t++, met.next()) {
            const index_t at = met.at();
            if (at >= 0) sum += from[at] * taps_of[t];
        }
        y[row * out + output] = end(sum, channel, row * out + output);
    }
}

// `planes` is images * channels.
// instances: AXES = 1, 2, 3
template <typename T, int AXES>
__global__ void depthwise_transposed(const T* __restrict__ y, const T* __restrict__ weights,
                                     const T* __restrict__ bias, const T* more, T* x,
                                     const index_t* __restrict__ numbers, index_t planes, index_t channels,
                                     index_t multiplier, index_t active, double slope) {
    const Patches<AXES> p(numbers);
    const index_t position = place_of_thread(), out = p.out_plane(), plane = p.plane(), taps = p.taps();
    if (position >= plane) return;
    const Ending<T> end = {bias, more, active != 0, static_cast<T>(slope)};
    MeetingTaps<AXES> meeting(p, position);
    for (index_t row = first_plane(); row < planes; row += plane_step()) {
        const index_t channel = divide(row, channels).rest;
        T sum = 0;
        for (index_t m = 0; m < multiplier; m++) {
            const T* from = y + (row * multiplier + m) * out;
            const T* taps_of = weights + (channel * multiplier + m) * taps;
            for (index_t t = 0; t < taps; t++, meeting.next()) {
                const index_t at = meeting.at();
                if (at >= 0) sum += from[at] * taps_of[t];
            }
        }
        x[row * plane + position] = end(sum, channel, row * plane + position);
    }
}

// Grid x: weights (output, tap); grid y: parts, each of `images_each` images. partial is (parts, outputs, taps).
// Without the bound it takes 90 registers a thread on sm_90, with it 62 and none spilled: twice the blocks.
// instances: AXES = 1, 2, 3
template <typename T, int AXES>
__global__ void __launch_bounds__(256, 4)
    depthwise_gradient(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ partial,
                       const index_t* __restrict__ numbers, index_t images, index_t images_each, index_t outputs,
                       index_t multiplier) {
    __shared__ T shared[32];
    const Patches<AXES> p(numbers);
    const index_t out = p.out_plane(), plane = p.plane(), channels = divide(outputs, multiplier).quotient;
    const Division weight = divide(blockIdx.x, p.taps());
    const index_t output = weight.quotient, channel = divide(output, multiplier).quotient;
    const index_t first = blockIdx.y * images_each, last = least(first + images_each, images);
    T sum = 0;
    for (index_t place = threadIdx.x; place < out; place += blockDim.x) {
        MetByTaps<AXES> met(p, place);
        met.seek(weight.rest);
        const index_t at = met.at();
        if (at < 0) continue;
        for (index_t n = first + threadIdx.y; n < last; n += blockDim.y)
            sum += x[(n * channels + channel) * plane + at] * dy[(n * outputs + output) * out + place];
    }
    sum = block_sum(sum, shared);
    if (thread_in_block() == 0) partial[static_cast<index_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}
