// Losses: sums over a batch, and gradients.
//
// A sum leaves three doubles for each block in `parts`: the sum of its terms, how many positions count, and the
// first bad label (or 2^53, which no label is at). `add_up` adds the blocks in a fixed order. A block takes the
// same positions on every device, so that results are the same everywhere. Terms are computed in double.
//
// Labels come as T and are cut to whole numbers; what is no class reads nothing, and its gradients are 0.

#include "common.cuh"

constexpr double NO_LABEL = 9007199254740992.0;
constexpr index_t NO_CLASS = -2147483648ll;  // what a label that fits no 32-bit int is cut to

template <typename T>
__device__ __forceinline__ index_t class_of(T label) {
    const double value = label;
    return value > -2147483649.0 && value < 2147483648.0 ? static_cast<index_t>(value) : NO_CLASS;
}

__device__ __forceinline__ bool is_class(index_t label, index_t classes) { return label >= 0 && label < classes; }

// What one thread has found.
struct Tally {
    double total = 0, counted = 0, bad = NO_LABEL;

    // Whether position p counts; remembers the first whose label is bad.
    __device__ __forceinline__ bool takes(index_t p, index_t label, index_t classes, bool ignores, index_t ignored) {
        if (ignores && label == ignored) return false;
        if (is_class(label, classes)) return true;
        if (p < bad) bad = static_cast<double>(p);
        return false;
    }
};

__device__ __forceinline__ double warp_least(double value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const double other = shuffle_xor(value, lanes);
        value = other < value ? other : value;
    }
    return value;
}

// The whole block's tally, written by thread 0; all threads call it.
__device__ __forceinline__ void write_tally(const Tally& tally, double* parts) {
    __shared__ double shared[32];
    const double total = block_sum(tally.total, shared);
    const double counted = block_sum(tally.counted, shared);
    double bad = warp_least(tally.bad);
    const int lane = thread_in_block() % 32;
    __syncthreads();  // until the sums are read
    if (lane == 0) shared[thread_in_block() / 32] = bad;
    __syncthreads();  // until all warps' values are there
    if (thread_in_block() >= 32) return;
    bad = warp_least(lane * 32 < threads_in_block() ? shared[lane] : NO_LABEL);
    if (lane == 0) {
        double* part = parts + 3 * static_cast<index_t>(blockIdx.x);
        part[0] = total;
        part[1] = counted;
        part[2] = bad;
    }
}

// result = the sum over all parts; one warp, each lane's every 32nd in their order, then the lanes' in a tree.
// instances: T = double
template <typename T>
__global__ void add_up(const T* parts, T* result, index_t count) {
    T total = 0, counted = 0, bad = NO_LABEL;
    for (index_t k = thread_in_block(); k < count; k += 32) {
        total += parts[3 * k];
        counted += parts[3 * k + 1];
        if (parts[3 * k + 2] < bad) bad = parts[3 * k + 2];
    }
    total = warp_sum(total);
    counted = warp_sum(counted);
    bad = warp_least(bad);
    if (thread_in_block() > 0) return;
    result[0] = total;
    result[1] = counted;
    result[2] = bad;
}

// --- places in (outer, channels, inner) ---

// Where the value of a channel at position p lies.
__device__ __forceinline__ index_t place_of(index_t p, index_t channel, index_t channels, index_t inner) {
    const Division at = divide(p, inner);
    return (at.quotient * channels + channel) * inner + at.rest;
}

struct Element {
    index_t position, channel;
};

// What value i belongs to.
__device__ __forceinline__ Element element_of(index_t i, index_t channels, index_t inner) {
    const Division row = divide(i, inner), image = divide(row.quotient, channels);
    return {image.quotient * inner + row.rest, image.rest};
}

// At least `floor`; a NaN stays one.
template <typename T>
__device__ __forceinline__ T raised(T value, T floor) {
    return value < floor ? floor : value;
}

