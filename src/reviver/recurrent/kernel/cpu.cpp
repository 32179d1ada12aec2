// Which variants of the prebuilt libraries this processor can run, by CPUID. A feature counts only if the operating system
// saves its registers, which the compiler's own functions check with XGETBV. prebuilt.py names the bits.

#include <cstdint>

extern "C" __attribute__((visibility("default"))) int64_t reviver_cpu_features() {
    int64_t features = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v3")) features |= 1;
    if (__builtin_cpu_supports("x86-64-v4")) features |= 2;
    if (__builtin_cpu_supports("avx512bf16")) features |= 4;
#endif
    return features;
}
