/* Rows of numbers to integers: exact windowed folds (docs: exact sums). */
#include "folds.h"

#define INLINE static inline __attribute__((always_inline))

/* What the rows have shown to be wrong. */
typedef struct {
    Words over;   /* bits 52 and above: M and its sum have left their binade */
    Words rest;   /* but for the sign, which may differ where it is zero: what is left after the last fold */
    Words zero;   /* products that are zero: they may have underflowed, and lost their error */
} Faults;

/* To the sum of fold k goes the multiple of its last bit that is nearest to r; what is left, at most half of that bit,
   goes to the next fold. S is M and what was added to it. */
INLINE void fold_number(Doubles r, const int first, const int last, Doubles *S, Doubles M, Doubles one, Faults *f) {
    for (int k = first; k <= last; k++) {
        const Doubles t = r + S[k], u = difference(t, S[k], one);
        S[k] = t;
        if (k == 0) f->over = note_difference(f->over, t, M);
        if (k == last) f->rest = note_difference(f->rest, u, r);
        r = r - u;
    }
}

/* The product of two float64 is its rounded value, which goes to all folds but the last, and an error, which is below
   the first fold. */
INLINE void fold_row(const Form form, const int folds, const char *v, const char *w, Doubles *S, Doubles M, Doubles one,
                     Faults *f) {
    const Doubles x = load_neighbours(form.type, v);
    if (!form.weighted) {
        fold_number(x, 0, folds - 1, S, M, one, f);
        return;
    }
    const Doubles y = load_weights(form.one_weight, w), p = x * y;
    if (form.type == F32) {
        fold_number(p, 0, folds - 1, S, M, one, f);
        return;
    }
    f->zero |= (Words)(p == 0.0);
    fold_number(p, 0, folds - 2, S, M, one, f);
    fold_number(multiply_subtract(x, y, p), 1, folds - 1, S, M, one, f);
}

/* Whether a product is zero although neither factor is. */
static int underflows(const Form *f, const Rows *rows) {
    Words lost = {0};
    for (ptrdiff_t i = 0; i < rows_in(rows); i++) {
        const Doubles x = load_neighbours(f->type, row_of(rows, i)), y = load_weights(f->one_weight, weights_of(rows, i));
        lost |= (Words)(x * y == 0.0) & (Words)(x != 0.0) & (Words)(y != 0.0);
    }
    return any(lost);
}

INLINE int fold(const Form form, const int folds, const Rows *rows, Group *g) {
    Doubles M[MOST_FOLDS], one = 1.0 - (Doubles){0};
    Words sums[MOST_FOLDS];
    Faults f = {{0}, {0}, {0}};
    __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
    for (int k = 0; k < folds; k++) {
        M[k] = g->M[k];
        sums[k] = (Words){0};
    }
    const char *v = rows->data, *w = rows->weights;
    const ptrdiff_t stride = rows->stride, weight_stride = rows->weight_stride, ahead = rows->ahead;
    const char *last = rows->last, *last_weights = rows->last_weights;
    for (ptrdiff_t left = rows->count; left > 0 || last;) {
        Doubles S[CHAINS][MOST_FOLDS];
        for (int k = 0; k < folds; k++) S[0][k] = S[1][k] = M[k];
        const ptrdiff_t pairs = min_of(CHAIN_ROWS, left / 2);
#pragma GCC unroll 2
        for (ptrdiff_t i = 0; i < pairs; i++, v += 2 * stride, w += 2 * weight_stride) {
            __builtin_prefetch(v + ahead, 0, SECOND_LEVEL);
            __builtin_prefetch(v + stride + ahead, 0, SECOND_LEVEL);
            fold_row(form, folds, v, w, S[0], M[0], one, &f);
            fold_row(form, folds, v + stride, w + weight_stride, S[1], M[0], one, &f);
        }
        left -= 2 * pairs;
        if (pairs < CHAIN_ROWS) {   /* there is room for the others */
            if (left) fold_row(form, folds, v, w, S[0], M[0], one, &f);
            if (last) fold_row(form, folds, last, last_weights, S[1], M[0], one, &f);
            left = 0;
            last = NULL;
        }
        for (int k = 0; k < folds; k++) sums[k] += (Words)S[0][k] - (Words)M[k] + ((Words)S[1][k] - (Words)M[k]);
    }
    if (any((f.over >> 52) | f.rest << 1) || (any(f.zero) && underflows(&form, rows))) return 0;
    for (int k = 0; k < folds; k++) g->sums[k] = g->chains ? g->sums[k] + sums[k] : sums[k];
    return 1;
}

#define FOLDS(name, type, weighted, one_weight)                                        \
    static __attribute__((noinline)) int name(int folds, const Rows *rows, Group *g) { \
        const Form form = {type, weighted, one_weight, 0};                             \
        switch (folds) {                                                               \
        case 1: return weighted ? 0 : fold(form, 1, rows, g);                          \
        case 2: return weighted && type == F64 ? 0 : fold(form, 2, rows, g);           \
        case 3: return fold(form, 3, rows, g);                                         \
        case 4: return fold(form, 4, rows, g);                                         \
        case 5: return fold(form, 5, rows, g);                                         \
        default: return fold(form, MOST_FOLDS, rows, g);                               \
        }                                                                              \
    }

FOLDS(fold_floats, F32, 0, 0)
FOLDS(fold_doubles, F64, 0, 0)
FOLDS(fold_float_products, F32, 1, 0)
FOLDS(fold_float_rows, F32, 1, 1)
FOLDS(fold_double_products, F64, 1, 0)
FOLDS(fold_double_rows, F64, 1, 1)

int fold_rows(const Form *f, const Rows *rows, Group *g) {
    if (!f->weighted) return f->type == F32 ? fold_floats(g->folds, rows, g) : fold_doubles(g->folds, rows, g);
    if (f->type == F32)
        return f->one_weight ? fold_float_rows(g->folds, rows, g) : fold_float_products(g->folds, rows, g);
    return f->one_weight ? fold_double_rows(g->folds, rows, g) : fold_double_products(g->folds, rows, g);
}
