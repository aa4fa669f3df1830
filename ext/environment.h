/* The floating-point environment: other libraries leave flush-to-zero behind, or another rounding mode. Its flags tell
   whether an operation since they were cleared was inexact, overflowed or was invalid. */
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
enum { HAS_FLAGS = 1, ALL_FLAGS = 0x3f, FLAG_OF_SUBNORMALS = 2 };   /* of MXCSR; the latter: an operand was one */
/* By volatile statements, which stay in order: the compiler may read flags early by _mm_getcsr. */
static inline unsigned control_and_flags(void) {
    unsigned now;
    __asm__ volatile("stmxcsr %0" : "=m"(now) : : "memory");
    return now;
}
static inline void clear_flags(void) {
    const unsigned now = control_and_flags(), cleared = now & ~(unsigned)ALL_FLAGS;
    if (now != cleared) __asm__ volatile("ldmxcsr %0" : : "m"(cleared) : "memory");   /* which takes longer */
}
static inline int has_rounded(void) { return (control_and_flags() & (ALL_FLAGS - FLAG_OF_SUBNORMALS)) != 0; }
#elif defined(__aarch64__)
typedef uint64_t Environment;   /* the flags above the control bits */
static inline Environment enter_exactness(void) {
    uint64_t control, flags;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(flags));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return flags << 32 | (uint32_t)control;
}
static inline void leave_exactness(Environment saved) {
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"((uint64_t)(uint32_t)saved), "r"(saved >> 32));
}
enum { HAS_FLAGS = 1, ALL_FLAGS = 0x1f };   /* of FPSR: invalid to inexact */
static inline void clear_flags(void) { __asm__ volatile("msr fpsr, %0" : : "r"((uint64_t)0) : "memory"); }
static inline int has_rounded(void) {
    uint64_t flags;
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags) : : "memory");
    return (flags & ALL_FLAGS) != 0;
}
#else
typedef int Environment;
static inline Environment enter_exactness(void) { return 0; }
static inline void leave_exactness(Environment saved) { (void)saved; }
enum { HAS_FLAGS = 0 };
static inline void clear_flags(void) {}
static inline int has_rounded(void) { return 1; }
#endif

#endif
