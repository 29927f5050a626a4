// Batch normalisation where a channel has few values in a row (inner < 16): threads stand side by side across
// channels, and go down the rows. An array narrower than a few warps is taken several rows at a time: columns
// are the places of `width` values, and column w belongs to channel w / inner % channels.
//
// columns_whole, gradients_columns_whole    a block holds some channels in registers: 8 and 12 bytes an element
// column_moments, column_sums               sums of columns in pieces, finished by finish_moments and
//                                           finish_sums: 4 and 8 bytes
// apply_columns, gradients_columns          results: 8 and 12 bytes
//
// Sums as in norm.cu: float down a column's piece, double from there on, in index order.

#include "norm_channel.cuh"

constexpr int LANES = 32;

// --- a block holds some channels ---

// The place of a thread in a block that holds whole channels: its column of the array, and the first of its rows.
struct Place {
    int column, columns;  // in the block
    index_t at, channel;
    bool inside;

    __device__ __forceinline__ Place(index_t channels, index_t inner) {
        const int each = LANES / static_cast<int>(inner);
        const index_t first = static_cast<index_t>(blockIdx.x) * each;
        columns = static_cast<int>(min(static_cast<index_t>(each), channels - first) * inner);
        column = threadIdx.x;
        inside = column < columns;
        at = first * inner + column;
        channel = first + column / static_cast<int>(inner);
    }
};

// Reads N rows of a column, `step` apart, and says how many there were.
template <typename T, int N>
__device__ __forceinline__ int read_column(const T* x, index_t at, index_t row, index_t end, index_t step,
                                           index_t width, Run<T, 1> (&runs)[N]) {
    int n = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (row + i * step < end) {
            runs[i] = load_run<T, 1>(x + at + (row + i * step) * width);
            n = i + 1;
        }
    return n;
}

template <typename T>
__global__ void __launch_bounds__(512)
    columns_whole(const T* x, T* y, T* x_hat, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double eps,
                  const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes, index_t active, double slope,
                  index_t outer, index_t channels, index_t inner) {
    using A = Real<T>;
    constexpr int N = 16;
    __shared__ Moments<A> shared[512];
    __shared__ A of_channel[2][LANES];
    const Place place(channels, inner);
    const index_t width = channels * inner, step = blockDim.y;
    const int head = place.column - place.column % static_cast<int>(inner);
    Run<T, 1> runs[N];

    const int n = place.inside ? read_column(x, place.at, threadIdx.y, outer, step, width, runs) : 0;
    const A pivot = place.inside ? finite_or_zero(load(x + place.channel * inner)) : A(0);
    Channel<A> channel = parameters_of<A>({nullptr, nullptr, gamma, beta, slopes, slope, 1, active},
                                          place.inside ? place.channel : 0);
    merge_down(moments_of(runs, n, pivot), shared);
    if (threadIdx.y == 0 && place.inside && head == place.column) {
        Moments<A> all = shared[head];
        for (int i = 1; i < inner; ++i) all = merged(all, shared[head + i]);
        const Statistics<A> out{of_channel[0], nullptr, of_channel[1], nullptr, nullptr, eps};
        const Statistics<A> kept{mean, var, inv_std, nullptr, nullptr, eps};
        const double count = static_cast<double>(outer * inner), centre = static_cast<double>(pivot) + all.mean;
        keep(out, head, centre, all.m2, count);
        keep(kept, place.channel, centre, all.m2, count);
    }
    __syncthreads();  // until the statistics are there

    if (!place.inside) return;
    channel.mean = of_channel[0][head];
    channel.inv_std = of_channel[1][head];
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n) {
            const index_t at = place.at + (threadIdx.y + i * step) * width;
            Run<T, 1> out, hat;
            apply_run(runs[i], out, hat, x_hat != nullptr, channel);
            if (x_hat) store_run(x_hat + at, hat, false);
            store_run(y + at, out, false);
        }
}

