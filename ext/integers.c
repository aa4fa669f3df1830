/* Sums of integers and bool, modulo 2^64. */
#include "vectors.h"

enum {
    RUN = 512,     /* elements widened at a time */
    STRIP = 1024,  /* neighbouring sums worked on at a time: 8 KiB */
    AHEAD = 4096,  /* bytes: how far before its use memory is asked for */
    LINE = 64,
};

/* Vectors, since gcc keeps arrays of lanes in memory here. */
typedef uint64_t UnalignedWords __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

enum { CHAINS = 4 };   /* sums that do not wait for each other */

static uint64_t total_of_chains(const Words *v) { return total_of(v[0] + v[1] + v[2] + v[3]); }

static uint64_t total_64(ptrdiff_t n, const uint64_t *v) {
    Words sums[CHAINS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
        for (int k = 0; k < CHAINS; k++) sums[k] += *(const UnalignedWords *)(v + i + k * LANES);
    uint64_t total = total_of_chains(sums);
    for (; i < n; i++) total += v[i];
    return total;
}

/* Two neighbours make a word. The sums of words and of their upper halves give the sum of the lower halves, modulo
   2^64: no element has to be widened. `bias` makes signed elements unsigned. */
static uint64_t total_of_halves(ptrdiff_t n, const uint32_t *v, uint32_t bias) {
    const Words biases = ((uint64_t)bias << 32 | bias) + (Words){0};
    Words sums[CHAINS] = {{0}}, upper_sums[CHAINS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + 2 * CHAINS * LANES <= n; i += 2 * CHAINS * LANES)
        for (int k = 0; k < CHAINS; k++) {
            const Words w = *(const UnalignedWords *)(v + i + 2 * k * LANES) ^ biases;
            __builtin_prefetch((const char *)(v + i + 2 * k * LANES) + AHEAD);
            sums[k] += w;
            upper_sums[k] += w >> 32;
        }
    const uint64_t upper = total_of_chains(upper_sums);
    uint64_t total = total_of_chains(sums) - (upper << 32) + upper;
    for (; i < n; i++) total += v[i] ^ bias;
    return total - (uint64_t)n * bias;
}

static uint64_t total_i32(ptrdiff_t n, const uint32_t *v) { return total_of_halves(n, v, UINT32_C(1) << 31); }
static uint64_t total_u32(ptrdiff_t n, const uint32_t *v) { return total_of_halves(n, v, 0); }

/* Line by line into lanes, which are emptied before they can overflow: gcc vectorises both inner loops. */
#define TOTAL(name, T, LANE, VALUE)                                                    \
    static uint64_t name(ptrdiff_t n, const T *v) {                                    \
        enum { EACH = LINE / sizeof(T), LINES = 1 << 14 };                             \
        uint64_t total = 0;                                                            \
        ptrdiff_t i = 0;                                                               \
        while (n - i >= EACH) {                                                        \
            LANE lanes[EACH] = {0};                                                    \
            const ptrdiff_t end = i + min_of(LINES, (n - i) / EACH) * EACH;            \
            for (; i < end; i += EACH) {                                               \
                __builtin_prefetch((const char *)(v + i) + AHEAD);                     \
                for (int j = 0; j < EACH; j++) lanes[j] += (LANE)(VALUE(v[i + j]));    \
            }                                                                          \
            for (int j = 0; j < EACH; j++) total += (uint64_t)lanes[j];                \
        }                                                                              \
        for (; i < n; i++) total += (uint64_t)(VALUE(v[i]));                           \
        return total;                                                                  \
    }
#define ITSELF(value) (value)
#define IS_TRUE(value) ((value) != 0)

TOTAL(total_bool, uint8_t, uint32_t, IS_TRUE)
TOTAL(total_i8, int8_t, int32_t, ITSELF)
TOTAL(total_u8, uint8_t, uint32_t, ITSELF)
TOTAL(total_i16, int16_t, int32_t, ITSELF)
TOTAL(total_u16, uint16_t, uint32_t, ITSELF)

/* One by one where they lie, which is faster than to bring them together first. */
#define STRIDED(name, T, VALUE)                                                                                  \
    static uint64_t name(ptrdiff_t n, const char *v, ptrdiff_t stride) {                                         \
        uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;                                                                 \
        ptrdiff_t i = 0;                                                                                         \
        for (; i + 4 <= n; i += 4, v += 4 * stride) {                                                            \
            s0 += (uint64_t)(VALUE(*(const T *)v));                                                              \
            s1 += (uint64_t)(VALUE(*(const T *)(v + stride)));                                                   \
            s2 += (uint64_t)(VALUE(*(const T *)(v + 2 * stride)));                                               \
            s3 += (uint64_t)(VALUE(*(const T *)(v + 3 * stride)));                                               \
        }                                                                                                        \
        for (; i < n; i++, v += stride) s0 += (uint64_t)(VALUE(*(const T *)v));                                  \
        return (s0 + s1) + (s2 + s3);                                                                            \
    }

STRIDED(strided_bool, uint8_t, IS_TRUE)
STRIDED(strided_i8, int8_t, ITSELF)
STRIDED(strided_u8, uint8_t, ITSELF)
STRIDED(strided_i16, int16_t, ITSELF)
STRIDED(strided_u16, uint16_t, ITSELF)
STRIDED(strided_i32, int32_t, ITSELF)
STRIDED(strided_u32, uint32_t, ITSELF)
STRIDED(strided_64, uint64_t, ITSELF)

static uint64_t total_strided(ptrdiff_t n, const char *v, ptrdiff_t stride, int dtype) {
    switch (dtype) {
    case BOOL: return strided_bool(n, v, stride);
    case I8: return strided_i8(n, v, stride);
    case U8: return strided_u8(n, v, stride);
    case I16: return strided_i16(n, v, stride);
    case U16: return strided_u16(n, v, stride);
    case I32: return strided_i32(n, v, stride);
    case U32: return strided_u32(n, v, stride);
    default: return strided_64(n, v, stride);
    }
}

static uint64_t total_in_place(ptrdiff_t n, const void *v, int dtype) {
    switch (dtype) {
    case BOOL: return total_bool(n, v);
    case I8: return total_i8(n, v);
    case U8: return total_u8(n, v);
    case I16: return total_i16(n, v);
    case U16: return total_u16(n, v);
    case I32: return total_i32(n, v);
    case U32: return total_u32(n, v);
    default: return total_64(n, v);
    }
}

static void add_run(const Addends *a, ptrdiff_t n, const char *data, ptrdiff_t stride, uint64_t *sum) {
    if (!a->swapped && is_aligned(data, stride, 0, a->dtype)) {
        *sum += stride == (ptrdiff_t)size_of(a->dtype) ? total_in_place(n, data, a->dtype)
                                                       : total_strided(n, data, stride, a->dtype);
        return;
    }
    uint64_t run[RUN];
    for (ptrdiff_t i = 0; i < n; i += RUN) {
        const ptrdiff_t k = min_of(RUN, n - i);
        fetch(k, data + i * stride, stride, a->dtype, a->swapped, U64, run);
        *sum += total_64(k, run);
    }
}

/* Neighbouring elements that belong to neighbouring sums. */
static void add_strip(const Addends *a, ptrdiff_t n, const char *data, ptrdiff_t stride, char *sums, ptrdiff_t step) {
    uint64_t strip[STRIP];
    fetch(n, data, stride, a->dtype, a->swapped, U64, strip);
    if (step == sizeof(uint64_t))
        for (ptrdiff_t i = 0; i < n; i++) ((uint64_t *)sums)[i] += strip[i];
    else
        for (ptrdiff_t i = 0; i < n; i++) *(uint64_t *)(sums + i * step) += strip[i];
}

static void add_innermost(const Addends *a, const char *data, char *sums) {
    const int last = a->ndim - 1;
    const ptrdiff_t n = a->shape[last], stride = a->stride[last], step = a->result[last];
    if (!step) {
        add_run(a, n, data, stride, (uint64_t *)sums);
        return;
    }
    /* The next axis out runs inside each strip, so that the strip's sums stay in the cache. */
    const ptrdiff_t outer = last ? a->shape[last - 1] : 1, outer_stride = last ? a->stride[last - 1] : 0;
    const ptrdiff_t outer_step = last ? a->result[last - 1] : 0;
    for (ptrdiff_t i = 0; i < n; i += STRIP)
        for (ptrdiff_t k = 0; k < outer; k++)
            add_strip(a, min_of(STRIP, n - i), data + i * stride + k * outer_stride, stride,
                      sums + i * step + k * outer_step, step);
}

static void walk(const Addends *a, int axis, const char *data, char *sums) {
    const int inside = a->result[a->ndim - 1] ? 2 : 1;   /* axes that add_innermost runs over */
    if (axis >= a->ndim - inside) {
        add_innermost(a, data, sums);
        return;
    }
    for (ptrdiff_t i = 0; i < a->shape[axis]; i++)
        walk(a, axis + 1, data + i * a->stride[axis], sums + i * a->result[axis]);
}

void sum_integers(const Addends *a, char *results) { walk(a, 0, a->data, results); }
