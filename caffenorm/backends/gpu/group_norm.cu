// Group normalisation, instance and layer norm among it: y = gamma * (x - mean) * inv_std + beta with the
// statistics of a row, `length` = channels / groups * inner values of one sample; row r is group r % groups.
//
// group_norm_rows, group_gradients_rows      a block takes a row, the second reading comes from the caches:
//                                            8 and 12 bytes an element (float)
// group_norm_tasks, group_gradients_tasks    long rows in pieces by one launch, as batch normalisation has it
// weight_rows, weight_columns                sums for dgamma and dbeta, 8 bytes; along a channel's values or,
//                                            where these are few, across channels
//
// Sums as in norm.cu.

#include "norm_rows.cuh"

// gamma and beta of the places of a row; `inner` values share one.
template <typename A>
struct Weights {
    const A *gamma, *beta;
    index_t inner, first;  // first: channel of the row's first value

    __device__ __forceinline__ index_t channel(index_t at) const {
        return first + (inner > 1 ? quotient(at, inner) : at);
    }
};

template <typename A>
__device__ __forceinline__ Weights<A> weights_of(const A* gamma, const A* beta, index_t row, index_t groups,
                                                 index_t length, index_t inner) {
    return {gamma, beta, inner, row % groups * quotient(length, inner)};
}

// gamma and beta of the values of a run that starts at place `at` of its row.
template <int V, typename A>
struct RunWeights {
    A gamma[V], beta[V];

    __device__ __forceinline__ RunWeights(const Weights<A>& weights, index_t at) {
        index_t c = weights.channel(at), left = weights.inner > 1 ? (c - weights.first + 1) * weights.inner - at : 1;
#pragma unroll
        for (int j = 0; j < V; ++j) {
            gamma[j] = weights.gamma ? weights.gamma[c] : A(1);
            beta[j] = weights.beta ? weights.beta[c] : A(0);
            if (--left == 0) {
                ++c;
                left = weights.inner;
            }
        }
    }
};

template <typename T, int V, int N>
__device__ __forceinline__ void write_group(const Run<T, V> (&x)[N], int n, Walk<V> walk, index_t start_of_row, T* y,
                                            bool past, Real<T> mean, Real<T> inv_std, const Weights<Real<T>>& weights) {
    using A = Real<T>;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < n) {
            const RunWeights<V, A> at(weights, walk.at - start_of_row);
            Run<T, V> out;
            for (int j = 0; j < V; ++j) {
                const A h = times(plus(to_real(x[i].at[j]), -mean), inv_std);
                out.at[j] = from_real<T>(plus(times(at.gamma[j], h), at.beta[j]));
            }
            store_run(y + walk.at, out, past);
        }
        walk.next();
    }
}

// Rows as the channels of an array (1, rows, length).
template <typename T, bool PACKED>
__global__ void __launch_bounds__(512)
    group_norm_rows(const T* x, T* y, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double eps, const Real<T>* gamma,
                    const Real<T>* beta, index_t rows, index_t length, index_t groups, index_t inner, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 4 : 8;
    __shared__ Moments<A> shared[WHOLE_THREADS / 32];
    __shared__ A of_row[2];
    const Rows shape = Rows::of<V>(1, rows, length);
    const index_t row = blockIdx.x, step = static_cast<index_t>(N) * blockDim.x;
    const A pivot = finite_or_zero(load(x + row * length));
    Moments<A> all{A(0), A(0), A(0)};
    Run<T, V> runs[N];
    int n = 0;
    for (index_t start = 0; start < shape.total; start += step) {
        n = Walk<V>(shape, row, start, shape.total, blockDim.x).read(x, runs, false);
        all = merged(all, moments_of(runs, n, pivot));
    }
    all = block_moments(all, shared);
    if (threadIdx.x == 0) {
        const Statistics<A> out{of_row, var + row, of_row + 1, nullptr, nullptr, eps};
        keep(out, 0, static_cast<double>(pivot) + all.mean, all.m2, static_cast<double>(length));
        mean[row] = of_row[0];
        inv_std[row] = of_row[1];
    }
    __syncthreads();  // until the statistics are there, and all have read what an in-place result overwrites

    const Weights<A> weights = weights_of(gamma, beta, row, groups, length, inner);
    for (index_t start = 0; start < shape.total; start += step) {
        const Walk<V> walk(shape, row, start, shape.total, blockDim.x);
        if (shape.total > step) n = walk.read(x, runs, past != 0);
        write_group(runs, n, walk, row * length, y, past != 0, of_row[0], of_row[1], weights);
    }
}

