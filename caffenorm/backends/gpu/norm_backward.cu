// Batch normalisation, backward; with x as x_hat and no statistics also sums and products over channels.
//
// gradients_whole    a block holds a channel's x and dy in registers: both read once, dx written, 12 bytes an
//                    element (float)
// gradients_tasks    larger channels in pieces: x and dy read a second time, from the second-level cache where
//                    a channel or a few fit there: 12 bytes from memory, else 20. Without results: sums, 8 bytes;
//                    4 without x
// gradients_apply    dx from given means: 12 bytes, 8 where x is not needed
//
// Sums: float over the runs of a thread, its warp's in a tree, double from there on, pieces in index order.

#include "norm_rows.cuh"

template <typename T, int V, int N>
__device__ __forceinline__ void add_runs(const Run<T, V> (&x)[N], const Run<T, V> (&dy)[N], int n,
                                         const Channel<Real<T>>& channel, Gradients<Real<T>>& sums) {
    Gradients<Real<T>> more{0, 0, 0};
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n) add_gradients(x[i], dy[i], channel, more);
    sums = {sums.g + more.g, sums.gx + more.gx, sums.slope + more.slope};
}

template <typename T, int V, int N>
__device__ __forceinline__ void write_gradients(const Run<T, V> (&x)[N], const Run<T, V> (&dy)[N], int n,
                                                Walk<V> walk, T* dx, bool past, const Channel<Real<T>>& channel,
                                                const Factors<Real<T>>& factors) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < n) store_run(dx + walk.at, gradient_run(x[i], dy[i], channel, factors), past);
        walk.next();
    }
}

// What stands in for x where it is not needed.
template <typename T, int V, int N>
__device__ __forceinline__ void clear(Run<T, V> (&runs)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < V; ++j) runs[i].at[j] = from_real<T>(0);
}

// dx may be null. Where x is x_hat there is no mean, and `inv_std` is for dx alone.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(512, 2)
    gradients_whole(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                    const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes, index_t active,
                    double slope, index_t x_is_hat, Real<T>* dgamma, Real<T>* dbeta, Real<T>* dslope,
                    index_t outer, index_t channels, index_t inner, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 4 : 12;
    __shared__ Gradients<double> shared[WHOLE_THREADS / 32];
    __shared__ A of_channel[2];
    const index_t c = blockIdx.x;
    const Rows rows = Rows::of<V>(outer, channels, inner);
    const Walk<V> walk(rows, c, 0, rows.total, blockDim.x);
    Run<T, V> xs[N], dys[N];

    const int n = walk.read(x, xs, past != 0);
    walk.read(dy, dys, past != 0);
    Channel<A> channel = channel_of<A>(
        {x_is_hat ? nullptr : mean, x_is_hat ? nullptr : inv_std, gamma, beta, slopes, slope, 1, active}, c);
    Gradients<A> sums{0, 0, 0};
    add_runs(xs, dys, n, channel, sums);
    const Gradients<double> all = block_gradients(sums, shared);
    const GradientSums<A> out{dgamma, dbeta, dslope, nullptr, nullptr, nullptr, inv_std, x_is_hat,
                              static_cast<double>(outer * inner)};
    if (threadIdx.x == 0) {
        const Factors64 factors = factors_of(out, c, channel.gamma, all);
        of_channel[0] = static_cast<A>(factors.from_x);
        of_channel[1] = static_cast<A>(factors.constant);
    }
    __syncthreads();  // until the factors are there
    if (threadIdx.x == 0) keep(out, c, channel.gamma, all);  // nobody waits for what it reads

    const Factors<A> factors{channel.gamma * inv_std[c], of_channel[0], of_channel[1], false};
    if (dx) write_gradients(xs, dys, n, walk, dx, past != 0, channel, factors);
}

template <typename T, int V, int N>
struct GradientTasks {
    using A = Real<T>;
    const T *x, *dy;
    T* dx;
    Given<A> given;
    GradientSums<A> out;
    Rows rows;
    index_t pieces, runs_in_piece, past;
    double* parts;  // three sums of each piece

    __device__ __forceinline__ index_t end_of(index_t piece) const {
        return min((piece + 1) * runs_in_piece, rows.total);
    }

