// One value of a channel, forward and backward, and moments; what all norm kernels compute with.
//
// Forward is rounded step by step, without contraction: the CPU gets the same bits from the same statistics,
// and backward finds the very z whose sign decided in forward.
//
// Moments are taken in two passes over values in registers, relative to a pivot (the channel's first value),
// and merged level by level with their counts: no cancellation, whatever the mean.

#include "common.cuh"

__device__ __forceinline__ float times(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double times(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double plus(double a, double b) { return __dadd_rn(a, b); }

// Written by other blocks of this launch: not from the first-level cache, which may hold what was there before.
template <typename T>
__device__ __forceinline__ T load_fresh(const T* p) {
    return *const_cast<const volatile T*>(p);
}

// --- several values at once ---

template <typename T, int V>
struct alignas(V * sizeof(T)) Run {
    T at[V];
};

// `last`: nobody reads it again, so that the caches may drop it first.
template <typename T, int V>
__device__ __forceinline__ Run<T, V> load_run(const T* p, bool last = false) {
    if (V * sizeof(T) == 16 && last) {
        const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(p));
        return *reinterpret_cast<const Run<T, V>*>(&bits);
    }
    return *reinterpret_cast<const Run<T, V>*>(p);
}

// `past`: the array is larger than the cache, so that this should push nothing out of it.
template <typename T, int V>
__device__ __forceinline__ void store_run(T* p, const Run<T, V>& run, bool past) {
    if (V * sizeof(T) == 16 && past)
        __stcs(reinterpret_cast<uint4*>(p), *reinterpret_cast<const uint4*>(&run));
    else
        *reinterpret_cast<Run<T, V>*>(p) = run;
}

// --- one channel ---

// What an op is given, as arrays of one value a channel; any may be null. `slopes` are slope_step apart.
template <typename A>
struct Given {
    const A *mean, *inv_std, *gamma, *beta, *slopes;
    double slope;
    index_t slope_step, active;
};

// The same of one channel. Missing statistics, gamma and beta are 0, 1, 1 and 0.
template <typename A>
struct Channel {
    A mean, inv_std, gamma, beta, slope;
    bool active;

    __device__ __forceinline__ A centred(A x) const { return plus(x, -mean); }
    __device__ __forceinline__ A normal(A u) const { return times(u, inv_std); }
    __device__ __forceinline__ A affine(A x_hat) const { return plus(times(gamma, x_hat), beta); }
    // max(z, 0) + slope * min(z, 0); a NaN stays one.
    __device__ __forceinline__ A act(A z) const {
        return active ? plus(z < 0 ? A(0) : z, times(slope, z > 0 ? A(0) : z)) : z;
    }
    // Its derivative, 0 at a NaN.
    __device__ __forceinline__ A act_slope(A z) const { return z > 0 ? A(1) : z <= 0 ? slope : A(0); }
};

template <typename A>
__device__ __forceinline__ Channel<A> parameters_of(const Given<A>& given, index_t c) {
    return {A(0),
            A(1),
            given.gamma ? given.gamma[c] : A(1),
            given.beta ? given.beta[c] : A(0),
            given.slopes ? given.slopes[c * given.slope_step] : static_cast<A>(given.slope),
            given.active != 0};
}

// `fresh`: the statistics were written by this launch.
template <typename A>
__device__ __forceinline__ Channel<A> channel_of(const Given<A>& given, index_t c, bool fresh = false) {
    Channel<A> channel = parameters_of(given, c);
    if (given.mean) channel.mean = fresh ? load_fresh(given.mean + c) : given.mean[c];
    if (given.inv_std) channel.inv_std = fresh ? load_fresh(given.inv_std + c) : given.inv_std[c];
    return channel;
}

// y, and x_hat if `hat`, of one run. What is kept as x_hat is what y is computed from, also where it is
// rounded to a half type.
template <typename T, int V>
__device__ __forceinline__ void apply_run(const Run<T, V>& x, Run<T, V>& y, Run<T, V>& x_hat, bool hat,
                                          const Channel<Real<T>>& channel) {
    for (int j = 0; j < V; ++j) {
        Real<T> h = channel.normal(channel.centred(to_real(x.at[j])));
        if (hat) {
            x_hat.at[j] = from_real<T>(h);
            h = to_real(x_hat.at[j]);
        }
        y.at[j] = from_real<T>(channel.act(channel.affine(h)));
    }
}

// --- moments ---

template <typename A>
struct Moments {
    A count, mean, m2;
};

// A pivot must not make values infinite or NaN that are not.
template <typename A>
__device__ __forceinline__ A finite_or_zero(A value) {
    return value - value == 0 ? value : A(0);
}

template <typename A>
__device__ __forceinline__ Moments<A> merged(const Moments<A>& a, const Moments<A>& b) {
    const A count = a.count + b.count, share = count > 0 ? b.count / count : A(0), d = b.mean - a.mean;
    return {count, a.mean + d * share, a.m2 + b.m2 + d * d * a.count * share};
}

// Of threads that stand above each other: merged in pairs, the value of row 0 is that of the column, in `shared`
// behind the barrier. Blocks are 32 wide, a power of two deep; `shared` has room for a value of each thread.
template <class M>
__device__ __forceinline__ void merge_down(M value, M* shared) {
    const int place = thread_in_block();
    shared[place] = value;
    for (int rows = static_cast<int>(blockDim.y) / 2; rows > 0; rows /= 2) {
        __syncthreads();  // until the rows below have merged theirs
        if (static_cast<int>(threadIdx.y) < rows) {
            value = merged(value, shared[place + 32 * rows]);
            shared[place] = value;
        }
    }
    __syncthreads();  // until row 0 is merged
}

// Moments of the first n of N runs, in registers, relative to the pivot.
template <typename T, int V, int N>
__device__ __forceinline__ Moments<Real<T>> moments_of(const Run<T, V> (&x)[N], int n, Real<T> pivot) {
    using A = Real<T>;
    A sum = 0, m2 = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n)
            for (int j = 0; j < V; ++j) sum += to_real(x[i].at[j]) - pivot;
    const A count = static_cast<A>(n * V), mean = n ? sum / count : A(0);
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < n)
            for (int j = 0; j < V; ++j) {
                const A d = to_real(x[i].at[j]) - pivot - mean;
                m2 += d * d;
            }
    return {count, mean, m2};
}

