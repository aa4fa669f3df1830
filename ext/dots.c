/* Dot products of many short vectors. */
#include "isa.h"

#include <string.h>

enum { FEW = 8 };   /* elements of a row that are not worth a loop of vectors */

/* Of rows of aligned elements, `step` of them apart, in rows `lda` apart. */
typedef struct { const void *data; ptrdiff_t lda, step; } Rows;
typedef void (*dots_fn)(ptrdiff_t m, ptrdiff_t n, Rows a, Rows b, int conjugated, void *sums);

#define OF_ROWS(T, DOT)                                                                                    \
    for (ptrdiff_t i = 0; i < m; i++) {                                                                    \
        const T *a = (const T *)A.data + i * A.lda, *b = (const T *)B.data + i * B.lda;                    \
        DOT                                                                                                \
    }
/* WIDE: in which no product overflows as a signed number. Of few elements, of neighbours, in a loop of vectors, and of
   others, two by two, so that sums wait less for each other. */
#define DOTS(name, T, WIDE)                                                                                \
    static void name(ptrdiff_t m, ptrdiff_t n, Rows A, Rows B, int conjugated, void *sums) {               \
        (void)conjugated;                                                                                  \
        T *y = sums;                                                                                       \
        if (n < FEW) OF_ROWS(T, {                                                                          \
            WIDE s = 0;                                                                                    \
            for (ptrdiff_t j = 0; j < n; j++, a += A.step, b += B.step) s += (WIDE)*a * (WIDE)*b;          \
            y[i] = (T)s;                                                                                   \
        })                                                                                                 \
        else if (A.step == 1 && B.step == 1) OF_ROWS(T, {                                                  \
            T s = 0;                                                                                       \
            for (ptrdiff_t j = 0; j < n; j++) s = (T)(s + (WIDE)a[j] * (WIDE)b[j]);                        \
            y[i] = s;                                                                                      \
        })                                                                                                 \
        else OF_ROWS(T, {                                                                                  \
            WIDE even = 0; WIDE odd = 0;                                                                   \
            for (ptrdiff_t j = 0; j < n / 2; j++, a += 2 * A.step, b += 2 * B.step) {                      \
                even += (WIDE)a[0] * (WIDE)b[0];                                                           \
                odd += (WIDE)a[A.step] * (WIDE)b[B.step];                                                  \
            }                                                                                              \
            y[i] = (T)(n % 2 ? even + odd + (WIDE)*a * (WIDE)*b : even + odd);                             \
        })                                                                                                 \
    }
#define COMPLEX_DOTS(name, T)                                                                                      \
    static void name(ptrdiff_t m, ptrdiff_t n, Rows A, Rows B, int conjugated, void *sums) {                       \
        const T sign = conjugated ? -1 : 1;                                                                        \
        for (ptrdiff_t i = 0; i < m; i++) {                                                                        \
            const T *a = (const T *)A.data + 2 * i * A.lda, *b = (const T *)B.data + 2 * i * B.lda;                \
            T real = 0, imaginary = 0;                                                                             \
            for (ptrdiff_t j = 0; j < n; j++, a += 2 * A.step, b += 2 * B.step) {                                  \
                const T part = sign * b[1];                                                                        \
                real += a[0] * b[0] - a[1] * part;                                                                 \
                imaginary += a[0] * part + a[1] * b[0];                                                            \
            }                                                                                                      \
            ((T *)sums)[2 * i] = real;                                                                             \
            ((T *)sums)[2 * i + 1] = imaginary;                                                                    \
        }                                                                                                          \
    }

DOTS(dots_u8, uint8_t, uint32_t)
DOTS(dots_u16, uint16_t, uint32_t)
DOTS(dots_u32, uint32_t, uint32_t)
DOTS(dots_u64, uint64_t, uint64_t)
DOTS(dots_f32, float, float)
DOTS(dots_f64, double, double)
DOTS(dots_ld, long double, long double)
COMPLEX_DOTS(dots_c64, float)
COMPLEX_DOTS(dots_c128, double)
COMPLEX_DOTS(dots_cld, long double)

/* Or of ands, as far as the first. */
static void dots_bool(ptrdiff_t m, ptrdiff_t n, Rows A, Rows B, int conjugated, void *sums) {
    (void)conjugated;
    for (ptrdiff_t i = 0; i < m; i++) {
        const uint8_t *a = (const uint8_t *)A.data + i * A.lda, *b = (const uint8_t *)B.data + i * B.lda;
        ptrdiff_t j = 0;
        while (j < n && !(a[j * A.step] && b[j * B.step])) j++;
        ((uint8_t *)sums)[i] = j < n;
    }
}

static const dots_fn dots[DTYPES] = {
    [BOOL] = dots_bool, [U8] = dots_u8, [U16] = dots_u16, [U32] = dots_u32, [U64] = dots_u64, [F32] = dots_f32,
    [F64] = dots_f64, [LONGDOUBLE] = dots_ld, [C64] = dots_c64, [C128] = dots_c128, [CLONGDOUBLE] = dots_cld};

static int lies_ready(const Matrix *a, int acc) {
    return accumulator(a->dtype) == acc && a->dtype != F16 && !a->swapped && is_aligned(a->data, a->rs, a->cs, acc) &&
           !(((size_t)a->rs | (size_t)a->cs) & (size_of(acc) - 1));
}

/* Whether elements of rows are brought together as vectors, faster than they are multiplied one by one. */
static int are_gathered(const Matrix *a, int acc) {
    enum { MANY = 64 };
    const ptrdiff_t size = (ptrdiff_t)size_of(acc);
    return a->n >= MANY && acc != BOOL && (a->cs == -size || a->cs == 2 * size);
}

/* Where they lie, or converted into a buffer. */
static Rows ready_rows(const Matrix *a, int acc, char *buffer) {
    if (lies_ready(a, acc) && !are_gathered(a, acc))
        return (Rows){a->data, elements_in(a->rs, acc), elements_in(a->cs, acc)};
    const ptrdiff_t size = (ptrdiff_t)size_of(acc);
    if (a->n >= LONG) {
        for (ptrdiff_t i = 0; i < a->m; i++)
            fetch_near(a->n, a->data + i * a->rs, a->cs, a->dtype, a->swapped, acc, buffer + i * a->n * size);
        return (Rows){buffer, a->n, 1};
    }
    for (ptrdiff_t j = 0; j < a->n; j++)
        fetch_near(a->m, a->data + j * a->cs, a->rs, a->dtype, a->swapped, acc, buffer + j * a->m * size);
    return (Rows){buffer, 1, a->m};
}

void block_dots(const Matrix *A_, const Matrix *x_, const Matrix *y) {
    const int acc = accumulator(y->dtype);
    _Alignas(64) char a[DOTS_BYTES], b[DOTS_BYTES], sums[DOTS_BYTES];
    const ptrdiff_t most = elements_in(DOTS_BYTES, acc) / (A_->n + !A_->n);
    Matrix A = *A_, x = *x_;
    for (ptrdiff_t i = 0; i < A_->m; i += most) {
        A.m = x.m = min_of(most, A_->m - i);
        A.data = A_->data + i * A.rs;
        x.data = x_->data + i * x.rs;
        dots[acc](A.m, A.n, ready_rows(&A, acc, a), ready_rows(&x, acc, b), x.conjugated, sums);
        narrow(A.m, sums, y->dtype, (char *)y->data + i * y->rs, y->rs);
    }
}
