// Pooling: max_pool, average_pool, stochastic_pool, weighted_pool and their gradients; see interface/window.py.
//
// Small windows: a thread owns one place of the output plane (or of the input plane, for gradients), works out
// its window once and then goes through planes: grid x runs over places, y over planes, neighbours read
// neighbours. x is read kernel / stride times, all but the first from cache; y is written once. Places in a plane
// of x fit 32 bits, all else is counted in 64.
//
// large_*: a warp or a block a window, where it has many positions (window.py says how many), as in global
// pooling. A window that is one run of memory is read in packs of 16 bytes where x allows it.
//
// Gradients gather: each position adds up what the windows that hold it give, in order of the windows, so
// that they repeat bit by bit and need no zeros first. Sums are in T: along a row, then over rows; in large
// windows a thread's share, then a tree.

#include "window.cuh"

// Caffe begins with the lowest float, whatever the type, and takes what is above it.
template <typename T>
__device__ __forceinline__ T floor_of_max() {
    return static_cast<T>(lowest<float>());
}

// The first of the largest values, and its place.
template <typename T>
struct Largest {
    T value = floor_of_max<T>();
    int place = -1;

    // In any order of places.
    __device__ __forceinline__ void take(T v, index_t at) {
        const bool better = v > value || (v == value && at < place);
        value = better ? v : value;
        place = better ? static_cast<int>(at) : place;
    }
};

template <typename T>
struct Total {
    T value = 0;

    __device__ __forceinline__ void take(T v, index_t) { value += v; }
};

template <typename T>
__device__ __forceinline__ T divisor_of(const Windows& w, index_t position) {
    const Place o = place_in(position, w.height.out, w.width.out);
    const index_t rows = w.depth.positions(o.depth, w.count_pads) * w.height.positions(o.height, w.count_pads);
    return static_cast<T>(rows) * static_cast<T>(w.width.positions(o.width, w.count_pads));
}

template <typename T>
__device__ __forceinline__ T average_of(T sum, T divisor) {
    return divisor > 0 ? sum / divisor : T(0);
}

// --- max ---

// `index` may be null.
template <typename T>
__global__ void max_pool(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ index,
                         const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= out) return;
    const Box box = window_at(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const T* from = x + p * plane;
        T best = floor_of_max<T>();
        int place = -1;
        for (index_t d = box.depth.begin; d < box.depth.end; d++)
            for (index_t h = box.height.begin; h < box.height.end; h++) {
                const index_t row = (d * w.height.size + h) * w.width.size;
                const int last = static_cast<int>(row + box.width.end);
                for (int at = static_cast<int>(row + box.width.begin); at < last; at++) {
                    const T v = from[at];
                    if (v > best) {
                        best = v;
                        place = at;
                    }
                }
            }
        y[p * out + position] = best;
        if (index) index[p * out + position] = place;
    }
}

// dx: what the windows give that took this value. Windows that do not hold a place never took it.
template <typename T>
__global__ void max_pool_backward(const T* __restrict__ dy, const int* __restrict__ index, T* __restrict__ dx,
                                  const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= plane) return;
    const Box box = windows_of(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        T sum = 0;
        for (index_t d = box.depth.begin; d < box.depth.end; d++)
            for (index_t h = box.height.begin; h < box.height.end; h++) {
                const index_t row = p * out + (d * w.height.out + h) * w.width.out;
                for (index_t o = box.width.begin; o < box.width.end; o++)
                    if (index[row + o] == position) sum += dy[row + o];
            }
        dx[p * plane + position] = sum;
    }
}

// --- average ---

template <typename T>
__global__ void average_pool(const T* __restrict__ x, T* __restrict__ y, const index_t* __restrict__ numbers,
                             index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= out) return;
    const Box box = window_at(w, position);
    const T divisor = divisor_of<T>(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const T* from = x + p * plane;
        T sum = 0;
        for (index_t d = box.depth.begin; d < box.depth.end; d++)
            for (index_t h = box.height.begin; h < box.height.end; h++) {
                const T* row = from + (d * w.height.size + h) * w.width.size;
                T part = 0;
                for (index_t i = box.width.begin; i < box.width.end; i++) part += row[i];
                sum += part;
            }
        y[p * out + position] = average_of(sum, divisor);
    }
}

