/* Exact sums by plain additions (docs: exact sums). */
#include "additions.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

int flags_are_kept = HAS_FLAGS;

/* Of a float64 two halves are added, since the sum of some numbers of 27 bits is exact, and of 53 bits it is not. */
INLINE int is_halved(const Form form) { return form.type == F64 || form.weighted; }

INLINE void add_row(const Form form, ptrdiff_t apart, const char *v, const char *w, Doubles *upper, Doubles *lower,
                    Doubles one) {
    Doubles x = load(form.type, form.layout, apart, v);
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

/* By four chains of additions, each of which waits for the one before. Rows that lie apart, or take their time, are
   `asked_for` in advance; others the processor expects by itself. */
INLINE void sum_of_rows(const Form form, const Rows *rows, const int asked_for, Halves *sums) {
    enum { CHAINS = 4 };
    Doubles u0 = {0}, u1 = u0, u2 = u0, u3 = u0, l0 = u0, l1 = u0, l2 = u0, l3 = u0, one = 1.0 - u0;
    const char *v = rows->data, *w = rows->weights;
    const ptrdiff_t stride = rows->stride, weight_stride = rows->weight_stride, ahead = rows->ahead;
    const ptrdiff_t apart = rows->apart;
    const Form last = {form.type, form.weighted, form.one_weight, ADJACENT};
    __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
    FIX(u0, l0);
    FIX(u1, l1);
    FIX(u2, l2);
    FIX(u3, l3);
    ptrdiff_t left = rows->count;
    for (; left >= CHAINS; left -= CHAINS) {
        if (asked_for) {
#pragma GCC unroll 4
            for (int k = 0; k < CHAINS; k++) __builtin_prefetch(v + k * stride + ahead, 0, SECOND_LEVEL);
        }
        add_row(form, apart, v, w, &u0, &l0, one);
        add_row(form, apart, v += stride, w += weight_stride, &u1, &l1, one);
        add_row(form, apart, v += stride, w += weight_stride, &u2, &l2, one);
        add_row(form, apart, v += stride, w += weight_stride, &u3, &l3, one);
        v += stride;
        w += weight_stride;
    }
    for (; left > 0; left--, v += stride, w += weight_stride) add_row(form, apart, v, w, &u0, &l0, one);
    if (rows->last) add_row(last, apart, rows->last, rows->last_weights, &u1, &l1, one);
    u0 = (u0 + u1) + (u2 + u3);
    if (is_halved(form)) l0 = (l0 + l1) + (l2 + l3);
    FIX(u0, l0);
    *sums = (Halves){u0, l0};
}

/* `count` rows from number i on, so that memory is read in its order, and sums are loaded and stored once for all of
   them. */
INLINE void add_to_columns(const Form form, const ptrdiff_t i, const ptrdiff_t count, const Rows *rows, ptrdiff_t columns,
                           Doubles one, Halves *sums) {
    const ptrdiff_t stride = rows->stride, weight_stride = rows->weight_stride, ahead = rows->ahead;
    const ptrdiff_t apart = rows->apart;
    const char *const data = rows->data + i * stride, *const w = form.weighted ? rows->weights + i * weight_stride : NULL;
    for (ptrdiff_t j = 0; j < columns; j += LANES, sums++) {
        const char *row = data + bytes_to(form.layout, apart, min_of(j, columns - LANES));
        Halves s = {{0}, {0}};
        if (i) s = *sums;
#pragma GCC unroll 8
        for (ptrdiff_t k = 0; k < count; k++) {
            __builtin_prefetch(row + k * stride + ahead, 0, SECOND_LEVEL);
            add_row(form, apart, row + k * stride, w + k * weight_stride, &s.upper, &s.lower, one);
        }
        sums->upper = s.upper;
        sums->lower = s.lower;
    }
}

INLINE int sums_of_columns(const Form form, const Rows *rows, ptrdiff_t columns, Halves *sums) {
    enum { TOGETHER = 8, NARROW = 2 * LANES };   /* the sums of narrow rows would wait for each other */
    const ptrdiff_t count = rows->count;
    const int by_rows = columns > NARROW && count > 0;
    Words wrong = {0};
    if (by_rows) {
        Doubles one = 1.0 - (Doubles){0};
        __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
        ptrdiff_t i = 0;
        for (; count - i >= TOGETHER; i += TOGETHER) add_to_columns(form, i, TOGETHER, rows, columns, one, sums);
        if (i < count) add_to_columns(form, i, count - i, rows, columns, one, sums);
    }
    for (ptrdiff_t j = 0; j < columns; j += LANES, sums++) {
        if (!by_rows) {
            Rows own = *rows;
            own.data += bytes_to(form.layout, rows->apart, min_of(j, columns - LANES));
            sum_of_rows(form, &own, 1, sums);
        }
        wrong |= not_finite(sums->upper);
    }
    return !any(wrong);
}

#define SUM(name, type, weighted, one_weight, layout)                                  \
    static __attribute__((noinline)) void name(const Rows *rows, Halves *sums) {       \
        sum_of_rows((Form){type, weighted, one_weight, layout}, rows, weighted, sums); \
    }
#define SUM_COLUMNS(name, type, weighted, layout)                                                  \
    static __attribute__((noinline)) int name(const Rows *rows, ptrdiff_t columns, Halves *sums) { \
        return sums_of_columns((Form){type, weighted, 1, layout}, rows, columns, sums);            \
    }
#define SUMS(type, layout)                             \
    SUM(JOIN(sum_##type, layout), type, 0, 0, layout)  \
    SUM_COLUMNS(JOIN(columns_##type, layout), type, 0, layout)

#if HAS_HALVES
SUMS(F16, ADJACENT)
SUMS(F16, EVERY_OTHER)
SUMS(F16, APART)
#endif
SUMS(F32, ADJACENT)
SUMS(F32, EVERY_OTHER)
SUMS(F32, EVERY_OTHER_PAIR)
SUMS(F32, APART)
SUMS(F32, PAIRS_APART)
SUMS(F64, ADJACENT)
SUMS(F64, EVERY_OTHER)
SUMS(F64, EVERY_OTHER_PAIR)
SUMS(F64, APART)
SUMS(F64, PAIRS_APART)
SUM(sum_float_products, F32, 1, 0, ADJACENT)
SUM(sum_float_rows, F32, 1, 1, ADJACENT)
SUM_COLUMNS(sum_columns_of_products, F32, 1, ADJACENT)

typedef void (*Summing)(const Rows *rows, Halves *sums);
typedef int (*SummingColumns)(const Rows *rows, ptrdiff_t columns, Halves *sums);

#define SINGLES(form, type)                                                                       \
    [ADJACENT] = JOIN(form##_##type, ADJACENT), [EVERY_OTHER] = JOIN(form##_##type, EVERY_OTHER), \
    [APART] = JOIN(form##_##type, APART)
#define PAIRS(form, type)                                     \
    [EVERY_OTHER_PAIR] = JOIN(form##_##type, EVERY_OTHER_PAIR), [PAIRS_APART] = JOIN(form##_##type, PAIRS_APART)

static const Summing sums_of[DTYPES][LAYOUTS] = {
#if HAS_HALVES
    [F16] = {SINGLES(sum, F16)},
#endif
    [F32] = {SINGLES(sum, F32), PAIRS(sum, F32)},
    [F64] = {SINGLES(sum, F64), PAIRS(sum, F64)},
};
static const SummingColumns sums_of_columns_of[DTYPES][LAYOUTS] = {
#if HAS_HALVES
    [F16] = {SINGLES(columns, F16)},
#endif
    [F32] = {SINGLES(columns, F32), PAIRS(columns, F32)},
    [F64] = {SINGLES(columns, F64), PAIRS(columns, F64)},
};

int can_be_added(const Form *f) { return flags_are_kept && !is_double_product(f); }

void sum_rows(const Form *f, const Rows *rows, Halves *sums) {
    if (f->weighted) (f->one_weight ? sum_float_rows : sum_float_products)(rows, sums);
    else sums_of[f->type][f->layout](rows, sums);
}

int sum_columns(const Form *f, const Rows *rows, ptrdiff_t columns, Halves *sums) {
    return (f->weighted ? sum_columns_of_products : sums_of_columns_of[f->type][f->layout])(rows, columns, sums);
}

int sum_with_errors(const Form *f, const Rows *rows, Halves *sums) {
    Doubles sum = {0}, errors = {0}, error, lost;
    Words wrong = {0};
    for (ptrdiff_t i = 0; i < rows_in(rows); i++) {
        sum = two_sum(sum, load_row(f, rows, i), &error);
        errors = two_sum(errors, error, &lost);
        wrong |= (Words)(lost != 0.0);
    }
    *sums = (Halves){sum, errors};
    return !any(wrong) && is_finite(sum);
}

/* The sums of even and of odd lanes. */
INLINE void add_lanes(Doubles v, double *even, double *odd) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
    const __m256d four = _mm512_castpd512_pd256((__m512d)v) + _mm512_extractf64x4_pd((__m512d)v, 1);
#else
    const __m256d four = (__m256d)v;
#endif
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
#else
    const Doubles two = v;
#endif
    *even = two[0];
    *odd = two[1];
}

__attribute__((noinline)) void sum_lanes(const Halves *sums, int tallies, Pair *pairs) {
    Halves s = *sums;
    Pair even, odd;
    FIX(s.upper, s.lower);
    add_lanes(s.upper, &even.upper, &odd.upper);
    add_lanes(s.lower, &even.lower, &odd.lower);
    if (tallies == 1) {
        even.upper += odd.upper;
        even.lower += odd.lower;
    }
    FIX(even.upper, even.lower);
    FIX(odd.upper, odd.lower);
    pairs[0] = even;
    if (tallies == 2) pairs[1] = odd;
}

int round_number(Pair pair, int dtype, void *out) {
    if (dtype == F64) {
        const double sum = pair.upper + pair.lower;
        memcpy(out, &sum, sizeof sum);
        return sum - sum == 0;
    }
    double rounded[LANES];
    const Halves alone = {pair.upper - (Doubles){0}, pair.lower - (Doubles){0}};
    const int done = !any(round_lanes_of(alone, dtype, rounded));
    if (done) memcpy(out, rounded, size_of(dtype));
    return done;
}

/* ---- the test ---- */

enum { TRIED_ROWS = 7 };   /* a round of all chains, and some */

/* Whether it is noticed that the sum of these rows is exact, or is not. */
static int notices(int type, int columns, int exact, const void *numbers) {
    const Form form = {.type = type};
    const Rows rows = {numbers, NULL, LANES * bytes_of(type), 0, bytes_of(type), TRIED_ROWS, 0, NULL, NULL};
    Halves sums;
    clear_flags();
    if (columns) sum_columns(&form, &rows, LANES, &sums);
    else sum_rows(&form, &rows, &sums);
    return has_rounded() != exact;
}

int check_flags(void) {
    double x[TRIED_ROWS * LANES];
    float y[TRIED_ROWS * LANES];
    int right = 1;
    for (int at = -1; at < TRIED_ROWS * LANES; at++) {   /* where the one is that makes the additions round */
        for (int i = 0; i < TRIED_ROWS * LANES; i++) {
            y[i] = i == at ? 0x1p-90f : (float)i + 1;
            x[i] = y[i] + (i == at ? 0 : 0x1p-30);
        }
        for (int columns = 0; columns < 2; columns++)
            right &= notices(F64, columns, at < 0, x) & notices(F32, columns, at < 0, y);
    }
    x[0] = INFINITY;
    right &= notices(F64, 0, 0, x);
    clear_flags();
    return right & !has_rounded();
}
