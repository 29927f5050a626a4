// Batch normalisation, forward: y = act(gamma * x_hat + beta), x_hat = (x - mean) * inv_std.
//
// batch_norm_whole    a block holds a channel in registers: x read once, y written, 8 bytes an element (float)
// batch_norm_tasks    larger channels in pieces: x read a second time, from the second-level cache where a
//                     channel or a few fit there: 8 bytes from memory, else 12. Without results: statistics, 4
// apply_rows          given statistics: 8 bytes
//
// Sums: two passes over registers, then warps, blocks, and in double the pieces of a channel in index order.
// What is added to what depends on shape, dtype and alignment alone.

#include "norm_rows.cuh"

// Where x goes.
template <typename T>
struct Results {
    T *y, *x_hat;
    index_t past;
};

template <typename T, int V, int N>
__device__ __forceinline__ void write_runs(const Run<T, V> (&x)[N], int n, Walk<V> walk, const Results<T>& out,
                                           const Channel<Real<T>>& channel) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < n) {
            Run<T, V> y, x_hat;
            apply_run(x[i], y, x_hat, out.x_hat != nullptr, channel);
            if (out.x_hat) store_run(out.x_hat + walk.at, x_hat, out.past);
            store_run(out.y + walk.at, y, out.past);
        }
        walk.next();
    }
}

template <typename T, bool PACKED>
__global__ void __launch_bounds__(512, 2)
    batch_norm_whole(const T* x, T* y, T* x_hat, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double eps,
                     const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes, index_t active,
                     double slope, index_t outer, index_t channels, index_t inner, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 8 : 16;
    __shared__ Moments<A> shared[WHOLE_THREADS / 32];
    __shared__ A of_channel[2];
    const index_t c = blockIdx.x;
    const Rows rows = Rows::of<V>(outer, channels, inner);
    const Walk<V> walk(rows, c, 0, rows.total, blockDim.x);
    Run<T, V> runs[N];

    const int n = walk.read(x, runs, past != 0);
    Channel<A> channel = parameters_of<A>({nullptr, nullptr, gamma, beta, slopes, slope, 1, active}, c);
    const A pivot = finite_or_zero(load(x + c * inner));
    const Moments<A> all = block_moments(moments_of(runs, n, pivot), shared);
    if (threadIdx.x == 0) {
        const Statistics<A> out{of_channel, var + c, of_channel + 1, nullptr, nullptr, eps};
        keep(out, 0, static_cast<double>(pivot) + all.mean, all.m2, static_cast<double>(outer * inner));
        mean[c] = of_channel[0];
        inv_std[c] = of_channel[1];
    }
    __syncthreads();  // until the statistics are there, and all have read what an in-place result overwrites

    channel.mean = of_channel[0];
    channel.inv_std = of_channel[1];
    write_runs(runs, n, walk, Results<T>{y, x_hat, past}, channel);
}

template <typename T, int V, int N>
struct TrainTasks : MomentTasks<T, V, N> {
    Results<T> out;
    Given<Real<T>> given;

    __device__ __forceinline__ void result(index_t c, index_t piece) {
        const Channel<Real<T>> channel = channel_of(given, c, true);
        const index_t end = this->end_of(piece);
        Run<T, V> runs[N];
        for (index_t start = piece * this->runs_in_piece; start < end; start += N * ROW_THREADS) {
            const Walk<V> walk(this->rows, c, start, end, ROW_THREADS);
            const int n = walk.read(this->x, runs, out.past != 0);
            write_runs(runs, n, walk, out, channel);
        }
    }
};

// Statistics, and with a `group` results. `parts` has two values for each piece of each channel.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(256, 4)
    batch_norm_tasks(const T* x, T* y, T* x_hat, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double* mean64,
                     double* m2, double eps, const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes,
                     index_t active, double slope, index_t outer, index_t channels, index_t inner, index_t past,
                     index_t pieces, index_t runs_in_piece, index_t group, Real<T>* parts, counter_t* counters) {
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 4 : 16;
    TrainTasks<T, V, N> work{{x, {mean, var, inv_std, mean64, m2, eps}, Rows::of<V>(outer, channels, inner), inner,
                              pieces, runs_in_piece, parts},
                             {y, x_hat, past},
                             {mean, inv_std, gamma, beta, slopes, slope, 1, active}};
    take_tasks({channels, pieces, group}, counters, work);
}

// Channels and pieces of them as blocks along x, in the order of memory as far as pieces allow.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(256)
    apply_rows(const T* x, T* y, T* x_hat, const Real<T>* mean, const Real<T>* inv_std, const Real<T>* gamma,
               const Real<T>* beta, const Real<T>* slopes, index_t slope_step, index_t active, double slope,
               index_t outer, index_t channels, index_t inner, index_t past,
               index_t pieces, index_t runs_in_piece) {
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 4 : 8;
    const Given<Real<T>> given{mean, inv_std, gamma, beta, slopes, slope, slope_step, active};
    const Rows rows = Rows::of<V>(outer, channels, inner);
    Run<T, V> runs[N];
    for (index_t task = blockIdx.x; task < pieces * channels; task += gridDim.x) {
        const index_t piece = quotient(task, channels), c = task - piece * channels;
        const index_t end = min((piece + 1) * runs_in_piece, rows.total);
        const Channel<Real<T>> channel = channel_of(given, c);
        for (index_t start = piece * runs_in_piece; start < end; start += N * blockDim.x) {
            const Walk<V> walk(rows, c, start, end, blockDim.x);
            const int n = walk.read(x, runs, past != 0);
            write_runs(runs, n, walk, Results<T>{y, x_hat, past}, channel);
        }
    }
}

// instances: A = float, double
template <typename A>
__global__ void inverse_std(const A* var, A* inv_std, double eps, index_t count) {
    for (index_t i = thread_index(); i < count; i += grid_stride())
        inv_std[i] = static_cast<A>(1 / sqrt(static_cast<double>(var[i]) + eps));
}