// dy divided as the average was: once a window, not once for each of its positions.
template <typename T>
__global__ void window_shares(const T* __restrict__ dy, T* __restrict__ shares, const index_t* __restrict__ numbers,
                              index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), out = w.out_plane();
    if (position >= out) return;
    const T divisor = divisor_of<T>(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step())
        shares[p * out + position] = average_of(dy[p * out + position], divisor);
}

// dx from window_shares.
template <typename T>
__global__ void average_pool_backward(const T* __restrict__ shares, T* __restrict__ dx,
                                      const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= plane) return;
    const Box box = windows_of(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        T sum = 0;
        auto add = [&](index_t at) { sum += shares[p * out + at]; };
        each_place(box, w.height.out, w.width.out, add);
        dx[p * plane + position] = sum;
    }
}

// --- large windows: a team of threads each, a warp (several in a block) or a block ---

// A block's x is its team.
__device__ __forceinline__ index_t first_window() {
    return static_cast<index_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}
__device__ __forceinline__ index_t window_step() { return static_cast<index_t>(gridDim.x) * blockDim.y; }

// The team takes the positions of a window, each thread its share.
template <typename T, typename State>
__device__ __forceinline__ void take_window(const T* x, const Windows& w, const Box& box, State& state) {
    const index_t count = box.count(), width = box.width.count(), height = box.height.count();
    const index_t start = (box.depth.begin * w.height.size + box.height.begin) * w.width.size + box.width.begin;
    const index_t threads = blockDim.x, thread = threadIdx.x;
    const bool whole_rows = width == w.width.size || (height == 1 && box.depth.count() == 1);
    if (whole_rows && (height == w.height.size || box.depth.count() == 1)) {
        const T* run = x + start;
        constexpr index_t size = pack_size<T>();
        index_t head = (16 - (reinterpret_cast<unsigned long long>(run) & 15)) % 16 / sizeof(T);
        head = least(head, count);
        const index_t packs = (count - head) / size;
        for (index_t i = thread; i < head; i += threads) state.take(run[i], start + i);
        for (index_t i = thread; i < packs; i += threads) {
            const index_t at = head + i * size;
            const Pack<T> values = load_pack(run + at);
            for (index_t j = 0; j < size; j++) state.take(values.at[j], start + at + j);
        }
        for (index_t i = head + packs * size + thread; i < count; i += threads) state.take(run[i], start + i);
        return;
    }
    for (index_t i = thread; i < count; i += threads) {
        const Place o = place_in(i, height, width);
        const index_t at = start + (o.depth * w.height.size + o.height) * w.width.size + o.width;
        state.take(x[at], at);
    }
}

template <typename T>
__device__ __forceinline__ void merge_lanes(Largest<T>& best) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const T value = shuffle_xor(best.value, lanes);
        const int place = shuffle_xor(best.place, lanes);
        best.take(value, place);
    }
}

// `index` may be null.
template <typename T>
__global__ void large_max_pool(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ index,
                               const index_t* __restrict__ numbers, index_t planes) {
    __shared__ T values[32];
    __shared__ int places[32];
    const Windows w(numbers);
    const index_t plane = w.plane(), out = w.out_plane();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (index_t o = first_window(); o < planes * out; o += window_step()) {
        const Division at = divide(o, out);
        Largest<T> best;
        take_window(x + at.quotient * plane, w, window_at(w, at.rest), best);
        merge_lanes(best);
        if (warps > 1) {
            __syncthreads();  // until the last window's values are read
            if (lane == 0) {
                values[warp] = best.value;
                places[warp] = best.place;
            }
            __syncthreads();  // until all warps' values are there
            if (warp > 0) continue;
            best = Largest<T>();
            if (lane < warps) best.take(values[lane], places[lane]);
            merge_lanes(best);
        }
        if (lane > 0) continue;
        y[o] = best.value;
        if (index) index[o] = best.place;
    }
}