// Moments of all lanes' values, in all lanes.
template <typename A>
__device__ __forceinline__ Moments<A> warp_moments(const Moments<A>& m) {
    const A count = warp_sum(m.count), sum = warp_sum(m.count * m.mean);
    const A mean = count > 0 ? sum / count : A(0), d = m.mean - mean;
    return {count, mean, warp_sum(m.m2 + m.count * d * d)};
}

// Moments of all threads' values, in the first warp. `shared` has room for 32 and is free again behind the
// next barrier.
template <typename A>
__device__ __forceinline__ Moments<A> block_moments(Moments<A> m, Moments<A>* shared) {
    const int lane = thread_in_block() % 32, warp = thread_in_block() / 32;
    m = warp_moments(m);
    if (lane == 0) shared[warp] = m;
    __syncthreads();  // until all warps' moments are there
    if (warp == 0) {
        m = lane * 32 < threads_in_block() ? shared[lane] : Moments<A>{A(0), A(0), A(0)};
        m = warp_moments(m);
    }
    return m;
}

// Where a channel's statistics go; each may be null. Variances are rounded before they are inverted, as on
// the CPU.
template <typename A>
struct Statistics {
    A *mean, *var, *inv_std;
    double *mean64, *m2;
    double eps;
};

template <typename A>
__device__ __forceinline__ void keep(const Statistics<A>& out, index_t c, double mean, double m2, double count) {
    const A var = static_cast<A>(m2 / count);
    if (out.mean) out.mean[c] = static_cast<A>(mean);
    if (out.var) out.var[c] = var;
    if (out.inv_std) out.inv_std[c] = static_cast<A>(1 / sqrt(static_cast<double>(var) + out.eps));
    if (out.mean64) out.mean64[c] = mean;
    if (out.m2) out.m2[c] = m2;
}

// --- backward ---

// Sums over a channel's values, with g = dy * act'(z): of g, of g * (x - mean), of dy * min(z, 0).
template <typename A>
struct Gradients {
    A g, gx, slope;
};

template <typename A>
__device__ __forceinline__ Gradients<A> merged(const Gradients<A>& a, const Gradients<A>& b) {
    return {a.g + b.g, a.gx + b.gx, a.slope + b.slope};
}

template <typename A>
__device__ __forceinline__ Gradients<A> warp_sum(Gradients<A> s) {
    return {warp_sum(s.g), warp_sum(s.gx), warp_sum(s.slope)};
}

template <typename T, int V>
__device__ __forceinline__ void add_gradients(const Run<T, V>& x, const Run<T, V>& dy,
                                              const Channel<Real<T>>& channel, Gradients<Real<T>>& sums) {
    using A = Real<T>;
    for (int j = 0; j < V; ++j) {
        const A u = channel.centred(to_real(x.at[j])), d = to_real(dy.at[j]);
        A g = d;
        if (channel.active) {
            const A z = channel.affine(channel.normal(u));
            if (!(z > 0)) sums.slope += d * z;
            g = d * channel.act_slope(z);
        }
        sums.g += g;
        sums.gx += g * u;
    }
}

