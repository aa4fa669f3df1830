/* Strided elements of any dtype and byte order into contiguous accumulators, and back. */
#include "isa.h"

#include <string.h>

#if defined(__F16C__)
#include <immintrin.h>
#endif

enum {
    CHUNK = 512,   /* elements gathered at a time: at most 16 KiB */
    AHEAD = 512,   /* elements: how far before its use memory is asked for */
};

/* ---- float16 ---- */

static float single_of_half(uint16_t h) {
    /* Significand in place, and the exponent, of another bias; subnormal ones are multiples of 2^-24. */
    union { float f; uint32_t u; } v = {.f = (float)(h & 0x3ff) * 0x1p-24f};
    if (h & 0x7c00) v.u = ((uint32_t)(h & 0x7fff) << 13) + (112u << 23);
    if ((h & 0x7c00) == 0x7c00) v.u |= 0x7f800000;
    v.u |= (uint32_t)(h & 0x8000) << 16;
    return v.f;
}

static uint16_t half_of_single(float f) {
    union { float f; uint32_t u; } v = {.f = f};
    uint16_t sign = (uint16_t)((v.u >> 16) & 0x8000);
    uint32_t u = v.u & 0x7fffffff;
    if (u > 0x7f800000) return sign | 0x7e00;
    if (u >= 0x477ff000) return sign | 0x7c00;   /* rounds to 2^16 or more */
    if (u < 0x38800000) {                        /* subnormal: the adder rounds at 2^-24 */
        v.u = u;
        v.f += 0.5f;
        return sign | (uint16_t)(v.u - 0x3f000000);
    }
    return sign | (uint16_t)((u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13);
}

static void singles_of_halves(ptrdiff_t n, const uint16_t *src, float *dst) {
    ptrdiff_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(src + i))));
#endif
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
#endif
    for (; i < n; i++) dst[i] = single_of_half(src[i]);
}

/* ---- gathering: bytes only, so that neither alignment nor dtype matters ---- */

typedef uint64_t pair __attribute__((vector_size(16)));
typedef struct { uint64_t part[4]; } quad;

/* A stride that the compiler knows lets it load whole vectors and pick from them, or store such. */
#define BY_SIZE(MOVE)                              \
    if (size == 1) BY_STRIDE(MOVE, uint8_t)        \
    else if (size == 2) BY_STRIDE(MOVE, uint16_t)  \
    else if (size == 4) BY_STRIDE(MOVE, uint32_t)  \
    else if (size == 8) BY_STRIDE(MOVE, uint64_t)  \
    else if (size == 16) MOVE(pair, stride)        \
    else MOVE(quad, stride)
#define BY_STRIDE(MOVE, U)                                                              \
    if (stride == 2 * (ptrdiff_t)sizeof(U)) MOVE(U, 2 * (ptrdiff_t)sizeof(U))           \
    else if (stride == -(ptrdiff_t)sizeof(U)) MOVE(U, -(ptrdiff_t)sizeof(U))            \
    else MOVE(U, stride)
#define GATHER(U, STEP) MOVE_BY(U, STEP, (ptrdiff_t)sizeof(U))
#define SCATTER(U, STEP) MOVE_BY(U, (ptrdiff_t)sizeof(U), STEP)
#define MOVE_BY(U, FROM, TO)                      \
    for (ptrdiff_t i = 0; i < n; i++) {           \
        U v;                                      \
        memcpy(&v, src + i * (FROM), sizeof v);   \
        memcpy(dst + i * (TO), &v, sizeof v);     \
    }

static void gather(ptrdiff_t n, const char *restrict src, ptrdiff_t stride, size_t size, char *restrict dst) {
    if (stride == (ptrdiff_t)size) memcpy(dst, src, (size_t)n * size);
    else BY_SIZE(GATHER)
}

static void scatter(ptrdiff_t n, const char *restrict src, size_t size, char *restrict dst, ptrdiff_t stride) {
    if (stride == (ptrdiff_t)size) memcpy(dst, src, (size_t)n * size);
    else BY_SIZE(SCATTER)
}

