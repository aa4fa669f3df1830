/* Rows of float16, converted in registers, times a vector of float32, or one row times one of float16. */
#include "isa.h"
#include "vectors.h"

#if HAS_HALVES

enum { WIDTH = VECTOR_BYTES / 4, SUMS = 4 };
_Static_assert((int)WIDTH <= (int)LEAST_OF_HALVES, "the last elements of a row are read with those before them");

typedef float Singles __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline Singles load_row(const uint16_t *v) {
#if defined(__AVX512F__)
    return (Singles)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)v));
#else
    return (Singles)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)v));
#endif
}

static inline Singles load_factor(const void *x, const int of_halves) {
    return of_halves ? load_row(x) : *(const Singles *)x;
}

static inline float total_of_singles(Singles v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    const __m256 all = (__m256)v;
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#endif
}

/* The last `rest` lanes of a vector that ends where rows do: those before them were there already. */
static inline Singles last_of(Singles v, ptrdiff_t rest) {
    typedef uint32_t Bits __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
    static const uint32_t edge[2 * WIDTH] = {[WIDTH ... 2 * WIDTH - 1] = ~0u};
    return (Singles)((Bits)v & *(const Bits *)(edge + rest));
}

/* Each row, of LEAST_OF_HALVES elements or more, has chains of additions that do not wait for each other; in all SUMS at
   most. */
static inline __attribute__((always_inline)) void add_rows_of_halves(const int rows, const int chains, ptrdiff_t n,
                                                                    const uint16_t *a, ptrdiff_t lda, const void *x,
                                                                    const int x_of_halves, float *y) {
    const ptrdiff_t size = x_of_halves ? sizeof *a : sizeof *y;
    Singles sums[SUMS] = {{0}};
    ptrdiff_t j = 0;
    for (; j + chains * WIDTH <= n; j += chains * WIDTH)
        for (int c = 0; c < chains; c++) {
            const Singles factor = load_factor((const char *)x + (j + c * WIDTH) * size, x_of_halves);
            for (int i = 0; i < rows; i++) sums[i * chains + c] += load_row(a + i * lda + j + c * WIDTH) * factor;
        }
    for (ptrdiff_t k; j < n; j += k) {
        k = min_of(WIDTH, n - j);
        const ptrdiff_t at = j + k - WIDTH;
        const Singles factor = last_of(load_factor((const char *)x + at * size, x_of_halves), k);
        for (int i = 0; i < rows; i++) sums[i * chains] += last_of(load_row(a + i * lda + at), k) * factor;
    }
    for (int i = 0; i < rows; i++) {
        for (int c = 1; c < chains; c++) sums[i * chains] += sums[i * chains + c];
        y[i] += total_of_singles(sums[i * chains]);
    }
}

void half_row_products(ptrdiff_t m, ptrdiff_t n, const uint16_t *A, ptrdiff_t lda, const float *x, float *y) {
    ptrdiff_t i = 0;
    for (; i + 4 <= m; i += 4) add_rows_of_halves(4, 1, n, A + i * lda, lda, x, 0, y + i);
    for (; i + 2 <= m; i += 2) add_rows_of_halves(2, 2, n, A + i * lda, lda, x, 0, y + i);
    if (i < m) add_rows_of_halves(1, 4, n, A + i * lda, lda, x, 0, y + i);
}

void half_dot(ptrdiff_t n, const uint16_t *a, const uint16_t *x, float *y) { add_rows_of_halves(1, 4, n, a, 0, x, 1, y); }

#else

void half_row_products(ptrdiff_t m, ptrdiff_t n, const uint16_t *A, ptrdiff_t lda, const float *x, float *y) {
    (void)m, (void)n, (void)A, (void)lda, (void)x, (void)y;
}

void half_dot(ptrdiff_t n, const uint16_t *a, const uint16_t *x, float *y) { (void)n, (void)a, (void)x, (void)y; }

#endif
