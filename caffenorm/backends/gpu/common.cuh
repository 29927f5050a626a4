// What all kernels share: element types, 16-byte packs, sums over warps and blocks.
//
// Plain CUDA C++17 without standard headers (NVRTC has none). cuda.py inlines this text where a source says
// #include "common.cuh", and defines CAFFENORM_HALF or CAFFENORM_BFLOAT16 when a kernel is instantiated for
// these types: their headers take longer to compile than most kernels.
//
// Every scalar parameter of a __global__ function is an index_t or a double; arrays are pointers, which may
// be null where the kernel says so.
//
// Tests compile each kernel with all values of its template parameters: a `typename` is float and double, in
// the norm, channel, statistics and activation families half and bfloat16 too, a `bool` is both. What takes
// other values says so in a comment right above the kernel, `// instances: WIDTH = 1, 4; T = float, double`.
//
// Sums: warp_sum adds lanes in a butterfly, block_sum adds the warps' sums in one more; both are trees of a
// fixed shape, so that results repeat bit by bit. Blocks have whole warps (a multiple of 32 threads).

#ifdef CAFFENORM_HALF
#include <cuda_fp16.h>
#else
struct __half;
#endif
#ifdef CAFFENORM_BFLOAT16
#include <cuda_bf16.h>
#else
struct __nv_bfloat16;
#endif

using index_t = long long;

// --- element types ---

// What values of T are computed in: float for all but double.
template <typename T>
struct Accumulate {
    using type = float;
};
template <>
struct Accumulate<double> {
    using type = double;
};
template <typename T>
using Real = typename Accumulate<T>::type;

__device__ __forceinline__ float to_real(float value) { return value; }
__device__ __forceinline__ double to_real(double value) { return value; }
#ifdef CAFFENORM_HALF
__device__ __forceinline__ float to_real(__half value) { return __half2float(value); }
#endif
#ifdef CAFFENORM_BFLOAT16
__device__ __forceinline__ float to_real(__nv_bfloat16 value) { return __bfloat162float(value); }
#endif

template <typename T>
struct FromReal {
    static __device__ __forceinline__ T convert(Real<T> value) { return value; }
};
#ifdef CAFFENORM_HALF
template <>
struct FromReal<__half> {
    static __device__ __forceinline__ __half convert(float value) { return __float2half_rn(value); }
};
#endif
#ifdef CAFFENORM_BFLOAT16
template <>
struct FromReal<__nv_bfloat16> {
    static __device__ __forceinline__ __nv_bfloat16 convert(float value) { return __float2bfloat16_rn(value); }
};
#endif

// The value as T, rounded to nearest.
template <typename T>
__device__ __forceinline__ T from_real(Real<T> value) {
    return FromReal<T>::convert(value);
}

// The value at p in the type it is computed in.
template <typename T>
__device__ __forceinline__ Real<T> load(const T* p) {
    return to_real(*p);
}

template <typename T>
__device__ __forceinline__ void store(T* p, Real<T> value) {
    *p = from_real<T>(value);
}

template <typename A>
__device__ __forceinline__ bool is_nan(A value) {
    return value != value;
}

// The lowest finite value of float or double.
template <typename A>
__device__ __forceinline__ A lowest();
template <>
__device__ __forceinline__ float lowest<float>() {
    return -3.402823466e+38f;
}
template <>
__device__ __forceinline__ double lowest<double>() {
    return -1.7976931348623157e+308;
}

// --- 16 bytes at once ---

template <typename T>
struct alignas(16) Pack {
    T at[16 / sizeof(T)];
};

template <typename T>
__host__ __device__ constexpr int pack_size() {
    return 16 / static_cast<int>(sizeof(T));
}

// Whether packs may be read and written at p; a null pointer is aligned.
__device__ __forceinline__ bool is_aligned16(const void* p) {
    return (reinterpret_cast<unsigned long long>(p) & 15) == 0;
}

template <typename T>
__device__ __forceinline__ Pack<T> load_pack(const T* p) {
    return *reinterpret_cast<const Pack<T>*>(p);
}

template <typename T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T>& pack) {
    *reinterpret_cast<Pack<T>*>(p) = pack;
}

// --- division ---

struct Division {
    index_t quotient, rest;
};

// a / b for a >= 0, b > 0; with 32 bits where they suffice, which takes a fifth of the time.
__device__ __forceinline__ Division divide(index_t a, index_t b) {
    if ((static_cast<unsigned long long>(a | b) >> 32) == 0) {
        const unsigned n = static_cast<unsigned>(a), d = static_cast<unsigned>(b), q = n / d;
        return {static_cast<index_t>(q), static_cast<index_t>(n - q * d)};
    }
    const index_t q = a / b;
    return {q, a - q * b};
}

__device__ __forceinline__ index_t quotient(index_t a, index_t b) { return divide(a, b).quotient; }

// --- where a thread stands ---

// Number of this thread in the whole launch, and how many there are; both along x.
__device__ __forceinline__ index_t thread_index() {
    return static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ index_t grid_stride() { return static_cast<index_t>(gridDim.x) * blockDim.x; }

// Number of this thread in its block, whatever the block's axes.
__device__ __forceinline__ int thread_in_block() {
    return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ __forceinline__ int threads_in_block() {
    return static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
}

// The memory whose size the launch gives (`shared=`), as an array of `type`, aligned to 16 bytes.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name)                                                 \
    extern __shared__ __align__(16) unsigned char caffenorm_dynamic_shared[];      \
    type* name = reinterpret_cast<type*>(caffenorm_dynamic_shared)
#endif

// --- sums ---

// Two sums that are taken together.
template <typename A>
struct Pair {
    A first, second;
};
template <typename A>
__device__ __forceinline__ Pair<A> operator+(const Pair<A>& a, const Pair<A>& b) {
    return {a.first + b.first, a.second + b.second};
}

template <typename A>
__device__ __forceinline__ A shuffle_xor(A value, int lanes) {
    return __shfl_xor_sync(0xffffffffu, value, lanes);
}
template <typename A>
__device__ __forceinline__ Pair<A> shuffle_xor(Pair<A> value, int lanes) {
    return {shuffle_xor(value.first, lanes), shuffle_xor(value.second, lanes)};
}

// Sum over the 32 lanes of a warp, the same bits in all of them. A: float, double, an integer or a Pair.
template <typename A>
__device__ __forceinline__ A warp_sum(A value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value = value + shuffle_xor(value, lanes);
    return value;
}

// Sum over the block, the same bits in all threads; all threads call it. `shared` has room for 32 values.
template <typename A>
__device__ __forceinline__ A block_sum_all(A value, A* shared) {
    const int lane = thread_in_block() % 32, warp = thread_in_block() / 32;
    value = warp_sum(value);
    __syncthreads();  // until nobody reads what `shared` held before
    if (lane == 0) shared[warp] = value;
    __syncthreads();  // until all warps' sums are there
    value = lane * 32 < threads_in_block() ? shared[lane] : A{};
    return warp_sum(value);
}

// The same where thread 0 alone needs the sum.
template <typename A>
__device__ __forceinline__ A block_sum(A value, A* shared) {
    const int lane = thread_in_block() % 32, warp = thread_in_block() / 32;
    value = warp_sum(value);
    __syncthreads();  // until nobody reads what `shared` held before
    if (lane == 0) shared[warp] = value;
    __syncthreads();  // until all warps' sums are there
    if (warp == 0) value = warp_sum(lane * 32 < threads_in_block() ? shared[lane] : A{});
    return value;
}
