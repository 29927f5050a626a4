// CUDA kernels of the loss family: sums over a batch, and gradients.
//
// Sums are double: each block adds up its share and leaves (sum, how many count) in `parts`; `finish` adds the
// blocks' in the order of their index and leaves sum, count and first bad label in `results`, which Python reads.
//
// Labels: `find_bad` leaves in marks[0] how far from the end the first label stands that is no class (0: all are
// good); it is a maximum of whole numbers, so the order of threads does not matter. The kernels after it do
// nothing where there is one, and so read nothing out of bounds; `finish` sets the mark back to 0.
//
// Positions are (outer, inner), flat; a position's channels lie `inner` apart.

#include "common.cuh"

// --- labels ---

// The label cut to a whole number; what fits no 32-bit int, and a NaN, is no class.
template <typename T>
__device__ __forceinline__ index_t class_of(T label) {
    if (label > -2147483649.0 && label < 2147483648.0) return static_cast<index_t>(label);
    return -2147483648ll;
}

template <typename T>
__global__ void find_bad(const T* __restrict__ labels, unsigned long long* marks, index_t count, index_t classes,
                         index_t ignores, index_t ignored) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const index_t label = class_of(labels[i]);
        if ((label < 0 || label >= classes) && !(ignores && label == ignored))
            atomicMax(marks, static_cast<unsigned long long>(count - i));
    }
}

// --- sums ---

using Tally = Pair<double>;

// All threads of the block call it.
__device__ __forceinline__ void put_tally(const Tally& mine, double* parts) {
    __shared__ Tally shared[32];
    const Tally sum = block_sum(mine, shared);
    if (thread_in_block() == 0) {
        parts[2 * blockIdx.x] = sum.first;
        parts[2 * blockIdx.x + 1] = sum.second;
    }
}

// One block. results: the sum, how many count, index of the first bad label or -1.
// instances: T = double
template <typename T>
__global__ void finish(const T* __restrict__ parts, unsigned long long* marks, T* __restrict__ results,
                       index_t blocks, index_t count) {
    __shared__ Tally shared[32];
    Tally mine = {0, 0};
    for (index_t i = threadIdx.x; i < blocks; i += blockDim.x) mine = mine + Tally{parts[2 * i], parts[2 * i + 1]};
    const Tally sum = block_sum(mine, shared);
    if (threadIdx.x != 0) return;
    const unsigned long long mark = marks[0];
    results[0] = mark ? 0.0 : sum.first;
    results[1] = mark ? 0.0 : sum.second;
    results[2] = mark ? static_cast<double>(count - static_cast<index_t>(mark)) : -1.0;
    marks[0] = 0;
}

// --- classes ---

template <typename T>
__global__ void log_loss(const T* __restrict__ prob, const T* __restrict__ labels, const T* __restrict__ weights,
                         const unsigned long long* marks, double* parts, index_t count, index_t channels,
                         index_t inner, double floor, index_t ignores, index_t ignored) {
    const T least = static_cast<T>(floor);
    Tally tally = {0, 0};
    for (index_t i = thread_index(); i < count && !marks[0]; i += grid_stride()) {
        const index_t label = class_of(labels[i]);
        if (ignores && label == ignored) continue;
        const T value = prob[(i / inner * channels + label) * inner + i % inner];
        const double term = log(static_cast<double>(value < least ? least : value));
        tally.first -= weights ? term * weights[label] : term;
        tally.second += 1;
    }
    put_tally(tally, parts);
}

// A thread an element of dx.
template <typename T>
__global__ void log_loss_backward(const T* __restrict__ prob, const T* __restrict__ labels,
                                  const unsigned long long* marks, T* __restrict__ dx, index_t size,
                                  index_t channels, index_t inner, double scale, double floor) {
    if (marks[0]) return;
    const T least = static_cast<T>(floor);
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const index_t position = i / inner / channels * inner + i % inner;
        const bool at_label = i / inner % channels == class_of(labels[position]);
        dx[i] = at_label ? static_cast<T>(-scale) / (prob[i] < least ? least : prob[i]) : T(0);
    }
}

