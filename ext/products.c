/* Contiguous products, one per accumulator. */
#include "lanes.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint8_t Bytes __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t UnalignedBytes __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef uint16_t Twos __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t Fours __attribute__((vector_size(VECTOR_BYTES)));

/* From byte k on: a mask of the last k bytes of a vector. */
static const uint8_t edge[2 * VECTOR_BYTES] = {[VECTOR_BYTES ... 2 * VECTOR_BYTES - 1] = 255};

/* Elements of strided rows that are asked for before their use: some pages, or a number of cache lines. */
static inline ptrdiff_t elements_ahead(ptrdiff_t stride) {
    enum { NEAR = 4096, LINES = 64 };
    const ptrdiff_t bytes = stride < 0 ? -stride : stride;
    return bytes * LINES >= NEAR ? LINES : NEAR / (bytes + !bytes);
}

/* Of elements; those of 16 bits as unsigned numbers, since as int, which C makes of them, they could overflow. */
#define ONE_TIMES(a, b) ((__typeof__((T)0 + 0u))(a) * (b))

#define PAIRS
#define T float
#define N f32
#define W (VECTOR_BYTES / 4)
#define SIZE 4
#include "product_template.h"

#define PAIRS
#define T double
#define N f64
#define W (VECTOR_BYTES / 8)
#define SIZE 8
#include "product_template.h"

#define PAIRS
#define T long double
#define N ld
#define W 1
#include "product_template.h"

#define T uint32_t
#define N u32
#define W (VECTOR_BYTES / 4)
#define SIZE 4
#include "product_template.h"

#define T uint64_t
#define N u64
#define W (VECTOR_BYTES / 8)
#define SIZE 8
#include "product_template.h"

/* Neighbours added up to lanes of four bytes; modulo the elements' own size they are right. */
#define SUMS_OF_TWOS(v) (vec_u32)((Fours)(v) + ((Fours)(v) >> 16))
#define SUMS_OF_BYTES(v) SUMS_OF_TWOS((Twos)(v) + ((Twos)(v) >> 8))

#define T uint16_t
#define N u16
#define W (VECTOR_BYTES / 2)
#define LANE uint32_t
#define LANE_N u32
#define WIDEN(v) SUMS_OF_TWOS(v)
#include "product_template.h"

/* Processors do not multiply bytes, but words of two: their lower bytes, and the upper ones where they lie. */
static inline Bytes times_bytes(Bytes a, Bytes b) {
    const Twos lower = (Twos)a * (Twos)b, upper = ((Twos)a >> 8) * ((Twos)b & 0xff00);
    return (Bytes)((lower & 0xff) | upper);
}

#define TIMES(a, b) times_bytes((Bytes)(a), (Bytes)(b))
#define SCALED(v, scalar) times_bytes((Bytes)(v), (Bytes){0} + (scalar))
#define T uint8_t
#define N u8
#define W VECTOR_BYTES
#define LANE uint32_t
#define LANE_N u32
#define WIDEN(v) SUMS_OF_BYTES(v)
#include "product_template.h"

typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static inline int any_set(bytes v) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#else
    union { bytes b; uint64_t words[VECTOR_BYTES / 8]; } u = {.b = v};
    uint64_t s = 0;
    for (int k = 0; k < VECTOR_BYTES / 8; k++) s |= u.words[k];
    return s != 0;
#endif
}