static void swap_bytes(ptrdiff_t n, size_t size, void *data) {
    if (size == 2) {
        uint16_t *p = data;
        for (ptrdiff_t i = 0; i < n; i++) p[i] = __builtin_bswap16(p[i]);
    } else if (size == 4) {
        uint32_t *p = data;
        for (ptrdiff_t i = 0; i < n; i++) p[i] = __builtin_bswap32(p[i]);
    } else if (size == 8) {
        uint64_t *p = data;
        for (ptrdiff_t i = 0; i < n; i++) p[i] = __builtin_bswap64(p[i]);
    } else if (size > 8) {
        uint8_t *p = data;
        for (ptrdiff_t i = 0; i < n; i++, p += size)
            for (size_t k = 0; k < size / 2; k++) {
                uint8_t t = p[k];
                p[k] = p[size - 1 - k];
                p[size - 1 - k] = t;
            }
    }
}

/* ---- conversion of contiguous, aligned elements; only pairs that NumPy casts safely are ever asked for ---- */

#define CONVERT(S, D)                                                     \
    {                                                                     \
        const S *restrict s = src;                                        \
        D *restrict d = dst;                                              \
        for (ptrdiff_t i = 0; i < n; i++) d[i] = (D)s[i];                 \
        break;                                                            \
    }

#define FROM_INTEGER(D)               \
    case BOOL: {                      \
        const uint8_t *s = src;       \
        D *d = dst;                   \
        for (ptrdiff_t i = 0; i < n; i++) d[i] = (D)(s[i] != 0); \
        break;                        \
    }                                 \
    case I8: CONVERT(int8_t, D)       \
    case U8: CONVERT(uint8_t, D)      \
    case I16: CONVERT(int16_t, D)     \
    case U16: CONVERT(uint16_t, D)    \
    case I32: CONVERT(int32_t, D)     \
    case U32: CONVERT(uint32_t, D)    \
    case I64: CONVERT(int64_t, D)     \
    case U64: CONVERT(uint64_t, D)

#define FROM_REAL(D)                                                            \
    FROM_INTEGER(D)                                                             \
    case F16: {                                                                 \
        float singles[CHUNK];                                                   \
        D *d = dst;                                                             \
        singles_of_halves(n, src, singles);                                     \
        for (ptrdiff_t i = 0; i < n; i++) d[i] = (D)singles[i];                 \
        break;                                                                  \
    }                                                                           \
    case F32: CONVERT(float, D)                                                 \
    case F64: CONVERT(double, D)                                                \
    case LONGDOUBLE: CONVERT(long double, D)

static void to_mask(ptrdiff_t n, const void *src, void *dst) {
    const uint8_t *s = src;
    uint8_t *d = dst;
    for (ptrdiff_t i = 0; i < n; i++) d[i] = s[i] ? 255 : 0;
}

static void to_u8(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_INTEGER(uint8_t) } }
static void to_u16(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_INTEGER(uint16_t) } }
static void to_u32(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_INTEGER(uint32_t) } }
static void to_u64(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_INTEGER(uint64_t) } }
static void to_f64(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_REAL(double) } }
static void to_ld(ptrdiff_t n, const void *src, int from, void *dst) { switch (from) { FROM_REAL(long double) } }

static void to_f32(ptrdiff_t n, const void *src, int from, void *dst) {
    if (from == F16) {
        singles_of_halves(n, src, dst);
        return;
    }
    switch (from) { FROM_REAL(float) }
}

static void convert(ptrdiff_t n, const void *src, int from, int to, void *dst) {
    switch (to) {
    case BOOL: to_mask(n, src, dst); break;
    case U8: to_u8(n, src, from, dst); break;
    case U16: to_u16(n, src, from, dst); break;
    case U32: to_u32(n, src, from, dst); break;
    case U64: to_u64(n, src, from, dst); break;
    case F32: to_f32(n, src, from, dst); break;
    case F64: to_f64(n, src, from, dst); break;
    case LONGDOUBLE: to_ld(n, src, from, dst); break;
    }
}