// dx = scale * w[label] * (mass * p - target): `at_label` is the label's target, `elsewhere` the others'.
template <typename T>
__global__ void softmax_loss_backward(const T* __restrict__ prob, const T* __restrict__ labels,
                                      const T* __restrict__ weights, const unsigned long long* marks,
                                      T* __restrict__ dx, index_t size, index_t channels, index_t inner,
                                      double scale, double mass, double at_label, double elsewhere,
                                      index_t ignores, index_t ignored) {
    if (marks[0]) return;
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const index_t label = class_of(labels[i / inner / channels * inner + i % inner]);
        T factor = static_cast<T>(scale);
        if (ignores && label == ignored) {
            dx[i] = 0;
            continue;
        }
        if (weights) factor *= weights[label];
        const double target = i / inner % channels == label ? at_label : elsewhere;
        const T value = factor * (static_cast<T>(mass) * prob[i] - static_cast<T>(target));
        dx[i] = factor != 0 || inner == 1 ? value : T(0);
    }
}

// `lanes` threads share a position's channels: 1, or 32 where the channels are neighbours.
template <typename T>
__global__ void infogain_loss(const T* __restrict__ prob, const T* __restrict__ labels,
                              const T* __restrict__ matrix, const unsigned long long* marks, double* parts,
                              index_t count, index_t channels, index_t inner, double floor, index_t ignores,
                              index_t ignored, index_t lanes) {
    const T least = static_cast<T>(floor);
    Tally tally = {0, 0};
    for (index_t i = thread_index() / lanes; i < count && !marks[0]; i += grid_stride() / lanes) {
        const index_t label = class_of(labels[i]), start = i / inner * channels * inner + i % inner;
        if (ignores && label == ignored) continue;
        for (index_t c = thread_index() % lanes; c < channels; c += lanes) {
            const T value = prob[start + c * inner];
            tally.first -= matrix[label * channels + c] * log(static_cast<double>(value < least ? least : value));
        }
        tally.second += thread_index() % lanes == 0;
    }
    put_tally(tally, parts);
}

// sums[k] = the sum of the matrix' row k; a block a row.
template <typename T>
__global__ void row_sums(const T* __restrict__ matrix, double* __restrict__ sums, index_t channels) {
    __shared__ double shared[32];
    for (index_t row = blockIdx.x; row < channels; row += gridDim.x) {
        double sum = 0;
        for (index_t c = threadIdx.x; c < channels; c += blockDim.x) sum += matrix[row * channels + c];
        sum = block_sum(sum, shared);
        if (threadIdx.x == 0) sums[row] = sum;
    }
}

template <typename T>
__global__ void infogain_loss_backward(const T* __restrict__ prob, const T* __restrict__ labels,
                                       const T* __restrict__ matrix, const double* __restrict__ sums,
                                       const unsigned long long* marks, T* __restrict__ dx, index_t size,
                                       index_t channels, index_t inner, double scale, index_t ignores,
                                       index_t ignored) {
    if (marks[0]) return;
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const index_t label = class_of(labels[i / inner / channels * inner + i % inner]), c = i / inner % channels;
        const bool skipped = ignores && label == ignored;
        dx[i] = skipped ? T(0)
                        : static_cast<T>(scale) * (prob[i] * static_cast<T>(sums[label]) - matrix[label * channels + c]);
    }
}

// max(0, 1 - x) at the label, max(0, 1 + x) elsewhere; 0 for a NaN, as in Caffe.
template <typename T>
__device__ __forceinline__ T hinge_of(T x, bool is_label) {
    const T margin = is_label ? 1 - x : 1 + x;
    return margin > 0 ? margin : T(0);
}