template <typename T>
__global__ void __launch_bounds__(512)
    gradients_columns_whole(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                            const Real<T>* gamma, const Real<T>* beta, const Real<T>* slopes, index_t active,
                            double slope, index_t x_is_hat, Real<T>* dgamma, Real<T>* dbeta, Real<T>* dslope,
                            index_t outer, index_t channels, index_t inner) {
    using A = Real<T>;
    constexpr int N = 16;
    __shared__ Gradients<A> shared[512];
    __shared__ A of_channel[2][LANES];
    const Place place(channels, inner);
    const index_t width = channels * inner, step = blockDim.y;
    const int head = place.column - place.column % static_cast<int>(inner);
    Run<T, 1> xs[N], dys[N];
    Channel<A> channel = channel_of<A>(
        {x_is_hat ? nullptr : mean, x_is_hat ? nullptr : inv_std, gamma, beta, slopes, slope, 1, active},
        place.inside ? place.channel : 0);

    int n = 0;
    Gradients<A> sums{0, 0, 0};
    if (place.inside) {
        n = read_column(x, place.at, threadIdx.y, outer, step, width, xs);
        read_column(dy, place.at, threadIdx.y, outer, step, width, dys);
    }
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n) add_gradients(xs[i], dys[i], channel, sums);
    merge_down(sums, shared);
    const GradientSums<A> out{dgamma, dbeta, dslope, nullptr, nullptr, nullptr, inv_std, x_is_hat,
                              static_cast<double>(outer * inner)};
    const bool finishes = threadIdx.y == 0 && place.inside && head == place.column;
    Gradients<double> all{0, 0, 0};
    if (finishes) {
        for (int i = 0; i < inner; ++i) {
            const Gradients<A> part = shared[head + i];
            all = {all.g + part.g, all.gx + part.gx, all.slope + part.slope};
        }
        const Factors64 factors = factors_of(out, place.channel, channel.gamma, all);
        of_channel[0][head] = static_cast<A>(factors.from_x);
        of_channel[1][head] = static_cast<A>(factors.constant);
    }
    __syncthreads();  // until the factors are there
    if (finishes) keep(out, place.channel, channel.gamma, all);  // nobody waits for what it reads

    if (!place.inside || !dx) return;
    const Factors<A> factors{channel.gamma * inv_std[place.channel], of_channel[0][head], of_channel[1][head], false};
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n) {
            const index_t at = place.at + (threadIdx.y + i * step) * width;
            store_run(dx + at, gradient_run(xs[i], dys[i], channel, factors), false);
        }
}

// --- sums of columns ---
//
// Blocks of (32, 8) threads: 32 columns along x of the grid, pieces of rows along y. Part (piece * width + column)
// has three values.

template <typename T>
__global__ void __launch_bounds__(256)
    column_moments(const T* x, index_t outer, index_t channels, index_t inner, index_t width, index_t rows_in_piece,
                   Real<T>* parts) {
    using A = Real<T>;
    constexpr int N = 8, DOWN = 8;
    __shared__ Moments<A> shared[DOWN][LANES];
    const index_t column = static_cast<index_t>(blockIdx.x) * LANES + threadIdx.x, total = outer * channels * inner;
    Moments<A> all{A(0), A(0), A(0)};
    if (column < width) {
        const A pivot = finite_or_zero(load(x + quotient(column, inner) % channels * inner));
        const index_t rows = quotient(total - column + width - 1, width);  // the last row may be shorter
        const index_t first = blockIdx.y * rows_in_piece, end = min(first + rows_in_piece, rows);
        for (index_t row = first + threadIdx.y; row < end; row += N * DOWN) {
            Run<T, 1> runs[N];
            const int n = read_column(x, column, row, end, DOWN, width, runs);
            all = merged(all, moments_of(runs, n, pivot));
        }
    }
    shared[threadIdx.y][threadIdx.x] = all;
    __syncthreads();  // until all rows' moments are there
    if (threadIdx.y || column >= width) return;
    for (int k = 1; k < DOWN; ++k) all = merged(all, shared[k][threadIdx.x]);
    A* part = parts + 3 * (blockIdx.y * width + column);
    part[0] = all.count;
    part[1] = all.mean;
    part[2] = all.m2;
}

// The parts of channel c: in each piece `repeat` times `inner` columns.
struct Parts {
    index_t channels, inner, repeat, pieces;

    __device__ __forceinline__ index_t count() const { return pieces * repeat * inner; }
    __device__ __forceinline__ index_t number(index_t c, index_t i) const {
        const index_t run = quotient(i, inner);
        return (run * channels + c) * inner + (i - run * inner);
    }
};