// --- against one class label a position; prob, dx (outer, channels, inner), labels (outer, inner) ---

// weights (channels,) may be null.
template <typename T>
__global__ void log_loss(const T* prob, const T* labels, const T* weights, double* parts, index_t count,
                         index_t channels, index_t inner, double floor, index_t ignores, index_t ignored) {
    Tally tally;
    for (index_t p = thread_index(); p < count; p += grid_stride()) {
        const index_t label = class_of(labels[p]);
        if (!tally.takes(p, label, channels, ignores, ignored)) continue;
        const T value = raised(prob[place_of(p, label, channels, inner)], static_cast<T>(floor));
        double term = log(static_cast<double>(value));
        if (weights) term *= weights[label];
        tally.total -= term;
        tally.counted += 1;
    }
    write_tally(tally, parts);
}

template <typename T>
__global__ void log_loss_backward(const T* prob, const T* labels, T* dx, index_t count, index_t channels,
                                  index_t inner, double scale, double floor) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Element at = element_of(i, channels, inner);
        const bool here = class_of(labels[at.position]) == at.channel;
        dx[i] = here ? static_cast<T>(-scale) / raised(prob[i], static_cast<T>(floor)) : T(0);
    }
}

// dx = scale * weights[label] * (mass * prob - target), target `at_label` at the label and `elsewhere` at others.
template <typename T>
__global__ void softmax_loss_backward(const T* prob, const T* labels, const T* weights, T* dx, index_t count,
                                      index_t channels, index_t inner, double scale, double mass, double at_label,
                                      double elsewhere, index_t ignores, index_t ignored) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Element at = element_of(i, channels, inner);
        const index_t label = class_of(labels[at.position]);
        if (!is_class(label, channels) || (ignores && label == ignored)) {
            dx[i] = 0;
            continue;
        }
        T factor = static_cast<T>(scale);
        if (weights) factor *= weights[label];
        dx[i] = factor * (static_cast<T>(mass) * prob[i] - static_cast<T>(at.channel == label ? at_label : elsewhere));
    }
}

// matrix (channels, channels).
template <typename T>
__global__ void infogain_loss(const T* prob, const T* labels, const T* matrix, double* parts, index_t count,
                              index_t channels, index_t inner, double floor, index_t ignores, index_t ignored) {
    Tally tally;
    for (index_t p = thread_index(); p < count; p += grid_stride()) {
        const index_t label = class_of(labels[p]);
        if (!tally.takes(p, label, channels, ignores, ignored)) continue;
        const T *values = prob + place_of(p, 0, channels, inner), *gains = matrix + label * channels;
        for (index_t c = 0; c < channels; c++) {
            const T value = raised(values[c * inner], static_cast<T>(floor));
            tally.total -= gains[c] * log(static_cast<double>(value));
        }
        tally.counted += 1;
    }
    write_tally(tally, parts);
}

// dx = scale * (prob * sum(matrix[label]) - matrix[label]).
template <typename T>
__global__ void infogain_loss_backward(const T* prob, const T* labels, const T* matrix, T* dx, index_t count,
                                       index_t channels, index_t inner, double scale, index_t ignores,
                                       index_t ignored) {
    for (index_t p = thread_index(); p < count; p += grid_stride()) {
        const index_t label = class_of(labels[p]), start = place_of(p, 0, channels, inner);
        if (!is_class(label, channels) || (ignores && label == ignored)) {
            for (index_t c = 0; c < channels; c++) dx[start + c * inner] = 0;
            continue;
        }
        const T* gains = matrix + label * channels;
        double sum = 0;
        for (index_t c = 0; c < channels; c++) sum += gains[c];
        for (index_t c = 0; c < channels; c++) {
            const index_t at = start + c * inner;
            dx[at] = static_cast<T>(scale) * (prob[at] * static_cast<T>(sum) - gains[c]);
        }
    }
}

