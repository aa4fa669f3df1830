/* The contract of the kernels: serial code on one block of a problem, compiled once per instruction set.
   A kernel knows pointers, strides and dtypes; no Python, no threads, no allocation. */
#ifndef PARLINALG_KERNELS_H
#define PARLINALG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum dtype { BOOL, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64, LONGDOUBLE, C64, C128, CLONGDOUBLE, DTYPES };

#define MAX_DIMS 64

/* States: digits, of which digit j weighs 2^(32 j - BIAS), then the counts of NaN, +inf and -inf. */
#define SUM_STATE 73        /* of a sum of floats */
#define SUM_BIAS 1088
#define PRODUCT_STATE 139   /* of a sum of products of two floats */
#define PRODUCT_BIAS 2176

typedef struct {
    const char *data;
    ptrdiff_t m, n;      /* rows, columns; a vector is a matrix of one column */
    ptrdiff_t rs, cs;    /* bytes from one row, one column, to the next; may be negative or 0 */
    int dtype;
    int swapped;         /* whether the byte order is not the native one */
    int conjugated;      /* whether the conjugates count, of a vector x of complex numbers */
} Matrix;

/* What is summed, each element times its weight if there are weights. */
typedef struct {
    const char *data, *weights;   /* weights: float64, or NULL */
    int ndim;
    ptrdiff_t shape[MAX_DIMS];
    ptrdiff_t stride[MAX_DIMS], weight[MAX_DIMS];   /* bytes from one element, one weight, to the next */
    ptrdiff_t result[MAX_DIMS];   /* bytes from one result to the next along this axis; 0: the axis is summed over */
    int dtype;
    int swapped;
    int loop;                     /* F32 or F64, to which elements are widened; U64 for integers and bool */
    int begins;                   /* whether each sum of floats, but for STATES, begins with the initial number: */
    double initial[2];            /* its real part and its imaginary part; of real numbers, twice the same */
} Addends;

enum { DOTS_BYTES = 8192 };
enum { STATES = -1 };   /* stands for a dtype of results */

typedef struct {
    const char *name;

    /* y[i] = sum_j A[i,j] x[j]. The dtype of y is the one to compute in; A and x can be cast to it safely. y
       overlaps neither. Sums are kept in the accumulator's dtype (see accumulator()) and rounded to y's once.
       |error| <= gamma_n |A||x|; integers wrap around; bool is or of ands. */
    void (*matvec)(const Matrix *A, const Matrix *x, const Matrix *y);

    /* sums[i] += sum_j A[i,j] x[j] for the product in dtype `loop`; sums are contiguous accumulators. */
    void (*accumulate)(const Matrix *A, const Matrix *x, int loop, void *sums);

    /* y[i] = sums[i], in the dtype of y. */
    void (*store)(const void *sums, const Matrix *y);

    /* y[i] = sum_j A[i,j] x[i,j], otherwise as matvec; for many rows, whose accumulators take DOTS_BYTES at most. */
    void (*dots)(const Matrix *A, const Matrix *x, const Matrix *y);

    /* y[i,k] = sum_j A[i,j] x[j,k] of integers or bool of one dtype, in native byte order, where elements of a row of y
       are neighbours, and there is some j. */
    void (*panels)(const Matrix *A, const Matrix *x, const Matrix *y);

    /* Whether that is faster than a matvec for each of so many columns of x. No for floats. */
    int (*suits_panels)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t columns, int loop);

    /* Exact sums. Of dtype STATES, they are added to the results: one int64 for integers and bool; for floats a state
       that is normalised, and is not any longer. Otherwise floats are rounded, once, to float16, float32 or float64.
       Room for ROOM_BYTES. Returns what round_state does. */
    int (*sum)(const Addends *a, int dtype, char *results, void *room);

    /* Tries out whether floating-point arithmetic does what sums rely on; they use integers only from then on if it
       does not, and this returns 0. */
    int (*check)(void);

    /* The or of n 64-bit words, read as fast as memory allows. */
    uint64_t (*read)(ptrdiff_t n, const uint64_t *words);
} Kernels;

/* The dtype in which products of dtype `loop` are summed: wider than float16; unsigned, since these wrap around. */
int accumulator(int loop);
size_t size_of(int dtype);

/* The table of one instruction set: "baseline", "avx2" or "avx512"; NULL if this build or processor lacks it. */
const Kernels *kernels_named(const char *name);
/* The best that this processor has. */
const Kernels *kernels_best(void);

enum { ROOM_BYTES = 896 << 10 };

/* Digits into [-2^31, 2^31), the top one excepted; the value is unchanged. */
void normalise_digits(int count, int64_t *digit);

enum { ROUND_OVERFLOW = 1, ROUND_INVALID = 2 };
/* Writes a value into *out (float16, float32 or float64), rounded to nearest, ties to even: that of a whole state, of
   digits of which the first weighs 2^exponent, or integer * 2^exponent. */
int round_state(const int64_t *state, int length, int dtype, void *out);
int round_digits(const int64_t *digit, int count, int exponent, const int64_t *specials, int dtype, void *out);
int round_integer(__int128 integer, int exponent, int dtype, void *out);

#endif