template <typename T, int V, int N>
struct GroupTasks : MomentTasks<T, V, N> {
    T* y;
    const Real<T>*gamma, *beta;
    index_t length, groups, channel_values, past;

    __device__ __forceinline__ void result(index_t row, index_t piece) {
        const Real<T> mean = load_fresh(this->statistics.mean + row), inv_std = load_fresh(this->statistics.inv_std + row);
        const Weights<Real<T>> weights = weights_of(gamma, beta, row, groups, length, channel_values);
        const index_t end = this->end_of(piece);
        Run<T, V> runs[N];
        for (index_t start = piece * this->runs_in_piece; start < end; start += N * ROW_THREADS) {
            const Walk<V> walk(this->rows, row, start, end, ROW_THREADS);
            const int n = walk.read(this->x, runs, past != 0);
            write_group(runs, n, walk, row * length, y, past != 0, mean, inv_std, weights);
        }
    }
};

template <typename T, bool PACKED>
__global__ void __launch_bounds__(256, 4)
    group_norm_tasks(const T* x, T* y, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double eps, const Real<T>* gamma,
                     const Real<T>* beta, index_t rows, index_t length, index_t groups, index_t inner, index_t past,
                     index_t pieces, index_t runs_in_piece, index_t group, Real<T>* parts, counter_t* counters) {
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 4 : 16;
    GroupTasks<T, V, N> work{{x, {mean, var, inv_std, nullptr, nullptr, eps}, Rows::of<V>(1, rows, length), length,
                              pieces, runs_in_piece, parts},
                             y, gamma, beta, length, groups, inner, past};
    take_tasks({rows, pieces, group}, counters, work);
}

// --- dx ---

// Adds g = gamma * dy and g * (x - mean).
template <typename T, int V, int N>
__device__ __forceinline__ void add_group(const Run<T, V> (&x)[N], const Run<T, V> (&dy)[N], int n, Walk<V> walk,
                                          index_t start_of_row, Real<T> mean, const Weights<Real<T>>& weights,
                                          Gradients<Real<T>>& sums) {
    using A = Real<T>;
    Gradients<A> more{0, 0, 0};
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < n) {
            const RunWeights<V, A> at(weights, walk.at - start_of_row);
            for (int j = 0; j < V; ++j) {
                const A g = at.gamma[j] * to_real(dy[i].at[j]);
                more.g += g;
                more.gx += g * plus(to_real(x[i].at[j]), -mean);
            }
        }
        walk.next();
    }
    sums = {sums.g + more.g, sums.gx + more.gx, A(0)};
}

// dx = inv_std * gamma * dy + (from_x * (x - mean) + constant)
template <typename T, int V, int N>
__device__ __forceinline__ void write_group_gradients(const Run<T, V> (&x)[N], const Run<T, V> (&dy)[N], int n,
                                                      Walk<V> walk, index_t start_of_row, T* dx, bool past, Real<T> mean,
                                                      const Factors<Real<T>>& factors,
                                                      const Weights<Real<T>>& weights) {
    using A = Real<T>;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < n) {
            const RunWeights<V, A> at(weights, walk.at - start_of_row);
            Run<T, V> out;
            for (int j = 0; j < V; ++j) {
                const A u = plus(to_real(x[i].at[j]), -mean);
                out.at[j] = from_real<T>(factors.from_dy * (at.gamma[j] * to_real(dy[i].at[j])) +
                                         (factors.from_x * u + factors.constant));
            }
            store_run(dx + walk.at, out, past);
        }
        walk.next();
    }
}