// max(0, 1 - x) at the label, max(0, 1 + x) elsewhere; 0 for a NaN.
template <typename T>
__device__ __forceinline__ T margin_of(T x, bool at_label) {
    const T margin = at_label ? 1 - x : 1 + x;
    return margin > 0 ? margin : T(0);
}

// x, dx (num, classes), labels (num,); `count` values.
template <typename T>
__global__ void hinge_loss(const T* x, const T* labels, double* parts, index_t count, index_t classes,
                           index_t squared) {
    Tally tally;
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Division at = divide(i, classes);
        const index_t label = class_of(labels[at.quotient]);
        if (!tally.takes(at.quotient, label, classes, false, 0)) continue;
        const double margin = margin_of(x[i], at.rest == label);
        tally.total += squared ? margin * margin : margin;
    }
    write_tally(tally, parts);
}

template <typename T>
__global__ void hinge_loss_backward(const T* x, const T* labels, T* dx, index_t count, index_t classes,
                                    double scale, index_t squared) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Division at = divide(i, classes);
        const index_t label = class_of(labels[at.quotient]);
        const bool here = at.rest == label;
        const T margin = margin_of(x[i], here), slope = squared ? 2 * margin : margin > 0 ? T(1) : T(0);
        const T factor = static_cast<T>(here ? -scale : scale);
        dx[i] = is_class(label, classes) ? factor * slope : T(0);
    }
}

// --- accuracy ---

// A position is a hit where fewer than top_k other classes score as high as the label's. `sizes` and `hits`
// (channels,) count those of each class, where given; they start at 0.
template <typename T>
__global__ void accuracy(const T* scores, const T* labels, double* parts, unsigned long long* sizes,
                         unsigned long long* hits, index_t count, index_t channels, index_t inner, index_t top_k,
                         index_t ignores, index_t ignored) {
    Tally tally;
    for (index_t p = thread_index(); p < count; p += grid_stride()) {
        const index_t label = class_of(labels[p]);
        if (!tally.takes(p, label, channels, ignores, ignored)) continue;
        const T* values = scores + place_of(p, 0, channels, inner);
        const T score = values[label * inner];
        index_t rivals = -1;  // the class itself
        for (index_t c = 0; c < channels; c++) rivals += values[c * inner] >= score;
        const bool hit = rivals < top_k;
        tally.total += hit;
        tally.counted += 1;
        if (sizes) {
            atomicAdd(sizes + label, 1ull);
            if (hit) atomicAdd(hits + label, 1ull);
        }
    }
    write_tally(tally, parts);
}

// shares = hits / sizes, 0 for a class without positions.
template <typename T>
__global__ void class_shares(const unsigned long long* sizes, const unsigned long long* hits, T* shares,
                             index_t channels) {
    for (index_t c = thread_index(); c < channels; c += grid_stride()) {
        shares[c] = sizes[c] ? static_cast<T>(hits[c]) / static_cast<T>(sizes[c]) : T(0);
    }
}

// --- two arrays, element by element ---

// sum of (a - b)^2; diff, where given, gets a - b.
template <typename T>
__global__ void squared_distance(const T* a, const T* b, T* diff, double* parts, index_t count) {
    Tally tally;
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const T difference = a[i] - b[i];
        tally.total += static_cast<double>(difference) * static_cast<double>(difference);
        if (diff) diff[i] = difference;
    }
    write_tally(tally, parts);
}

// sum of -target * log(s(x)) - (1 - target) * log(1 - s(x)), s the sigmoid.
template <typename T>
__global__ void sigmoid_cross_entropy(const T* x, const T* target, double* parts, index_t count, index_t ignores,
                                      index_t ignored) {
    Tally tally;
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        if (ignores && class_of(target[i]) == ignored) continue;
        const T value = x[i], rest = target[i] - (value >= 0 ? T(1) : T(0));
        tally.total += log1p(exp(value >= 0 ? -value : value)) - value * rest;
        tally.counted += 1;
    }
    write_tally(tally, parts);
}

