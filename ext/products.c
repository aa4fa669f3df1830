/* Contiguous products, one per accumulator. */
#include "isa.h"

/* Far enough ahead that the line has come from memory when it is needed, past the next turns of the hardware's own
   prefetcher, which stops at each page. */
#define PREFETCH(p) __builtin_prefetch((const char *)(p) + 1024)

#define T uint16_t
#define N u16
#define W (VECTOR_BYTES / 2)
#include "product_template.h"

#define T uint32_t
#define N u32
#define W (VECTOR_BYTES / 4)
#include "product_template.h"

#define T uint64_t
#define N u64
#define W (VECTOR_BYTES / 8)
#include "product_template.h"

#define T float
#define N f32
#define W (VECTOR_BYTES / 4)
#include "product_template.h"

#define T double
#define N f64
#define W (VECTOR_BYTES / 8)
#include "product_template.h"

#define T long double
#define N ld
#define W 1
#include "product_template.h"

typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));

static inline int any_set(bytes v) {
    union { bytes b; words w; } u = {.b = v};
    uint64_t s = 0;
    for (int k = 0; k < VECTOR_BYTES / 8; k++) s |= u.w[k];
    return s != 0;
}

/* Or of ands; x holds 0 or 255, so that any nonzero byte of A counts as true. A row is left at its first true. */
static void rows_bool(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x_, void *y_) {
    const uint8_t *x = x_;
    uint8_t *y = y_;
    for (ptrdiff_t i = 0; i < m; i++) {
        const uint8_t *a = (const uint8_t *)A + i * lda;
        ptrdiff_t j = 0;
        uint8_t found = y[i];
        for (; !found && j + VECTOR_BYTES <= n; j += VECTOR_BYTES)
            found = any_set(*(const bytes *)(a + j) & *(const bytes *)(x + j));
        for (; !found && j < n; j++) found = (a[j] & x[j]) != 0;
        y[i] = found;
    }
}

static int all_set(ptrdiff_t m, const uint8_t *y) {
    return !__builtin_memchr(y, 0, (size_t)m);
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

#define BY_ACCUMULATOR(form) \
    {[BOOL] = form##_bool, [U16] = form##_u16, [U32] = form##_u32, [U64] = form##_u64, \
     [F32] = form##_f32, [F64] = form##_f64, [LONGDOUBLE] = form##_ld}

const product_fn row_products[DTYPES] = BY_ACCUMULATOR(rows);
const product_fn col_products[DTYPES] = BY_ACCUMULATOR(cols);