template <typename T>
__global__ void hinge_loss(const T* __restrict__ x, const T* __restrict__ labels, const unsigned long long* marks,
                           double* parts, index_t size, index_t classes, index_t squared) {
    Tally tally = {0, 0};
    for (index_t i = thread_index(); i < size && !marks[0]; i += grid_stride()) {
        const double margin = hinge_of(x[i], i % classes == class_of(labels[i / classes]));
        tally.first += squared ? margin * margin : margin;
    }
    put_tally(tally, parts);
}

template <typename T>
__global__ void hinge_loss_backward(const T* __restrict__ x, const T* __restrict__ labels,
                                    const unsigned long long* marks, T* __restrict__ dx, index_t size,
                                    index_t classes, double scale, index_t squared) {
    if (marks[0]) return;
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const bool is_label = i % classes == class_of(labels[i / classes]);
        const T margin = hinge_of(x[i], is_label);
        const T slope = squared ? 2 * margin : margin > 0 ? T(1) : T(0);
        dx[i] = static_cast<T>(is_label ? -scale : scale) * slope;
    }
}

// Hits and positions; by_class, where given: hits at 2 * class, positions at 2 * class + 1.
// `lanes` threads share a position's channels: 1, or 32 where the channels are neighbours.
template <typename T>
__global__ void accuracy(const T* __restrict__ scores, const T* __restrict__ labels, const unsigned long long* marks,
                         double* parts, unsigned long long* by_class, index_t count, index_t channels, index_t inner,
                         index_t top_k, index_t ignores, index_t ignored, index_t lanes) {
    Tally tally = {0, 0};
    const index_t lane = thread_index() % lanes;
    for (index_t i = thread_index() / lanes; i < count && !marks[0]; i += grid_stride() / lanes) {
        const index_t label = class_of(labels[i]), start = i / inner * channels * inner + i % inner;
        if (ignores && label == ignored) continue;
        const T score = scores[start + label * inner];
        index_t rivals = 0;
        for (index_t c = lane; c < channels; c += lanes) rivals += scores[start + c * inner] >= score;
        if (lanes > 1) rivals = warp_sum(rivals);
        if (lane != 0) continue;
        const bool hit = rivals - 1 < top_k;  // the class itself is no rival; a NaN has none at all
        tally.first += hit;
        tally.second += 1;
        if (by_class) {
            if (hit) atomicAdd(by_class + 2 * label, 1ull);
            atomicAdd(by_class + 2 * label + 1, 1ull);
        }
    }
    put_tally(tally, parts);
}

// Sets the counts back to 0.
template <typename T>
__global__ void class_shares(unsigned long long* counts, const unsigned long long* marks, T* __restrict__ shares,
                             index_t channels) {
    for (index_t c = thread_index(); c < channels; c += grid_stride()) {
        const T hits = static_cast<T>(counts[2 * c]), positions = static_cast<T>(counts[2 * c + 1]);
        if (!marks[0]) shares[c] = positions > 0 ? hits / positions : T(0);
        counts[2 * c] = counts[2 * c + 1] = 0;
    }
}

// --- two arrays ---

// diff may be null.
template <typename T>
__global__ void squared_distance(const T* a, const T* b, T* diff, double* parts, index_t size) {
    Tally tally = {0, 0};
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const T d = a[i] - b[i];
        if (diff) diff[i] = d;
        tally.first += static_cast<double>(d) * d;
    }
    put_tally(tally, parts);
}

template <typename T>
__global__ void sigmoid_cross_entropy(const T* __restrict__ x, const T* __restrict__ target, double* parts,
                                      index_t size, index_t ignores, index_t ignored) {
    Tally tally = {0, 0};
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        if (ignores && class_of(target[i]) == ignored) continue;
        const T minus_size = x[i] >= 0 ? -x[i] : x[i], rest = target[i] - (x[i] >= 0 ? T(1) : T(0));
        tally.first += log1p(exp(minus_size)) - x[i] * rest;
        tally.second += 1;
    }
    put_tally(tally, parts);
}

