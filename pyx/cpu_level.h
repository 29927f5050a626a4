/* Which of the kernel builds this processor and operating system can run.
 *
 * 4 for x86-64-v4 (AVX-512 F, BW, CD, DQ, VL), 3 for x86-64-v3 (AVX2, FMA, BMI, F16C, LZCNT, MOVBE), 0 for all others.
 * Read by pyx/cpu.pyx at run time and by setup.py, which runs it to find the best build of the machine it is on.
 */
#ifndef CAFFENORM_CPU_LEVEL_H
#define CAFFENORM_CPU_LEVEL_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

static int caffenorm_cpu_level(void)
{
    unsigned int eax, ebx, ecx, edx;
    const unsigned int f16c = 1u << 29, movbe = 1u << 22, lzcnt = 1u << 5;

    /* __builtin_cpu_supports also asks whether the operating system keeps the wide registers; the three features that
     * use none of their own are not known by name to older compilers, so they are read from cpuid. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi")
        || !__builtin_cpu_supports("bmi2"))
        return 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & f16c) || !(ecx & movbe))
        return 0;
    if (!__get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx) || !(ecx & lzcnt))
        return 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 4;
    return 3;
}

#else

static int caffenorm_cpu_level(void)
{
    return 0;
}

#endif
#endif
