/* What a file of kernels needs that is compiled once per instruction set: its vectors, and names of its own. */
#ifndef PARLINALG_ISA_H
#define PARLINALG_ISA_H

#include "kernels.h"

#ifdef __FAST_MATH__
#error "parlinalg must not be compiled with -ffast-math: sums would no longer be exact"
#endif

/* The build defines PARLINALG_ISA, for each compilation of a kernel file, as baseline, avx2 or avx512. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

/* Functions of different files of one instruction set find each other by these names. */
#define fetch JOIN(fetch, PARLINALG_ISA)
#define fetch_near JOIN(fetch_near, PARLINALG_ISA)
#define narrow JOIN(narrow, PARLINALG_ISA)
#define row_products JOIN(row_products, PARLINALG_ISA)
#define conjugating_row_products JOIN(conjugating_row_products, PARLINALG_ISA)
#define conjugating_strided_row_products JOIN(conjugating_strided_row_products, PARLINALG_ISA)
#define col_products JOIN(col_products, PARLINALG_ISA)
#define strided_row_products JOIN(strided_row_products, PARLINALG_ISA)
#define strided_col_products JOIN(strided_col_products, PARLINALG_ISA)
#define strided_dots JOIN(strided_dots, PARLINALG_ISA)
#define col_pair_products JOIN(col_pair_products, PARLINALG_ISA)
#define block_matvec JOIN(block_matvec, PARLINALG_ISA)
#define block_accumulate JOIN(block_accumulate, PARLINALG_ISA)
#define block_store JOIN(block_store, PARLINALG_ISA)
#define block_dots JOIN(block_dots, PARLINALG_ISA)
#define block_panels JOIN(block_panels, PARLINALG_ISA)
#define block_suits_panels JOIN(block_suits_panels, PARLINALG_ISA)
#define block_sum JOIN(block_sum, PARLINALG_ISA)
#define sum_integers JOIN(sum_integers, PARLINALG_ISA)
#define best_axis JOIN(best_axis, PARLINALG_ISA)
#define half_row_products JOIN(half_row_products, PARLINALG_ISA)
#define half_dot JOIN(half_dot, PARLINALG_ISA)

/* By accumulator (for BOOL x holds 0 or 255): y[i] += sum_j A[i*lda + j] x[j] by rows, or A[i + j*lda] x[j] by columns,
   which there are not for complex ones; contiguous, aligned, of one dtype. lda counts elements, or parts of complex ones. */
typedef void (*product_fn)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x, void *y);
extern const product_fn row_products[DTYPES], col_products[DTYPES];
extern const product_fn conjugating_row_products[DTYPES];   /* with the conjugate of x */

/* The same for any strides, in elements, or parts of complex ones; not for CLONGDOUBLE. */
typedef void (*strided_fn)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x, void *y);
extern const strided_fn strided_row_products[DTYPES], strided_col_products[DTYPES];
extern const strided_fn conjugating_strided_row_products[DTYPES];

/* y += a x of two vectors of any strides, in elements; not of BOOL, nor of complex ones. */
typedef void (*dot_fn)(ptrdiff_t n, const void *a, ptrdiff_t as, const void *x, ptrdiff_t xs, void *y);
extern const dot_fn strided_dots[DTYPES];

/* By columns for two vectors at once: y += A x, w += A z. */
typedef void (*pair_fn)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x, const void *z, void *y,
                        void *w);
extern const pair_fn col_pair_products[DTYPES];

/* Rows of float16 times a vector of float32, and one row times a vector of float16; only if HAS_HALVES, and for rows of
   LEAST_OF_HALVES elements or more: shorter ones are converted together. */
enum { LEAST_OF_HALVES = 16 };
void half_row_products(ptrdiff_t m, ptrdiff_t n, const uint16_t *A, ptrdiff_t lda, const float *x, float *y);
void half_dot(ptrdiff_t n, const uint16_t *a, const uint16_t *x, float *y);

/* dst[i] = src[i*stride bytes] for n elements, converted from dtype `from` to accumulator `to`, contiguous. */
void fetch(ptrdiff_t n, const char *src, ptrdiff_t stride, int from, int swapped, int to, void *dst);
/* The same of elements that lie in the cache already; `fetch` asks for those that follow. */
void fetch_near(ptrdiff_t n, const char *src, ptrdiff_t stride, int from, int swapped, int to, void *dst);
/* dst[i*stride bytes] = src[i], from accumulators to dtype `to`. */
void narrow(ptrdiff_t n, const void *src, int to, char *dst, ptrdiff_t stride);

void block_matvec(const Matrix *A, const Matrix *x, const Matrix *y);
void block_accumulate(const Matrix *A, const Matrix *x, int loop, void *sums);
void block_store(const void *sums, const Matrix *y);
void block_dots(const Matrix *A, const Matrix *x, const Matrix *y);
void block_panels(const Matrix *A, const Matrix *x, const Matrix *y);
int block_suits_panels(ptrdiff_t m, ptrdiff_t n, ptrdiff_t columns, int loop);
int block_sum(const Addends *a, int dtype, char *results, void *room);
/* The same of integers, whose axes are in order of stride. */
void sum_integers(Addends *a, char *results);

/* The cache that rows are asked for: what comes in order arrives later in the first one (docs: speed). */
enum { SECOND_LEVEL = 2 };

enum { LONG = 16 };   /* elements of an axis from which on it is worth to go along it */
/* The innermost of the axes that are kept, or of those that are summed, that is long; if none is, the longest. */
int best_axis(const Addends *a, int kept);

static inline int is_complex(int dtype) { return dtype >= C64; }
static inline int complex_of(int dtype) { return dtype - F32 + C64; }
static inline int real_of(int dtype) { return is_complex(dtype) ? dtype - C64 + F32 : dtype; }
/* Bytes, as so many elements. A division would take longer than the product of a short row. */
static inline ptrdiff_t elements_in(ptrdiff_t bytes, int dtype) {
    const ptrdiff_t size = (ptrdiff_t)size_of(dtype);
    return size & (size - 1) ? bytes / size : bytes >> __builtin_ctzll((unsigned long long)size);
}

static inline ptrdiff_t min_of(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Whether a pointer and its strides may be used as a C pointer to elements of this dtype. */
static inline int is_aligned(const void *data, ptrdiff_t rs, ptrdiff_t cs, int dtype) {
    size_t part = size_of(real_of(dtype));
    if (part > 16) part = 16;
    return (((uintptr_t)data | (size_t)rs | (size_t)cs) & (part - 1)) == 0;
}

#endif