    __device__ __forceinline__ void sum(index_t c, index_t piece, counter_t* flag) {
        __shared__ Gradients<double> shared[ROW_THREADS / 32];
        const Channel<A> channel = channel_of(given, c);
        Gradients<A> sums{0, 0, 0};
        Run<T, V> xs[N], dys[N];
        if (!x) clear(xs);
        for (index_t start = piece * runs_in_piece; start < end_of(piece); start += N * ROW_THREADS) {
            const Walk<V> walk(rows, c, start, end_of(piece), ROW_THREADS);
            if (x) walk.read(x, xs, false);
            const int n = walk.read(dy, dys, false);
            add_runs(xs, dys, n, channel, sums);
        }
        const Gradients<double> all = block_gradients(sums, shared);
        if (threadIdx.x >= 32) return;
        if (threadIdx.x == 0) {
            double* part = parts + 3 * (c * pieces + piece);
            part[0] = all.g;
            part[1] = all.gx;
            part[2] = all.slope;
        }
        if (brings_last_sum(flag, pieces)) {
            finish(c, channel.gamma);
            raise_flag(flag);
        }
    }

    // By the first warp.
    __device__ __forceinline__ void finish(index_t c, A gamma) const {
        Gradients<double> all{0, 0, 0};
        for (index_t k = threadIdx.x; k < pieces; k += 32) {
            const double* part = parts + 3 * (c * pieces + k);
            all.g += load_fresh(part);
            all.gx += load_fresh(part + 1);
            all.slope += load_fresh(part + 2);
        }
        all = warp_sum(all);
        if (threadIdx.x == 0) keep(out, c, gamma, all);
    }

    __device__ __forceinline__ void result(index_t c, index_t piece) {
        const Channel<A> channel = channel_of(given, c);
        const Factors<A> factors{channel.gamma * out.inv_std[c], load_fresh(out.factors + 2 * c),
                                 load_fresh(out.factors + 2 * c + 1), false};
        Run<T, V> xs[N], dys[N];
        for (index_t start = piece * runs_in_piece; start < end_of(piece); start += N * ROW_THREADS) {
            const Walk<V> walk(rows, c, start, end_of(piece), ROW_THREADS);
            walk.read(x, xs, past != 0);
            const int n = walk.read(dy, dys, past != 0);
            write_gradients(xs, dys, n, walk, dx, past != 0, channel, factors);
        }
    }
};

// Sums, and with a `group` dx. Without x: sum_g and dbeta alone. `parts` has three values for each piece of each
// channel, `factors` two for each channel.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(256, 4)
    gradients_tasks(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                    const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes, index_t slope_step,
                    index_t active, double slope, index_t x_is_hat, Real<T>* dgamma, Real<T>* dbeta,
                    Real<T>* dslope, double* sum_g, double* sum_gx, index_t outer, index_t channels, index_t inner,
                    index_t past, index_t pieces, index_t runs_in_piece, index_t group, Real<T>* factors,
                    double* parts, counter_t* counters) {
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 2 : 8;
    GradientTasks<T, V, N> work{
        x, dy, dx,
        {x_is_hat ? nullptr : mean, x_is_hat ? nullptr : inv_std, gamma, beta, slopes, slope, slope_step, active},
        {dgamma, dbeta, dslope, sum_g, sum_gx, factors, inv_std, x_is_hat, static_cast<double>(outer * inner)},
        Rows::of<V>(outer, channels, inner), pieces, runs_in_piece, past, parts};
    take_tasks({channels, pieces, group}, counters, work);
}

// dx = gamma * inv_std * (g - mean_g - x_hat * mean_gx); without means, gamma * inv_std * g, where x is read
// for an activation only. inv_std may be null.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(256)
    gradients_apply(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                    const double* mean_g, const double* mean_gx, const Real<T>* gamma, const Real<T>* beta,
                    const Real<T>* slopes, index_t slope_step, index_t active, double slope, index_t x_is_hat,
                    index_t outer, index_t channels, index_t inner, index_t past,
                    index_t pieces, index_t runs_in_piece) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 2 : 8;
    const Given<A> given{x_is_hat ? nullptr : mean, x_is_hat ? nullptr : inv_std, gamma, beta, slopes, slope,
                         slope_step, active};
    const Rows rows = Rows::of<V>(outer, channels, inner);
    Run<T, V> xs[N], dys[N];
    clear(xs);
    for (index_t task = blockIdx.x; task < pieces * channels; task += gridDim.x) {
        const index_t piece = quotient(task, channels), c = task - piece * channels;
        const index_t end = min((piece + 1) * runs_in_piece, rows.total);
        const Channel<A> channel = channel_of(given, c);
        const A std = inv_std ? inv_std[c] : A(1);
        const Factors<A> factors = factors_from(channel, std, mean_g, mean_gx, c);
        for (index_t start = piece * runs_in_piece; start < end; start += N * blockDim.x) {
            const Walk<V> walk(rows, c, start, end, blockDim.x);
            if (active || mean_g) walk.read(x, xs, past != 0);
            const int n = walk.read(dy, dys, past != 0);
            write_gradients(xs, dys, n, walk, dx, past != 0, channel, factors);
        }
    }
}
