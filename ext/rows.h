/* What is summed: rows of vectors. */
#ifndef PARLINALG_ROWS_H
#define PARLINALG_ROWS_H

#include "vectors.h"

/* What is summed: elements of a type, alone, or times a weight: one for each, or one for a row of them. */
typedef struct {
    int type;       /* F16, F32 or F64; F16 without weights, and only if HAS_HALVES */
    int weighted;
    int one_weight; /* of a row */
    int skip;       /* 1: elements, without weights, lie two apart; 2: so do pairs of them */
} Form;

/* From one element to the next, in elements. */
static inline ptrdiff_t step_of(const Form *f) { return f->skip ? 2 : 1; }

/* Rows of LANES elements, and perhaps one more that lies elsewhere. */
typedef struct {
    const char *data, *weights;
    ptrdiff_t stride, weight_stride;   /* bytes from one row to the next */
    ptrdiff_t count;
    ptrdiff_t ahead;                   /* bytes: how far before its use memory is asked for */
    const char *last, *last_weights;   /* NULL: no such row */
} Rows;

static inline ptrdiff_t rows_in(const Rows *rows) { return rows->count + (rows->last != NULL); }
static inline const char *row_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->data + i * rows->stride : rows->last;
}
static inline const char *weights_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->weights + i * rows->weight_stride : rows->last_weights;
}

static inline void pass(Rows *rows, ptrdiff_t count) {
    rows->data += count * rows->stride;
    if (rows->weights) rows->weights += count * rows->weight_stride;
}

static inline int is_double_product(const Form *f) { return f->weighted && f->type == F64; }

#endif
