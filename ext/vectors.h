/* Vectors of float64 for exact arithmetic. */
#ifndef PARLINALG_VECTORS_H
#define PARLINALG_VECTORS_H

#include "lanes.h"

#include <string.h>

#if defined(__FMA__)
#include <immintrin.h>
#endif

enum { LANES = VECTOR_BYTES / 8 };

typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Words __attribute__((vector_size(VECTOR_BYTES)));

typedef double UnalignedDoubles __attribute__((vector_size(VECTOR_BYTES), aligned(4)));
typedef float Floats __attribute__((vector_size(VECTOR_BYTES / 2), aligned(4)));

/* The compiler must not compute these before the flags are cleared, nor after they are read. */
#if defined(__aarch64__)
#define FIX(a, b) __asm__ volatile("" : "+w"(a), "+w"(b))
#else
#define FIX(a, b) __asm__ volatile("" : "+x"(a), "+x"(b))
#endif

/* In one step: GCC 12 takes halves apart. */
static inline Doubles doubles_of(Floats v) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_cvtps_pd((__m256)v);
#elif defined(__AVX2__)
    return (Doubles)_mm256_cvtps_pd((__m128)v);
#else
    return __builtin_convertvector(v, Doubles);
#endif
}

#if defined(__F16C__) && defined(__AVX2__)
#define HAS_HALVES 1
static inline Doubles load_halves(const uint16_t *v) {
#if defined(__AVX512F__)
    return doubles_of((Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)v)));
#else
    return doubles_of((Floats)_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)v)));
#endif
}
static inline void store_halves(Floats v, void *out) {
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
    _mm_storel_epi64((__m128i *)out, _mm_cvtps_ph((__m128)v, _MM_FROUND_TO_NEAREST_INT));
#endif
}
#else
#define HAS_HALVES 0   /* they are converted to float32 first */
#endif

static inline Doubles load_neighbours(int type, const char *p) {
    if (type == F64) return *(const UnalignedDoubles *)p;
#if HAS_HALVES
    if (type == F16) return load_halves((const uint16_t *)p);
#endif
    return doubles_of(*(const Floats *)p);
}

static inline ptrdiff_t bytes_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }

static inline Doubles load_weights(int one, const char *p) {
    if (!one) return *(const UnalignedDoubles *)p;
    double w;
    memcpy(&w, p, sizeof w);
    return w - (Doubles){0};
}

static inline int any(Words w) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)w, (__m512i)w) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)w, (__m256i)w);
#else
    return (w[0] | w[1]) != 0;
#endif
}

/* In registers: numbers read one by one would have to wait until the vector is in memory. GCC's own reduction adds
   signed integers, which must not overflow. */
static inline uint64_t total_of(Words w) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
    const __m512i all = (__m512i)w;
    const __m256i four = _mm256_add_epi64(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
#else
    const __m256i four = (__m256i)w;
#endif
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return (uint64_t)_mm_extract_epi64(two, 0) + (uint64_t)_mm_extract_epi64(two, 1);
#else
    return w[0] + w[1];
#endif
}

/* found | a ^ b: GCC does it in two steps where a and b are floating-point numbers */
static inline Words note_difference(Words found, Doubles a, Doubles b) {
#if defined(__AVX512F__)
    return (Words)_mm512_ternarylogic_epi64((__m512i)found, (__m512i)a, (__m512i)b, 0xf6);
#else
    return found | ((Words)a ^ (Words)b);
#endif
}

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
enum { HAS_FMA = 1 };
#else
enum { HAS_FMA = 0 };
#endif

/* x * y - z, rounded once: of z = x * y it is the error. */
static inline Doubles multiply_subtract(Doubles x, Doubles y, Doubles z) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_fmsub_pd((__m512d)x, (__m512d)y, (__m512d)z);
#elif defined(__FMA__)
    return (Doubles)_mm256_fmsub_pd((__m256d)x, (__m256d)y, (__m256d)z);
#else
    Doubles r;
    for (int j = 0; j < LANES; j++) r[j] = __builtin_fma(x[j], y[j], -z[j]);
    return r;
#endif
}

/* t - s, by the multipliers of processors that have them apart: these would have nothing to do otherwise. */
static inline Doubles difference(Doubles t, Doubles s, Doubles one) {
#if defined(__FMA__)
    return multiply_subtract(t, one, s);
#else
    (void)one;
    return t - s;
#endif
}

#endif