template <typename T>
__global__ void large_average_pool(const T* __restrict__ x, T* __restrict__ y,
                                   const index_t* __restrict__ numbers, index_t planes) {
    __shared__ T shared[32];
    const Windows w(numbers);
    const index_t plane = w.plane(), out = w.out_plane();
    for (index_t o = first_window(); o < planes * out; o += window_step()) {
        const Division at = divide(o, out);
        Total<T> total;
        take_window(x + at.quotient * plane, w, window_at(w, at.rest), total);
        const T sum = blockDim.x > 32 ? block_sum(total.value, shared) : warp_sum(total.value);
        if (threadIdx.x == 0) y[o] = average_of(sum, divisor_of<T>(w, at.rest));
    }
}

// --- stochastic: values drawn in proportion to themselves ---

// The first value at which the running sum reaches the drawn share of the sum, else the last one. Sums run
// one value after the other, as on the CPU, so that both draw the same.
template <typename T>
__global__ void stochastic_pool(const T* __restrict__ x, const T* __restrict__ draws, T* __restrict__ y,
                                int* __restrict__ index, const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= out) return;
    const Box box = window_at(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const T* from = x + p * plane;
        T sum = 0, running = 0, value = 0;
        index_t place = -1;
        bool found = false;
        auto add = [&](index_t at) { sum += from[at]; };
        each_place(box, w.height.size, w.width.size, add);
        const T share = draws[p * out + position] * sum;
        auto draw = [&](index_t at) {
            if (found) return;
            value = from[at];
            place = at;
            running += value;
            found = running >= share;
        };
        each_place(box, w.height.size, w.width.size, draw);
        y[p * out + position] = value;
        index[p * out + position] = static_cast<int>(place);
    }
}

// Sum and sum of squares of a window.
template <typename T>
__device__ __forceinline__ Pair<T> sums_of(const T* x, const Windows& w, const Box& box) {
    Pair<T> sums = {0, 0};
    auto add = [&](index_t at) {
        const T v = x[at];
        sums.first += v;
        sums.second += v * v;
    };
    each_place(box, w.height.size, w.width.size, add);
    return sums;
}

template <typename T>
__global__ void weighted_pool(const T* __restrict__ x, T* __restrict__ y, const index_t* __restrict__ numbers,
                              index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= out) return;
    const Box box = window_at(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const Pair<T> sums = sums_of(x + p * plane, w, box);
        y[p * out + position] = sums.first > 0 ? sums.second / sums.first : T(0);
    }
}

// Sums and squares of all windows, which weighted_pool_backward needs once for each of a window's positions.
template <typename T>
__global__ void window_sums(const T* __restrict__ x, T* __restrict__ sum, T* __restrict__ squares,
                            const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= out) return;
    const Box box = window_at(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const Pair<T> sums = sums_of(x + p * plane, w, box);
        sum[p * out + position] = sums.first;
        squares[p * out + position] = sums.second;
    }
}

// dx = sum over the windows of dy * (2 x - y) / sum.
template <typename T>
__global__ void weighted_pool_backward(const T* __restrict__ x, const T* __restrict__ dy, const T* __restrict__ sum,
                                       const T* __restrict__ squares, T* __restrict__ dx,
                                       const index_t* __restrict__ numbers, index_t planes) {
    const Windows w(numbers);
    const index_t position = place_of_thread(), plane = w.plane(), out = w.out_plane();
    if (position >= plane) return;
    const Box box = windows_of(w, position);
    for (index_t p = first_plane(); p < planes; p += plane_step()) {
        const T v = x[p * plane + position];
        T total = 0;
        auto add = [&](index_t at) {
            const T whole = sum[p * out + at];
            if (!(whole > 0)) return;
            total += dy[p * out + at] / whole * (2 * v - squares[p * out + at] / whole);
        };
        each_place(box, w.height.out, w.width.out, add);
        dx[p * plane + position] = total;
    }
}