template <typename T, bool PACKED>
__global__ void __launch_bounds__(512)
    group_gradients_rows(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                         const Real<T>* gamma, index_t rows, index_t length, index_t groups, index_t inner, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 2 : 4;
    __shared__ Gradients<double> shared[WHOLE_THREADS / 32];
    __shared__ A of_row[2];
    const Rows shape = Rows::of<V>(1, rows, length);
    const index_t row = blockIdx.x, step = static_cast<index_t>(N) * blockDim.x;
    const Weights<A> weights = weights_of<A>(gamma, nullptr, row, groups, length, inner);
    const A centre = mean[row], std = inv_std[row];
    Gradients<A> sums{0, 0, 0};
    Run<T, V> xs[N], dys[N];
    int n = 0;
    for (index_t start = 0; start < shape.total; start += step) {
        const Walk<V> walk(shape, row, start, shape.total, blockDim.x);
        walk.read(x, xs, false);
        n = walk.read(dy, dys, false);
        add_group(xs, dys, n, walk, row * length, centre, weights, sums);
    }
    const Gradients<double> all = block_gradients(sums, shared);
    if (threadIdx.x == 0) {
        const double share = 1.0 / static_cast<double>(length);
        const Factors64 factors = factors_of(std, std, all.g * share, all.gx * std * share);
        of_row[0] = static_cast<A>(factors.from_x);
        of_row[1] = static_cast<A>(factors.constant);
    }
    __syncthreads();  // until the sums are there, and all have read what an in-place result overwrites

    const Factors<A> factors{std, of_row[0], of_row[1], false};
    for (index_t start = 0; start < shape.total; start += step) {
        const Walk<V> walk(shape, row, start, shape.total, blockDim.x);
        if (shape.total > step) {
            walk.read(x, xs, past != 0);
            n = walk.read(dy, dys, past != 0);
        }
        write_group_gradients(xs, dys, n, walk, row * length, dx, past != 0, centre, factors, weights);
    }
}

template <typename T, int V, int N>
struct GroupGradientTasks {
    using A = Real<T>;
    const T *x, *dy;
    T* dx;
    const A *mean, *inv_std, *gamma;
    Rows rows;
    index_t length, groups, inner, pieces, runs_in_piece, past;
    double* parts;  // two sums of each piece
    A* factors;     // two of each row

    __device__ __forceinline__ index_t end_of(index_t piece) const {
        return min((piece + 1) * runs_in_piece, rows.total);
    }

    __device__ __forceinline__ void sum(index_t row, index_t piece, counter_t* flag) {
        __shared__ Gradients<double> shared[ROW_THREADS / 32];
        const Weights<A> weights = weights_of<A>(gamma, nullptr, row, groups, length, inner);
        Gradients<A> sums{0, 0, 0};
        Run<T, V> xs[N], dys[N];
        for (index_t start = piece * runs_in_piece; start < end_of(piece); start += N * ROW_THREADS) {
            const Walk<V> walk(rows, row, start, end_of(piece), ROW_THREADS);
            walk.read(x, xs, false);
            const int n = walk.read(dy, dys, false);
            add_group(xs, dys, n, walk, row * length, mean[row], weights, sums);
        }
        const Gradients<double> all = block_gradients(sums, shared);
        if (threadIdx.x >= 32) return;
        if (threadIdx.x == 0) {
            parts[2 * (row * pieces + piece)] = all.g;
            parts[2 * (row * pieces + piece) + 1] = all.gx;
        }
        if (brings_last_sum(flag, pieces)) {
            finish(row);
            raise_flag(flag);
        }
    }

    // By the first warp.
    __device__ __forceinline__ void finish(index_t row) const {
        double g = 0, gx = 0;
        for (index_t k = threadIdx.x; k < pieces; k += 32) {
            g += load_fresh(parts + 2 * (row * pieces + k));
            gx += load_fresh(parts + 2 * (row * pieces + k) + 1);
        }
        g = warp_sum(g);
        gx = warp_sum(gx);
        if (threadIdx.x) return;
        const double std = inv_std[row], share = 1.0 / static_cast<double>(length);
        const Factors64 f = factors_of(std, std, g * share, gx * std * share);
        factors[2 * row] = static_cast<A>(f.from_x);
        factors[2 * row + 1] = static_cast<A>(f.constant);
    }

    __device__ __forceinline__ void result(index_t row, index_t piece) {
        const Weights<A> weights = weights_of<A>(gamma, nullptr, row, groups, length, inner);
        const Factors<A> f{inv_std[row], load_fresh(factors + 2 * row), load_fresh(factors + 2 * row + 1), false};
        Run<T, V> xs[N], dys[N];
        for (index_t start = piece * runs_in_piece; start < end_of(piece); start += N * ROW_THREADS) {
            const Walk<V> walk(rows, row, start, end_of(piece), ROW_THREADS);
            walk.read(x, xs, past != 0);
            const int n = walk.read(dy, dys, past != 0);
            write_group_gradients(xs, dys, n, walk, row * length, dx, past != 0, mean[row], f, weights);
        }
    }
};