template <typename T>
__global__ void sigmoid_cross_entropy_backward(const T* x, const T* target, T* dx, index_t count, double scale,
                                               index_t ignores, index_t ignored) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const bool left_out = ignores && class_of(target[i]) == ignored;
        dx[i] = left_out ? T(0) : static_cast<T>(scale) * (1 / (1 + exp(-x[i])) - target[i]);
    }
}

// inside and outside may be null. f(d) = sigma2 d^2 / 2 near 0, |d| - 1 / (2 sigma2) beyond 1 / sigma2.
template <typename T>
__global__ void smooth_l1_loss(const T* a, const T* b, const T* inside, const T* outside, double* parts,
                               index_t count, double sigma2) {
    Tally tally;
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const T difference = a[i] - b[i];
        const double d = fabs((inside ? static_cast<double>(inside[i]) : 1.0) * difference);
        const double value = d < 1 / sigma2 ? 0.5 * sigma2 * d * d : d - 0.5 / sigma2;
        tally.total += (outside ? static_cast<double>(outside[i]) : 1.0) * value;
    }
    write_tally(tally, parts);
}

template <typename T>
__global__ void smooth_l1_loss_backward(const T* a, const T* b, const T* inside, const T* outside, T* dx,
                                        index_t count, double scale, double sigma2, index_t weigh_inside) {
    const T square = static_cast<T>(sigma2);
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        T slope = a[i] - b[i];
        if (inside) slope *= inside[i];
        if (fabs(slope) < 1 / square) {
            slope *= square;
        } else if (!is_nan(slope)) {
            slope = slope > 0 ? T(1) : T(-1);
        }
        if (inside && weigh_inside) slope *= inside[i];
        if (outside) slope *= outside[i];
        dx[i] = static_cast<T>(scale) * slope;
    }
}

// --- pairs of rows ---

// A block for each pair: squared[k] = |a[k] - b[k]|^2, and the pair's term as a part of its own.
template <typename T>
__global__ void contrastive_loss(const T* a, const T* b, const T* similar, T* squared, double* parts, index_t num,
                                 index_t dim, double margin, index_t legacy) {
    __shared__ double shared[32];
    for (index_t k = blockIdx.x; k < num; k += gridDim.x) {
        double sum = 0;
        for (index_t i = threadIdx.x; i < dim; i += blockDim.x) {
            const T difference = a[k * dim + i] - b[k * dim + i];
            sum += static_cast<double>(difference) * static_cast<double>(difference);
        }
        sum = block_sum(sum, shared);
        if (threadIdx.x > 0) continue;
        squared[k] = static_cast<T>(sum);
        double term = squared[k];
        if (class_of(similar[k]) == 0) {
            const double gap = margin - (legacy ? term : sqrt(term));
            term = gap < 0 ? 0 : legacy ? gap : gap * gap;
        }
        parts[3 * k] = term;
        parts[3 * k + 1] = 1;
        parts[3 * k + 2] = NO_LABEL;
    }
}

// dx = scale * slope * (a - b); `guard` is added to the distance that is divided by.
template <typename T>
__global__ void contrastive_loss_backward(const T* a, const T* b, const T* similar, const T* squared, T* dx,
                                          index_t count, index_t dim, double scale, double margin, index_t legacy,
                                          double guard) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const index_t k = quotient(i, dim);
        double slope = 1;
        if (class_of(similar[k]) == 0) {
            const double distance = legacy ? static_cast<double>(squared[k]) : sqrt(static_cast<double>(squared[k]));
            const double gap = margin - distance;
            slope = gap > 0 ? (legacy ? -1.0 : -gap / (distance + guard)) : 0.0;
        }
        const T factor = static_cast<T>(scale * slope);
        dx[i] = factor != 0 ? factor * (a[i] - b[i]) : T(0);
    }
}