template <typename T>
__global__ void sigmoid_cross_entropy_backward(const T* __restrict__ x, const T* __restrict__ target,
                                               T* __restrict__ dx, index_t size, double scale, index_t ignores,
                                               index_t ignored) {
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const T e = exp(x[i] < 0 ? x[i] : -x[i]), share = (x[i] < 0 ? e : T(1)) / (1 + e);
        const bool skipped = ignores && class_of(target[i]) == ignored;
        dx[i] = skipped ? T(0) : static_cast<T>(scale) * (share - target[i]);
    }
}

// A block a pair.
template <typename T>
__global__ void contrastive_loss(const T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ similar,
                                 T* __restrict__ squared, double* parts, index_t num, index_t dim, double margin,
                                 index_t legacy) {
    __shared__ double shared[32];
    Tally tally = {0, 0};
    for (index_t pair = blockIdx.x; pair < num; pair += gridDim.x) {
        double sum = 0;
        for (index_t i = threadIdx.x; i < dim; i += blockDim.x) {
            const T d = a[pair * dim + i] - b[pair * dim + i];
            sum += static_cast<double>(d) * d;
        }
        sum = block_sum(sum, shared);
        if (threadIdx.x != 0) continue;
        const T rounded = static_cast<T>(sum);
        squared[pair] = rounded;
        double term = rounded;
        if (class_of(similar[pair]) == 0) {
            double gap = margin - (legacy ? term : sqrt(term));
            gap = gap < 0 ? 0 : gap;
            term = legacy ? gap : gap * gap;
        }
        tally.first += term;
    }
    put_tally(tally, parts);
}

template <typename T>
__global__ void contrastive_loss_backward(const T* __restrict__ a, const T* __restrict__ b,
                                          const T* __restrict__ similar, const T* __restrict__ squared,
                                          T* __restrict__ dx, index_t size, index_t dim, double scale, double margin,
                                          index_t legacy, double guard) {
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const double square = squared[i / dim], distance = legacy ? square : sqrt(square);
        double slope = 1;
        if (class_of(similar[i / dim]) == 0) {
            const double gap = margin - distance;
            slope = gap > 0 ? (legacy ? -1.0 : -gap / (distance + guard)) : 0.0;
        }
        const T factor = static_cast<T>(scale * slope);
        dx[i] = factor != 0 ? factor * (a[i] - b[i]) : T(0);
    }
}

// inside and outside may be null: all 1.
template <typename T>
__global__ void smooth_l1_loss(const T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ inside,
                               const T* __restrict__ outside, double* parts, index_t size, double sigma2) {
    Tally tally = {0, 0};
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const T difference = a[i] - b[i];
        const double d = fabs((inside ? static_cast<double>(inside[i]) : 1.0) * difference);
        const double value = d < 1 / sigma2 ? 0.5 * sigma2 * d * d : d - 0.5 / sigma2;
        tally.first += (outside ? static_cast<double>(outside[i]) : 1.0) * value;
    }
    put_tally(tally, parts);
}

template <typename T>
__global__ void smooth_l1_loss_backward(const T* __restrict__ a, const T* __restrict__ b,
                                        const T* __restrict__ inside, const T* __restrict__ outside,
                                        T* __restrict__ dx, index_t size, double scale, double sigma2,
                                        index_t weigh_inside) {
    const T curve = static_cast<T>(sigma2);
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        const T d = inside ? inside[i] * (a[i] - b[i]) : a[i] - b[i];
        T slope = fabs(d) < 1 / curve ? curve * d : is_nan(d) ? d : d > 0 ? T(1) : T(-1);
        if (inside && weigh_inside) slope *= inside[i];
        if (outside) slope *= outside[i];
        dx[i] = static_cast<T>(scale) * slope;
    }
}
