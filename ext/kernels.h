/* The contract of the kernels: serial code on one block of a problem, compiled once per instruction set.
   A kernel knows pointers, strides and dtypes; no Python, no threads, no allocation. */
#ifndef PARLINALG_KERNELS_H
#define PARLINALG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum dtype { BOOL, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64, LONGDOUBLE, C64, C128, CLONGDOUBLE, DTYPES };

#define MAX_DIMS 64
#define DIGITS 70                  /* of the state of a sum of floats: digit j weighs 2^(32 j - 1088) */
#define FLOAT_STATE (DIGITS + 3)   /* then the counts of NaN, +inf and -inf */

typedef struct {
    const char *data;
    ptrdiff_t m, n;      /* rows, columns; a vector is a matrix of one column */
    ptrdiff_t rs, cs;    /* bytes from one row, one column, to the next; may be negative or 0 */
    int dtype;
    int swapped;         /* whether the byte order is not the native one */
} Matrix;

typedef struct {
    const char *data;
    int ndim;
    ptrdiff_t shape[MAX_DIMS];
    ptrdiff_t stride[MAX_DIMS];   /* bytes */
    ptrdiff_t state[MAX_DIMS];    /* int64s from one state to the next along this axis; 0: the axis is summed over */
    int dtype;
    int swapped;
} Addends;

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

    /* Adds every element to its state, exactly: states of 73 int64 for floats, of one for integers and bool. Float
       states are left normalised. */
    void (*sum)(const Addends *a, int64_t *states);

    /* The or of n 64-bit words, read as fast as memory allows. */
    uint64_t (*read)(ptrdiff_t n, const uint64_t *words);
} Kernels;

/* The dtype in which products of dtype `loop` are summed: wider than float16 and than 8-bit integers. */
int accumulator(int loop);
size_t size_of(int dtype);

/* The table of one instruction set: "baseline", "avx2" or "avx512"; NULL if this build or processor lacks it. */
const Kernels *kernels_named(const char *name);
/* The best that this processor has. */
const Kernels *kernels_best(void);

/* Digits into [-2^31, 2^31), the top one excepted; the value is unchanged. */
void normalise_state(int64_t *state);

enum { ROUND_OVERFLOW = 1, ROUND_INVALID = 2 };
/* Writes the value of a float state into *out (float16, float32 or float64), rounded to nearest, ties to even. */
int round_state(const int64_t *state, int dtype, void *out);

#endif
