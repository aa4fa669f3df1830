/* Exact sums by plain additions: the processor notices whether one of them rounded (docs: exact sums). */
#include "environment.h"
#include "folds.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { APART = 4 };   /* chains of additions, each of which waits for the one before */
#define UPPER_BITS 0xfffffffffc000000

int noticed = HAS_FLAGS;

/* The compiler must not add before the flags are cleared, nor after they are read. */
#if defined(__aarch64__)
#define FIX(a, b) __asm__ volatile("" : "+w"(a), "+w"(b))
#else
#define FIX(a, b) __asm__ volatile("" : "+x"(a), "+x"(b))
#endif

static inline int is_finite(Doubles v) { return !any((Words)(v - v != 0.0)); }

/* Of a float64 two halves are added, since the sum of some numbers of 27 bits is exact, and of 53 bits it is not. */
INLINE int is_halved(const Form form) { return form.type == F64 || form.weighted; }

INLINE void add_row(const Form form, const char *v, const char *w, Doubles *upper, Doubles *lower, Doubles one) {
    Doubles x = load(form.type, form.skip, v);
    if (form.weighted) x *= load_weights(form.one_weight, w);
    if (!is_halved(form)) {
        *upper += x;
        return;
    }
    __asm__("" : "+x"(x));   /* lest it be read from memory twice */
    const Doubles half = (Doubles)((Words)x & UPPER_BITS);
    *upper += half;
    *lower += difference(x, half, one);
}

INLINE int sum(const Form form, const Rows *rows, Doubles *sums) {
    Doubles u0 = {0}, u1 = u0, u2 = u0, u3 = u0, l0 = u0, l1 = u0, l2 = u0, l3 = u0, one = 1.0 - u0;
    const char *v = rows->data, *w = rows->weights;
    const ptrdiff_t stride = rows->stride, weight_stride = rows->weight_stride, ahead = rows->ahead;
    __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
    clear_flags();
    FIX(u0, l0);
    FIX(u1, l1);
    FIX(u2, l2);
    FIX(u3, l3);
    ptrdiff_t left = rows->count;
    for (; left >= APART; left -= APART) {
#pragma GCC unroll 4
        for (int k = 0; k < APART; k++) {
            __builtin_prefetch(v + k * stride + ahead);
            if (form.skip && form.type == F64) __builtin_prefetch(v + k * stride + VECTOR_BYTES + ahead);
        }
        add_row(form, v, w, &u0, &l0, one);
        add_row(form, v += stride, w += weight_stride, &u1, &l1, one);
        add_row(form, v += stride, w += weight_stride, &u2, &l2, one);
        add_row(form, v += stride, w += weight_stride, &u3, &l3, one);
        v += stride;
        w += weight_stride;
    }
    for (; left > 0; left--, v += stride, w += weight_stride) add_row(form, v, w, &u0, &l0, one);
    if (rows->last) add_row(form, rows->last, rows->last_weights, &u1, &l1, one);
    u0 = (u0 + u1) + (u2 + u3);
    l0 = (l0 + l1) + (l2 + l3);
    FIX(u0, l0);
    sums[0] = u0;
    sums[1] = l0;
    return !has_rounded() && is_finite(u0);
}

#define SUM(name, type, weighted, one_weight, skip)                                         \
    static __attribute__((noinline)) int name(const Rows *rows, Doubles *sums) {            \
        return sum((Form){type, weighted, one_weight, skip}, rows, sums);                   \
    }

#if HAS_HALVES
SUM(sum_halves, F16, 0, 0, 0)
SUM(sum_every_other_half, F16, 0, 0, 1)
#endif
SUM(sum_floats, F32, 0, 0, 0)
SUM(sum_every_other_float, F32, 0, 0, 1)
SUM(sum_every_other_pair_of_floats, F32, 0, 0, 2)
SUM(sum_doubles, F64, 0, 0, 0)
SUM(sum_every_other_double, F64, 0, 0, 1)
SUM(sum_every_other_pair, F64, 0, 0, 2)
SUM(sum_float_products, F32, 1, 0, 0)
SUM(sum_float_rows, F32, 1, 1, 0)

int add_plainly(const Form *f, const Rows *rows, Doubles *sums) {
    if (!noticed || is_double_product(f)) return 0;
    if (f->weighted) return (f->one_weight ? sum_float_rows : sum_float_products)(rows, sums);
#if HAS_HALVES
    if (f->type == F16) return (f->skip ? sum_every_other_half : sum_halves)(rows, sums);
#endif
    if (f->type == F32)
        return (f->skip == 2 ? sum_every_other_pair_of_floats : f->skip ? sum_every_other_float : sum_floats)(rows, sums);
    return (f->skip == 2 ? sum_every_other_pair : f->skip ? sum_every_other_double : sum_doubles)(rows, sums);
}

int total_of_pending(const Group *g, Doubles *total) {
    Doubles upper = g->pending[0][0], lower = g->pending[0][1];
    clear_flags();
    FIX(upper, lower);
    for (int i = 1; i < g->pendings; i++) {
        upper += g->pending[i][0];
        lower += g->pending[i][1];
    }
    FIX(upper, lower);
    total[0] = upper;
    total[1] = lower;
    return !has_rounded();
}

/* The sum of the lanes of tally t. */
static double sum_of_lanes(Doubles v, int tallies, int t) {
    double total = v[t];
    for (int j = t + tallies; j < LANES; j += tallies) total += v[j];
    return total;
}

int round_plainly(const Doubles *sums, int tallies, int t, int dtype, void *out) {
    Doubles uppers = sums[0], lowers = sums[1];
    clear_flags();
    FIX(uppers, lowers);
    double upper = sum_of_lanes(uppers, tallies, t), lower = sum_of_lanes(lowers, tallies, t);
    FIX(upper, lower);
    if (has_rounded()) return 0;
    double total = upper + lower;
    FIX(total, lower);
    if (dtype == F64) {
        memcpy(out, &total, sizeof total);
        return total - total == 0;
    }
    const Parts p = parts_of(total);
    return !has_rounded() && !round_integer(p.sign ? -(__int128)p.significand : p.significand, p.exponent - 1075, dtype, out);
}

int round_lanes_plainly(const Doubles *sums, int dtype, void *out) {
    Doubles upper = sums[0], lower = sums[1];
    clear_flags();
    FIX(upper, lower);
    Doubles total = upper + lower;
    FIX(total, lower);
    return !(dtype == F32 && has_rounded()) && write_lanes(total, dtype, out);   /* nothing is rounded twice */
}

/* The test: sums that are exact, and one that is not. */
int notices(void) {
    double x[2 * LANES];
    Doubles sums[2] = {{0}};
    const Rows rows = {(const char *)x, NULL, sizeof(Doubles), 0, 2, 0, NULL, NULL};
    const Form form = {.type = F64};
    int right = 1;
    for (int j = 0; j < 2 * LANES; j++) x[j] = j % LANES + 0x1p-30;
    right &= add_plainly(&form, &rows, sums);
    for (int j = 0; j < LANES; j++) right &= sums[0][j] + sums[1][j] == 2 * x[j];
    x[1] = 0x1p-60;
    right &= !add_plainly(&form, &rows, sums);
    x[1] = INFINITY;
    return right & !add_plainly(&form, &rows, sums);
}
