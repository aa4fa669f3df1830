/* Which table of kernels: chosen once, at run time, so that one build is fast everywhere. */
#include "kernels.h"

#include <string.h>

extern const Kernels kernels_baseline;
#ifdef PARLINALG_X86
extern const Kernels kernels_avx2, kernels_avx512;

static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const Kernels *kernels_named(const char *name) {
    if (strcmp(name, "baseline") == 0) return &kernels_baseline;
#ifdef PARLINALG_X86
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0 && has_avx2()) return &kernels_avx2;
    if (strcmp(name, "avx512") == 0 && has_avx512()) return &kernels_avx512;
#endif
    return NULL;
}

const Kernels *kernels_best(void) {
    const Kernels *best = kernels_named("avx512");
    if (!best) best = kernels_named("avx2");
    return best ? best : &kernels_baseline;
}

int accumulator(int loop) {
    switch (loop) {
    case I8: return U8;
    case I16: return U16;
    case I32: return U32;
    case I64: return U64;
    case F16: return F32;
    default: return loop;
    }
}

size_t size_of(int dtype) {
    static const size_t sizes[DTYPES] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8, sizeof(long double), 8, 16,
                                         2 * sizeof(long double)};
    return sizes[dtype];
}