/* A real element becomes (element, 0): as NumPy does, so that infinities give the same NaNs. */
static void convert_to_complex(ptrdiff_t n, const void *src, int from, int to, char *dst) {
    const int real = real_of(to);
    const size_t size = size_of(real);
    if (is_complex(from)) {
        convert(n, src, real_of(from), real, dst);
        convert(n, (const char *)src + (size_t)n * size_of(real_of(from)), real_of(from), real, dst + (size_t)n * size);
        return;
    }
    long double reals[CHUNK];
    convert(n, src, from, real, reals);
    memset(dst, 0, 2 * (size_t)n * size);
    scatter(n, (const char *)reals, size, dst, 2 * (ptrdiff_t)size);
}

static int same_bits(int from, int to) {
    return from == to ? from != BOOL : !is_complex(to) && to < F16 && from < F16 && from != BOOL &&
                                           size_of(from) == size_of(to);
}

/* Asks for the cache lines of n elements from src on, which nobody needs yet: those of strided elements, and of short
   pieces of several rows in turn, come too late otherwise. Addresses beyond an array are harmless. */
static void ask_for(ptrdiff_t n, const char *src, ptrdiff_t stride, size_t size) {
    const ptrdiff_t line = stride < -64 || stride > 64 ? stride : stride < 0 ? -64 : 64;
    if (stride == (ptrdiff_t)size)
        for (ptrdiff_t i = 0; i < n * stride / line; i++) __builtin_prefetch(src + i * line, 0, SECOND_LEVEL);
    else
        for (ptrdiff_t i = 0; i < n * stride / line; i++) __builtin_prefetch(src + i * line);
}

void fetch_near(ptrdiff_t n, const char *src, ptrdiff_t stride, int from, int swapped, int to, void *dst) {
    const size_t size = size_of(from);
    const int in_place = stride == (ptrdiff_t)size && !swapped && is_aligned(src, stride, 0, from);
    const int as_it_is = same_bits(from, to);
    for (ptrdiff_t i = 0; i < n; i += CHUNK) {
        const ptrdiff_t k = min_of(CHUNK, n - i);
        long double raw[2 * CHUNK];
        const void *elements = src + i * stride;
        char *out = (char *)dst + (size_t)i * size_of(to);
        if (as_it_is) {
            gather(k, src + i * stride, stride, size, out);
            if (swapped) swap_bytes(k * (1 + is_complex(from)), size_of(real_of(from)), out);
            continue;
        }
        if (!in_place) {
            gather(k, src + i * stride, stride, size, (char *)raw);
            if (swapped) swap_bytes(k * (1 + is_complex(from)), size_of(real_of(from)), raw);
            elements = raw;
        }
        if (is_complex(to)) convert_to_complex(k, elements, from, to, out);
        else convert(k, elements, from, to, out);
    }
}

void fetch(ptrdiff_t n, const char *src, ptrdiff_t stride, int from, int swapped, int to, void *dst) {
    for (ptrdiff_t i = 0; i < n; i += CHUNK, src += CHUNK * stride) {
        ask_for(min_of(CHUNK, n - i), src + AHEAD * stride, stride, size_of(from));
        fetch_near(min_of(CHUNK, n - i), src, stride, from, swapped, to, (char *)dst + (size_t)i * size_of(to));
    }
}

void narrow(ptrdiff_t n, const void *src, int to, char *dst, ptrdiff_t stride) {
    const size_t size = size_of(to);
    for (ptrdiff_t i = 0; i < n; i += CHUNK) {
        const ptrdiff_t k = min_of(CHUNK, n - i);
        uint16_t narrowed[CHUNK];
        const void *elements = (const char *)src + (size_t)i * size_of(accumulator(to));
        if (to == F16) {
            for (ptrdiff_t j = 0; j < k; j++) narrowed[j] = half_of_single(((const float *)elements)[j]);
            elements = narrowed;
        } else if (to == BOOL) {
            uint8_t *out = (uint8_t *)narrowed;
            for (ptrdiff_t j = 0; j < k; j++) out[j] = ((const uint8_t *)elements)[j] != 0;
            elements = narrowed;
        }
        scatter(k, elements, size, dst + i * stride, stride);
    }
}