// A block for each channel.
template <typename T>
__global__ void __launch_bounds__(256)
    finish_moments(const T* x, const Real<T>* parts, Real<T>* mean, Real<T>* var, Real<T>* inv_std, double* mean64,
                   double* m2, double eps, index_t channels, index_t inner, index_t repeat, index_t pieces) {
    __shared__ Pair<double> shared[32];
    __shared__ double shared_squares[32];
    const Parts at{channels, inner, repeat, pieces};
    for (index_t c = blockIdx.x; c < channels; c += gridDim.x) {
        Pair<double> counted{0, 0};
        double squares = 0;
        for (index_t i = threadIdx.x; i < at.count(); i += blockDim.x) {
            const Real<T>* part = parts + 3 * at.number(c, i);
            counted.first += part[0];
            counted.second += static_cast<double>(part[0]) * part[1];
        }
        counted = block_sum_all(counted, shared);
        const double count = counted.first, centre = counted.second / count;
        for (index_t i = threadIdx.x; i < at.count(); i += blockDim.x) {
            const Real<T>* part = parts + 3 * at.number(c, i);
            const double d = part[1] - centre;
            squares += part[2] + part[0] * d * d;
        }
        squares = block_sum(squares, shared_squares);
        const double pivot = finite_or_zero(load(x + c * inner));
        if (threadIdx.x == 0) keep<Real<T>>({mean, var, inv_std, mean64, m2, eps}, c, pivot + centre, squares, count);
    }
}

