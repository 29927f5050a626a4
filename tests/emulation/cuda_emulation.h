// CUDA's language on the host: put before a .cu text, it lets a C++ compiler build the kernels as they stand.
//
// Threads of a block are coroutines of one host thread, and blocks run one after another, so a __shared__
// variable is a static one. runtime.cpp switches between threads where they wait for each other, in an order
// that changes from wait to wait, and reports what CUDA leaves undefined. driver.py builds one shared library a
// kernel and adds the entry that names it; the library's .bss then is the kernel's static shared memory.

#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __shared__ static
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulation::runtime->dynamic_shared)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
#define EMULATED_VECTOR(type, base)                                                                        \
    struct alignas(sizeof(base) * 2) type##2 { base x, y; };                                               \
    struct alignas(sizeof(base) * 4 > 16 ? 16 : sizeof(base) * 4) type##4 { base x, y, z, w; };            \
    inline type##2 make_##type##2(base x, base y) { return {x, y}; }                                       \
    inline type##4 make_##type##4(base x, base y, base z, base w) { return {x, y, z, w}; }
typedef unsigned int uint;
EMULATED_VECTOR(float, float)
EMULATED_VECTOR(double, double)
EMULATED_VECTOR(int, int)
EMULATED_VECTOR(uint, unsigned)
EMULATED_VECTOR(short, short)
EMULATED_VECTOR(ushort, unsigned short)
EMULATED_VECTOR(longlong, long long)
EMULATED_VECTOR(ulonglong, unsigned long long)
#undef EMULATED_VECTOR

// --- the runtime, one for all libraries ---

namespace emulation {

enum WarpOp { SHUFFLE, SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_XOR, BALLOT, ANY, ALL, SYNC };

struct Runtime {
    // Of the running thread and its block.
    uint3 thread, block, threads, blocks;
    unsigned char* dynamic_shared;