// Sums of the block in the first warp, in double from the warps' on. `shared`: as for block_moments.
template <typename A>
__device__ __forceinline__ Gradients<double> block_gradients(const Gradients<A>& s, Gradients<double>* shared) {
    const int lane = thread_in_block() % 32, warp = thread_in_block() / 32;
    const Gradients<A> sums = warp_sum(s);
    Gradients<double> all{0, 0, 0};
    if (lane == 0) shared[warp] = {sums.g, sums.gx, sums.slope};
    __syncthreads();  // until all warps' sums are there
    if (warp == 0) {
        if (lane * 32 < threads_in_block()) all = shared[lane];
        all = warp_sum(all);
    }
    return all;
}

// dx = from_dy * g + (from_x * (x - mean) + constant), or with given statistics from_dy * g.
template <typename A>
struct Factors {
    A from_dy, from_x, constant;
    bool given;
};

template <typename T, int V>
__device__ __forceinline__ Run<T, V> gradient_run(const Run<T, V>& x, const Run<T, V>& dy,
                                                  const Channel<Real<T>>& channel, const Factors<Real<T>>& s) {
    using A = Real<T>;
    Run<T, V> dx;
    for (int j = 0; j < V; ++j) {
        const A u = channel.centred(to_real(x.at[j]));
        A g = to_real(dy.at[j]);
        if (channel.active) g *= channel.act_slope(channel.affine(channel.normal(u)));
        g *= s.from_dy;
        if (!s.given) g += s.from_x * u + s.constant;
        dx.at[j] = from_real<T>(g);
    }
    return dx;
}

// What from_x and constant are for means of g and g * x_hat; `normal`: inv_std of x, 1 where x is x_hat.
struct Factors64 {
    double from_x, constant;
};

__device__ __forceinline__ Factors64 factors_of(double from_dy, double normal, double mean_g, double mean_gx) {
    return {-from_dy * mean_gx * normal, -from_dy * mean_g};
}

// The same from arrays of means, or from none: given statistics.
template <typename A>
__device__ __forceinline__ Factors<A> factors_from(const Channel<A>& channel, A inv_std, const double* mean_g,
                                                   const double* mean_gx, index_t c) {
    const A from_dy = channel.gamma * inv_std;
    if (!mean_g) return {from_dy, A(0), A(0), true};
    const Factors64 f = factors_of(static_cast<double>(channel.gamma) * inv_std, channel.inv_std, mean_g[c], mean_gx[c]);
    return {from_dy, static_cast<A>(f.from_x), static_cast<A>(f.constant), false};
}

// Where a channel's sums go; each may be null. The first three are added to; sum_g and sum_gx (of g * x_hat)
// are written, and so are, two values a channel, from_x and constant of its Factors.
template <typename A>
struct GradientSums {
    A *dgamma, *dbeta, *dslope;
    double *sum_g, *sum_gx;
    A* factors;
    const A* inv_std;
    index_t x_is_hat;
    double count;
};

// from_x and constant from a channel's sums of g and g * (x - mean).
template <typename A>
__device__ __forceinline__ Factors64 factors_of(const GradientSums<A>& out, index_t c, A gamma,
                                                const Gradients<double>& sums) {
    const double inv_std = out.inv_std ? static_cast<double>(out.inv_std[c]) : 1.0;
    const double normal = out.x_is_hat ? 1.0 : inv_std;
    return factors_of(gamma * inv_std / out.count, normal, sums.g, sums.gx * normal);
}

template <typename A>
__device__ __forceinline__ void keep(const GradientSums<A>& out, index_t c, A gamma, Gradients<double> sums) {
    if (out.factors) {
        const Factors64 f = factors_of(out, c, gamma, sums);
        out.factors[2 * c] = static_cast<A>(f.from_x);
        out.factors[2 * c + 1] = static_cast<A>(f.constant);
    }
    if (out.inv_std && !out.x_is_hat) sums.gx *= static_cast<double>(out.inv_std[c]);
    if (out.dgamma) out.dgamma[c] = static_cast<A>(out.dgamma[c] + sums.gx);
    if (out.dbeta) out.dbeta[c] = static_cast<A>(out.dbeta[c] + sums.g);
    if (out.dslope) out.dslope[c] = static_cast<A>(out.dslope[c] + sums.slope);
    if (out.sum_g) out.sum_g[c] = sums.g;
    if (out.sum_gx) out.sum_gx[c] = sums.gx;
}
