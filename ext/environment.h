/* The floating-point environment: other libraries leave flush-to-zero behind, or another rounding mode. */
#ifndef PARLINALG_ENVIRONMENT_H
#define PARLINALG_ENVIRONMENT_H

#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>
typedef unsigned Environment;
static inline Environment enter_exactness(void) {
    const Environment saved = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return saved;
}
static inline void leave_exactness(Environment saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__)
typedef uint64_t Environment;
static inline Environment enter_exactness(void) {
    Environment saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((Environment)0));
    return saved;
}
static inline void leave_exactness(Environment saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
#else
typedef int Environment;
static inline Environment enter_exactness(void) { return 0; }
static inline void leave_exactness(Environment saved) { (void)saved; }
#endif

#endif