    void (*barrier)(const char* file, int line);
    unsigned long long (*warp)(WarpOp op, unsigned mask, unsigned long long value, int argument, int width,
                               const char* file, int line);
    void (*fail)(const char* message);
};

extern Runtime* runtime;  // set when the driver loads the library; outside of .bss

template <typename T>
inline T exchange(WarpOp op, unsigned mask, T value, int argument, int width, const char* file, int line) {
    static_assert(sizeof(T) <= 8, "shuffles take values of up to 8 bytes");
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = runtime->warp(op, mask, bits, argument, width, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace emulation

#define threadIdx (emulation::runtime->thread)
#define blockIdx (emulation::runtime->block)
#define blockDim (emulation::runtime->threads)
#define gridDim (emulation::runtime->blocks)
static const int warpSize = 32;

// --- waiting for each other ---

#define EMULATED_HERE __builtin_FILE(), __builtin_LINE()
#define EMULATED_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATED_WHERE) { emulation::runtime->barrier(file, line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATED_WHERE) {
    emulation::runtime->warp(emulation::SYNC, mask, 0, 0, 32, file, line);
}
template <typename T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMULATED_WHERE) {
    return emulation::exchange(emulation::SHUFFLE, mask, value, lane, width, file, line);
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_WHERE) {
    return emulation::exchange(emulation::SHUFFLE_UP, mask, value, static_cast<int>(delta), width, file, line);
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_WHERE) {
    return emulation::exchange(emulation::SHUFFLE_DOWN, mask, value, static_cast<int>(delta), width, file, line);
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMULATED_WHERE) {
    return emulation::exchange(emulation::SHUFFLE_XOR, mask, value, lanes, width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATED_WHERE) {
    return static_cast<unsigned>(
        emulation::runtime->warp(emulation::BALLOT, mask, predicate != 0, 0, 32, file, line));
}
inline int __any_sync(unsigned mask, int predicate, EMULATED_WHERE) {
    return static_cast<int>(emulation::runtime->warp(emulation::ANY, mask, predicate != 0, 0, 32, file, line));
}
inline int __all_sync(unsigned mask, int predicate, EMULATED_WHERE) {
    return static_cast<int>(emulation::runtime->warp(emulation::ALL, mask, predicate != 0, 0, 32, file, line));
}
// What CUDA promises of it: the calling thread is in it.
inline unsigned __activemask() {
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    return 1u << thread % 32;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
// Who sleeps waits for another block; here none comes but after the end of this one.
inline void __nanosleep(unsigned) { emulation::runtime->fail("waits for a block that has not run yet"); }

// --- atomics: nothing runs between two instructions of a thread ---

#define EMULATED_ATOMIC(name, type, expression)       \
    inline type name(type* address, type value) {     \
        const type old = *address;                    \
        *address = expression;                        \
        return old;                                   \
    }
#define EMULATED_ATOMICS(type)                                            \
    EMULATED_ATOMIC(atomicAdd, type, old + value)                         \
    EMULATED_ATOMIC(atomicMax, type, old < value ? value : old)           \
    EMULATED_ATOMIC(atomicMin, type, value < old ? value : old)           \
    EMULATED_ATOMIC(atomicExch, type, value)                              \
    EMULATED_ATOMIC(atomicOr, type, old | value)                          \
    EMULATED_ATOMIC(atomicAnd, type, old & value)                         \
    inline type atomicCAS(type* address, type compare, type value) {      \
        const type old = *address;                                        \
        if (old == compare) *address = value;                             \
        return old;                                                       \
    }
EMULATED_ATOMICS(int)
EMULATED_ATOMICS(unsigned)
EMULATED_ATOMICS(unsigned long long)
#undef EMULATED_ATOMICS
#undef EMULATED_ATOMIC

// --- arithmetic ---

template <typename T>
inline T __ldg(const T* address) {
    return *address;
}
template <typename T>
inline T __ldcs(const T* address) {
    return *address;
}
template <typename T>
inline void __stcs(T* address, T value) {
    *address = value;
}

#define EMULATED_EXTREMES(type)                              \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
EMULATED_EXTREMES(int)
EMULATED_EXTREMES(unsigned)
EMULATED_EXTREMES(long)
EMULATED_EXTREMES(unsigned long)
EMULATED_EXTREMES(long long)
EMULATED_EXTREMES(unsigned long long)
#undef EMULATED_EXTREMES
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

// Each rounded on its own; the library is built without contraction.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

#define EMULATED_BITS(name, to, from)       \
    inline to name(from value) {            \
        to bits;                            \
        memcpy(&bits, &value, sizeof bits); \
        return bits;                        \
    }
EMULATED_BITS(__float_as_int, int, float)
EMULATED_BITS(__float_as_uint, unsigned, float)
EMULATED_BITS(__int_as_float, float, int)
EMULATED_BITS(__uint_as_float, float, unsigned)
EMULATED_BITS(__double_as_longlong, long long, double)
EMULATED_BITS(__longlong_as_double, double, long long)
#undef EMULATED_BITS

// What a conversion of a float to a whole number does on the device: cut, and held to the type's range.
inline int __float2int_rz(float x) {
    return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f ? -2147483647 - 1 : static_cast<int>(x);
}
inline int __double2int_rz(double x) {
    return x != x ? 0 : x >= 2147483648.0 ? 2147483647 : x <= -2147483649.0 ? -2147483647 - 1 : static_cast<int>(x);
}
inline long long __double2ll_rz(double x) {
    return x != x ? static_cast<long long>(0x8000000000000000ull)
         : x >= 9223372036854775808.0 ? 0x7fffffffffffffffll
         : x <= -9223372036854775808.0 ? static_cast<long long>(0x8000000000000000ull) : static_cast<long long>(x);
}
inline long long __float2ll_rz(float x) { return __double2ll_rz(x); }

// --- half types: bits, and conversions that round to nearest even ---

struct __half {
    unsigned short bits;
};
struct __nv_bfloat16 {
    unsigned short bits;
};

inline float __half2float(__half h) {
    const unsigned sign = (h.bits & 0x8000u) << 16, exponent = h.bits >> 10 & 31, fraction = h.bits & 0x3ffu;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    const float tiny = static_cast<float>(fraction) * 5.9604644775390625e-08f;
    return sign ? -tiny : tiny;
}
inline __half __float2half_rn(float value) {
    const unsigned bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    unsigned short half;
    if (size > 0x7f800000u) half = 0x7fff;
    else if (size >= 0x477ff000u) half = 0x7c00;  // 65520 and above round to infinity
    else if (size >= 0x38800000u) half = static_cast<unsigned short>((size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13);
    else half = static_cast<unsigned short>(rintf(__uint_as_float(size) * 16777216.0f));  // a multiple of 2^-24
    return {static_cast<unsigned short>(sign | half)};
}
inline __half __float2half(float value) { return __float2half_rn(value); }
inline float __bfloat162float(__nv_bfloat16 b) { return __uint_as_float(static_cast<unsigned>(b.bits) << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    const unsigned bits = __float_as_uint(value);
    if (value != value) return {0x7fff};
    return {static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16(float value) { return __float2bfloat16_rn(value); }

// --- how the driver finds and calls a kernel ---

namespace emulation {

template <typename T>
struct Code;  // a parameter of another type than arrays, index_t and double does not compile
#define EMULATED_CODE(type, code)           \
    template <>                             \
    struct Code<type> {                     \
        static const char value = code;     \
    };
EMULATED_CODE(float, 'f')
EMULATED_CODE(double, 'd')
EMULATED_CODE(__half, 'e')
EMULATED_CODE(__nv_bfloat16, 'E')
EMULATED_CODE(int, 'i')
EMULATED_CODE(unsigned, 'I')
EMULATED_CODE(long long, 'q')
EMULATED_CODE(unsigned long long, 'Q')
EMULATED_CODE(unsigned char, 'B')
EMULATED_CODE(void, '?')
EMULATED_CODE(signed char, 'b')
#undef EMULATED_CODE

// Two letters a parameter: "n" index_t, "x" double, "w" array that is written, "r" array that is read; then
// the element's code ("?": any type, of which only the driver's caller knows).
template <typename T>
struct Parameter;
template <>
struct Parameter<long long> {
    static const char kind = 'n', code = 'q';
};
template <>
struct Parameter<double> {
    static const char kind = 'x', code = 'd';
};
template <typename T>
struct CodeOrAny {
    template <typename U>
    static constexpr auto find(int) -> decltype(Code<U>::value) { return Code<U>::value; }
    template <typename U>
    static constexpr char find(...) { return '?'; }
    static const char value = find<T>(0);
};
template <typename T>
struct Parameter<T*> {
    static const char kind = 'w', code = CodeOrAny<T>::value;
};
template <typename T>
struct Parameter<const T*> {
    static const char kind = 'r', code = CodeOrAny<T>::value;
};

template <int... I>
struct Indices {};
template <int N, int... I>
struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
    using type = Indices<I...>;
};

template <typename... A>
struct Kernel {
    using Function = void (*)(A...);

    template <int... I>
    static void call(Function function, void** arguments, Indices<I...>) {
        function(*reinterpret_cast<A*>(arguments[I])...);
    }
    static void run(void* function, void** arguments) {
        call(reinterpret_cast<Function>(function), arguments, typename MakeIndices<sizeof...(A)>::type());
    }
    static const char* signature() {
        static const char text[] = {Parameter<A>::kind..., ' ', Parameter<A>::code..., '\0'};
        return text;
    }
};

struct Entry {
    void* function;
    void (*run)(void* function, void** arguments);
    const char* signature;
    long launch_bound;  // threads, 0: none
};

template <typename... A>
inline Entry entry(void (*function)(A...), long launch_bound) {
    return {reinterpret_cast<void*>(function), Kernel<A...>::run, Kernel<A...>::signature(), launch_bound};
}

}  // namespace emulation