template <typename T, bool PACKED>
__global__ void __launch_bounds__(256, 4)
    group_gradients_tasks(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                          const Real<T>* gamma, index_t rows, index_t length, index_t groups, index_t inner, index_t past,
                          index_t pieces, index_t runs_in_piece, index_t group, Real<T>* factors, double* parts,
                          counter_t* counters) {
    constexpr int V = PACKED ? pack_size<T>() : 1, N = PACKED ? 2 : 8;
    GroupGradientTasks<T, V, N> work{
        x, dy, dx, mean, inv_std, gamma, Rows::of<V>(1, rows, length), length, groups, inner, pieces, runs_in_piece,
        past, parts, factors};
    take_tasks({rows, pieces, group}, counters, work);
}

// --- dgamma and dbeta ---
//
// Parts have three values, of dy, of dy * x_hat, and nothing: norm_columns.cu adds them up.

// A block takes a channel of some samples, a warp one after the other of them.
template <typename T, bool PACKED>
__global__ void __launch_bounds__(256)
    weight_rows(const T* x, const T* dy, const Real<T>* mean, const Real<T>* inv_std, index_t outer, index_t channels,
                index_t inner, index_t groups, index_t samples, index_t pieces, double* parts) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1;
    __shared__ Gradients<double> shared[ROW_THREADS / 32];
    const index_t each = quotient(channels, groups);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (index_t task = blockIdx.x; task < channels * pieces; task += gridDim.x) {
        const index_t piece = quotient(task, channels), c = task - piece * channels;
        const index_t end = min((piece + 1) * samples, outer);
        Gradients<A> sums{0, 0, 0};
        for (index_t sample = piece * samples + warp; sample < end; sample += warps) {
            const index_t row = sample * groups + quotient(c, each), at = (sample * channels + c) * inner;
            const A centre = mean[row], std = inv_std[row];
            Gradients<A> more{0, 0, 0};
#pragma unroll 4
            for (index_t i = lane * V; i < inner; i += 32 * V) {
                const Run<T, V> xs = load_run<T, V>(x + at + i), dys = load_run<T, V>(dy + at + i);
                for (int j = 0; j < V; ++j) {
                    const A d = to_real(dys.at[j]);
                    more.g += d;
                    more.gx += d * plus(to_real(xs.at[j]), -centre);
                }
            }
            sums = {sums.g + more.g, sums.gx + more.gx * std, A(0)};
        }
        const Gradients<double> all = block_gradients(sums, shared);
        if (threadIdx.x == 0) {
            double* part = parts + 3 * (piece * channels + c);
            part[0] = all.g;
            part[1] = all.gx;
            part[2] = 0;
        }
        __syncthreads();  // until the warps' sums have been read
    }
}

// Blocks of (32, 8) threads: 32 columns of a sample along x of the grid, pieces of samples along y.
template <typename T>
__global__ void __launch_bounds__(256)
    weight_columns(const T* x, const T* dy, const Real<T>* mean, const Real<T>* inv_std, index_t outer, index_t width,
                   index_t length, index_t groups, index_t samples, double* parts) {
    using A = Real<T>;
    constexpr int DOWN = 8;
    __shared__ Gradients<A> shared[DOWN][32];
    const index_t column = static_cast<index_t>(blockIdx.x) * 32 + threadIdx.x;
    Gradients<A> sums{0, 0, 0};
    if (column < width) {
        const index_t group = quotient(column, length), end = min((blockIdx.y + 1) * samples, outer);
#pragma unroll 4
        for (index_t sample = blockIdx.y * samples + threadIdx.y; sample < end; sample += DOWN) {
            const index_t row = sample * groups + group;
            const A d = load(dy + sample * width + column);
            sums.g += d;
            sums.gx += d * times(plus(load(x + sample * width + column), -mean[row]), inv_std[row]);
        }
    }
    shared[threadIdx.y][threadIdx.x] = sums;
    __syncthreads();  // until all rows' sums are there
    if (threadIdx.y || column >= width) return;
    double* part = parts + 3 * (blockIdx.y * width + column);
    part[0] = part[1] = part[2] = 0;
    for (int k = 0; k < DOWN; ++k) {
        part[0] += shared[k][threadIdx.x].g;
        part[1] += shared[k][threadIdx.x].gx;
    }
}