static inline uint64_t word(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

static inline int any_of_vector(const uint8_t *a, const uint8_t *x) {
    return any_set(*(const bytes *)a & *(const bytes *)x);
}

/* The last vector, or word, ends where the row does: what it has of elements that were looked at already does no harm. */
static int row_is_true(ptrdiff_t n, const uint8_t *a, const uint8_t *x) {
    ptrdiff_t j = 0;
    for (; j + 8 <= min_of(n, 64); j += 8)   /* where rows of many trues end */
        if (word(a + j) & word(x + j)) return 1;
    if (n >= VECTOR_BYTES) {
        for (; j + 4 * VECTOR_BYTES <= n; j += 4 * VECTOR_BYTES) {
            bytes found = {0};
            for (int k = 0; k < 4 * VECTOR_BYTES; k += VECTOR_BYTES)
                found |= *(const bytes *)(a + j + k) & *(const bytes *)(x + j + k);
            if (any_set(found)) return 1;
        }
        for (; j + VECTOR_BYTES < n; j += VECTOR_BYTES)
            if (any_of_vector(a + j, x + j)) return 1;
        return j < n && any_of_vector(a + n - VECTOR_BYTES, x + n - VECTOR_BYTES);
    }
    if (n >= 8) return j < n && (word(a + n - 8) & word(x + n - 8)) != 0;
    for (; j < n; j++)
        if (a[j] & x[j]) return 1;
    return 0;
}

/* How many elements, some bytes apart, lie in one vector that ends within their row; 0 if they lie too far apart. */
static ptrdiff_t elements_in_vector(ptrdiff_t n, ptrdiff_t cs) {
    return cs > 0 && cs <= VECTOR_BYTES / 8 && (n - 1) * cs >= VECTOR_BYTES ? (VECTOR_BYTES + cs - 1) / cs : 0;
}

static int first_are_true(ptrdiff_t few, const uint8_t *a, ptrdiff_t cs, const uint8_t *x) {
    int found = 0;
    for (ptrdiff_t j = 0; j < few && !found; j++) found = (a[j * cs] & x[j]) != 0;
    return found;
}

/* Any strides: a few elements where they lie, since most rows of trues end there, then converted ones. The few are one
   vector where they lie close: no processor foresees at which of them a row ends. */
static void strided_rows_bool(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                              void *y_) {
    enum { FEW = 32, SEGMENT = 1024 };
    const ptrdiff_t close = elements_in_vector(n, cs), few = close ? close : min_of(n, FEW);
    const uint8_t *x = x_;
    uint8_t *y = y_, segment[SEGMENT], apart[VECTOR_BYTES] = {0};
    if (close)
        for (ptrdiff_t at = 0; at < VECTOR_BYTES; at += cs) apart[at] = x[at / cs];
    const bytes few_of_x = *(const bytes *)apart;
    for (ptrdiff_t i = 0; i < m; i++) {
        if (y[i]) continue;
        const uint8_t *a = (const uint8_t *)A + i * rs;
        int found = close ? any_set(*(const bytes *)a & few_of_x) : first_are_true(few, a, cs, x);
        for (ptrdiff_t j = few; j < n && !found; j += SEGMENT) {
            const ptrdiff_t k = min_of(SEGMENT, n - j);
            fetch(k, (const char *)a + j * cs, cs, BOOL, 0, BOOL, segment);
            found = row_is_true(k, segment, x + j);
        }
        y[i] = (uint8_t)found;
    }
}

static int all_set(ptrdiff_t m, const uint8_t *y) {
    return !__builtin_memchr(y, 0, (size_t)m);
}

static void strided_cols_bool(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                              void *y_) {
    const uint8_t *x = x_;
    uint8_t *y = y_;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (!x[j]) continue;
        const uint8_t *a = (const uint8_t *)A + j * cs;
        for (ptrdiff_t i = 0; i < m; i++) y[i] |= a[i * rs];
        if (j % 8 == 7 && all_set(m, y)) return;
    }
}

/* Or of ands; x holds 0 or 255, so that any nonzero byte of A counts as true. A row is left soon after its first. Rows
   that are shorter than a word are taken by columns: no processor foresees where each would end. */
static void rows_bool(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x, void *y_) {
    uint8_t *y = y_;
    if (n < 8) {
        strided_cols_bool(m, n, A, lda, 1, x, y);
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++)
        if (!y[i]) y[i] = (uint8_t)row_is_true(n, (const uint8_t *)A + i * lda, x);
}

static void cols_bool(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x_, void *y_) {
    const uint8_t *x = x_;
    uint8_t *y = y_;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (!x[j]) continue;
        const uint8_t *a = (const uint8_t *)A + j * lda;
        for (ptrdiff_t i = 0; i < m; i++) y[i] |= a[i];
        if (j % 8 == 7 && all_set(m, y)) return;
    }
}

#define NUMBERS(form) \
    [U8] = form##_u8, [U16] = form##_u16, [U32] = form##_u32, [U64] = form##_u64, [F32] = form##_f32, [F64] = form##_f64, \
    [LONGDOUBLE] = form##_ld
#define COMPLEX(form) [C64] = form##_f32, [C128] = form##_f64, [CLONGDOUBLE] = form##_ld

const product_fn row_products[DTYPES] = {[BOOL] = rows_bool, NUMBERS(rows), COMPLEX(complex_rows)};
const product_fn conjugating_row_products[DTYPES] = {COMPLEX(conjugating_rows)};
const product_fn col_products[DTYPES] = {[BOOL] = cols_bool, NUMBERS(cols)};
const strided_fn strided_row_products[DTYPES] = {
    [BOOL] = strided_rows_bool, NUMBERS(strided_rows), [C64] = strided_complex_rows_f32,
    [C128] = strided_complex_rows_f64};
const strided_fn conjugating_strided_row_products[DTYPES] = {
    [C64] = conjugating_strided_rows_f32, [C128] = conjugating_strided_rows_f64};
const strided_fn strided_col_products[DTYPES] = {
    [BOOL] = strided_cols_bool, NUMBERS(strided_cols), [C64] = strided_complex_cols_f32,
    [C128] = strided_complex_cols_f64};
const dot_fn strided_dots[DTYPES] = {NUMBERS(strided_dot)};
const pair_fn col_pair_products[DTYPES] = {[F32] = col_pairs_f32, [F64] = col_pairs_f64, [LONGDOUBLE] = col_pairs_ld};