template <typename T>
__global__ void __launch_bounds__(256)
    column_sums(const T* x, const T* dy, const Real<T>* mean, const Real<T>* inv_std, const Real<T>* gamma,
                const Real<T>* beta, const Real<T>* slopes, index_t slope_step, index_t active, double slope,
                index_t outer, index_t channels, index_t inner, index_t width, index_t rows_in_piece, double* parts) {
    using A = Real<T>;
    constexpr int N = 8, DOWN = 8;
    __shared__ Gradients<A> shared[DOWN][LANES];
    const index_t column = static_cast<index_t>(blockIdx.x) * LANES + threadIdx.x, total = outer * channels * inner;
    Gradients<A> sums{0, 0, 0};
    if (column < width) {
        const Channel<A> channel = channel_of<A>(
            {mean, inv_std, gamma, beta, slopes, slope, slope_step, active}, quotient(column, inner) % channels);
        const index_t rows = quotient(total - column + width - 1, width);  // the last row may be shorter
        const index_t first = blockIdx.y * rows_in_piece, end = min(first + rows_in_piece, rows);
        Run<T, 1> xs[N], dys[N];
#pragma unroll
        for (int i = 0; i < N; ++i) xs[i].at[0] = from_real<T>(0);
        for (index_t row = first + threadIdx.y; row < end; row += N * DOWN) {
            Gradients<A> more{0, 0, 0};
            if (x) read_column(x, column, row, end, DOWN, width, xs);
            const int n = read_column(dy, column, row, end, DOWN, width, dys);
#pragma unroll
            for (int i = 0; i < N; ++i)
                if (i < n) add_gradients(xs[i], dys[i], channel, more);
            sums = {sums.g + more.g, sums.gx + more.gx, sums.slope + more.slope};
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
        part[2] += shared[k][threadIdx.x].slope;
    }
}

// A block for each channel. `inv_std` turns sums of g * (x - mean) into such of g * x_hat; it may be null.
// instances: A = float, double
template <typename A>
__global__ void __launch_bounds__(256)
    finish_sums(const double* parts, const A* inv_std, A* dgamma, A* dbeta, A* dslope, double* sum_g,
                double* sum_gx, double share, index_t channels, index_t inner, index_t repeat, index_t pieces) {
    __shared__ Gradients<double> shared[32];
    const Parts at{channels, inner, repeat, pieces};
    for (index_t c = blockIdx.x; c < channels; c += gridDim.x) {
        Gradients<double> all{0, 0, 0};
        for (index_t i = threadIdx.x; i < at.count(); i += blockDim.x) {
            const double* part = parts + 3 * at.number(c, i);
            all = {all.g + part[0], all.gx + part[1], all.slope + part[2]};
        }
        all = block_gradients(all, shared);
        if (threadIdx.x == 0) {
            const double normal = inv_std ? static_cast<double>(inv_std[c]) : 1.0;
            keep<A>({dgamma, dbeta, dslope, nullptr, nullptr, nullptr, inv_std, 0, 1.0}, c, A(1), all);
            if (sum_g) sum_g[c] = all.g * share;
            if (sum_gx) sum_gx[c] = all.gx * normal * share;
        }
        __syncthreads();  // until the warps' sums have been read
    }
}

// --- results ---
//
// Blocks of (32, 8) threads; a thread keeps V columns and goes down the rows.

template <typename T, bool PACKED>
__global__ void __launch_bounds__(256)
    apply_columns(const T* x, T* y, T* x_hat, const Real<T>* mean, const Real<T>* inv_std, const Real<T>* gamma,
                  const Real<T>* beta, const Real<T>* slopes, index_t slope_step, index_t active, double slope,
                  index_t total, index_t channels, index_t inner, index_t width, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1;
    const index_t column = (static_cast<index_t>(blockIdx.x) * LANES + threadIdx.x) * V;
    if (column >= width) return;
    Channel<A> channel[V];
#pragma unroll
    for (int j = 0; j < V; ++j)
        channel[j] = channel_of<A>({mean, inv_std, gamma, beta, slopes, slope, slope_step, active},
                                   quotient(column + j, inner) % channels);
    const index_t step = static_cast<index_t>(gridDim.y) * blockDim.y * width;
    for (index_t at = (static_cast<index_t>(blockIdx.y) * blockDim.y + threadIdx.y) * width + column; at < total; at += step) {
        const Run<T, V> run = load_run<T, V>(x + at, past != 0);
        Run<T, V> out, hat;
#pragma unroll
        for (int j = 0; j < V; ++j) {
            Run<T, 1> one{{run.at[j]}}, one_out, one_hat;
            apply_run(one, one_out, one_hat, x_hat != nullptr, channel[j]);
            out.at[j] = one_out.at[0];
            if (x_hat) hat.at[j] = one_hat.at[0];
        }
        if (x_hat) store_run(x_hat + at, hat, past != 0);
        store_run(y + at, out, past != 0);
    }
}

template <typename T, bool PACKED>
__global__ void __launch_bounds__(256)
    gradients_columns(const T* x, const T* dy, T* dx, const Real<T>* mean, const Real<T>* inv_std,
                      const double* mean_g, const double* mean_gx, const Real<T>* gamma, const Real<T>* beta,
                      const Real<T>* slopes, index_t slope_step, index_t active, double slope, index_t x_is_hat,
                      index_t total, index_t channels, index_t inner, index_t width, index_t past) {
    using A = Real<T>;
    constexpr int V = PACKED ? pack_size<T>() : 1;
    const index_t column = (static_cast<index_t>(blockIdx.x) * LANES + threadIdx.x) * V;
    if (column >= width) return;
    Channel<A> channel[V];
    Factors<A> factors[V];
#pragma unroll
    for (int j = 0; j < V; ++j) {
        const index_t c = quotient(column + j, inner) % channels;
        channel[j] = channel_of<A>({x_is_hat ? nullptr : mean, x_is_hat ? nullptr : inv_std, gamma, beta, slopes, slope,
                                    slope_step, active}, c);
        factors[j] = factors_from(channel[j], inv_std ? inv_std[c] : A(1), mean_g, mean_gx, c);
    }
    const index_t step = static_cast<index_t>(gridDim.y) * blockDim.y * width;
    for (index_t at = (static_cast<index_t>(blockIdx.y) * blockDim.y + threadIdx.y) * width + column; at < total; at += step) {
        const Run<T, V> gradient = load_run<T, V>(dy + at, past != 0);
        Run<T, V> run = gradient, out;
        if (active || mean_g) run = load_run<T, V>(x + at, past != 0);
#pragma unroll
        for (int j = 0; j < V; ++j)
            out.at[j] = gradient_run(Run<T, 1>{{run.at[j]}}, Run<T, 1>{{gradient.at[j]}}, channel[j], factors[j]).at[0];
        store_run(dx + at, out, past != 0);
    }
}
