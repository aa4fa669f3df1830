/* Exact sums by plain additions: the processor notices whether one of them rounded (docs: exact sums). */
#include "folds.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { APART = 4 };   /* chains of additions, each of which waits for the one before */
#define UPPER_BITS 0xfffffffffc000000

int noticed = HAS_FLAGS;

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

/* Rows that lie apart are asked for in advance; others the processor expects by itself. */
INLINE void sum_of_rows(const Form form, const Rows *rows, const int apart, Doubles *sums) {
    Doubles u0 = {0}, u1 = u0, u2 = u0, u3 = u0, l0 = u0, l1 = u0, l2 = u0, l3 = u0, one = 1.0 - u0;
    const char *v = rows->data, *w = rows->weights;
    const ptrdiff_t stride = rows->stride, weight_stride = rows->weight_stride, ahead = rows->ahead;
    __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
    FIX(u0, l0);
    FIX(u1, l1);
    FIX(u2, l2);
    FIX(u3, l3);
    ptrdiff_t left = rows->count;
    for (; left >= APART; left -= APART) {
        if (apart) {
#pragma GCC unroll 4
            for (int k = 0; k < APART; k++) __builtin_prefetch(v + k * stride + ahead);
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
    if (is_halved(form)) l0 = (l0 + l1) + (l2 + l3);
    FIX(u0, l0);
    sums[0] = u0;
    sums[1] = l0;
}

#define SUM(name, type, weighted, one_weight, skip)                               \
    static __attribute__((noinline)) void name(const Rows *rows, Doubles *sums) { \
        sum_of_rows((Form){type, weighted, one_weight, skip}, rows, 0, sums);     \
    }
#define SUM_COLUMNS(name, type, weighted)                                                        \
    static __attribute__((noinline)) int name(const Rows *rows, ptrdiff_t columns, Group *g) {   \
        const Form form = {type, weighted, 1, 0};                                                \
        Rows own = *rows;                                                                        \
        Words wrong = {0};                                                                       \
        for (ptrdiff_t j = 0; j < columns; j += LANES, g++) {                                    \
            Doubles *const sums = g->pending[g->pendings];                                       \
            own.data = rows->data + min_of(j, columns - LANES) * bytes_of(type);                 \
            sum_of_rows(form, &own, 1, sums);                                                   \
            wrong |= (Words)(sums[0] - sums[0] != 0.0);                                          \
        }                                                                                        \
        return !any(wrong);                                                                      \
    }

#if HAS_HALVES
SUM(sum_halves, F16, 0, 0, 0)
SUM(sum_every_other_half, F16, 0, 0, 1)
SUM_COLUMNS(sum_columns_of_halves, F16, 0)
#endif
SUM(sum_floats, F32, 0, 0, 0)
SUM(sum_every_other_float, F32, 0, 0, 1)
SUM(sum_every_other_pair_of_floats, F32, 0, 0, 2)
SUM(sum_doubles, F64, 0, 0, 0)
SUM(sum_every_other_double, F64, 0, 0, 1)
SUM(sum_every_other_pair, F64, 0, 0, 2)
SUM(sum_float_products, F32, 1, 0, 0)
SUM(sum_float_rows, F32, 1, 1, 0)
SUM_COLUMNS(sum_columns_of_floats, F32, 0)
SUM_COLUMNS(sum_columns_of_doubles, F64, 0)
SUM_COLUMNS(sum_columns_of_products, F32, 1)

typedef void (*Summing)(const Rows *rows, Doubles *sums);

/* By type, and how elements lie apart. */
static const Summing sums_of[DTYPES][3] = {
#if HAS_HALVES
    [F16] = {sum_halves, sum_every_other_half, NULL},
#endif
    [F32] = {sum_floats, sum_every_other_float, sum_every_other_pair_of_floats},
    [F64] = {sum_doubles, sum_every_other_double, sum_every_other_pair},
};

int can_be_added(const Form *f) { return noticed && !is_double_product(f); }

void sum_rows(const Form *f, const Rows *rows, Doubles *sums) {
    if (f->weighted) (f->one_weight ? sum_float_rows : sum_float_products)(rows, sums);
    else sums_of[f->type][f->skip](rows, sums);
}

int sum_columns(const Form *f, const Rows *rows, ptrdiff_t columns, Group *g) {
    if (f->weighted) return sum_columns_of_products(rows, columns, g);
#if HAS_HALVES
    if (f->type == F16) return sum_columns_of_halves(rows, columns, g);
#endif
    return (f->type == F32 ? sum_columns_of_floats : sum_columns_of_doubles)(rows, columns, g);
}

static inline Doubles two_sum(Doubles a, Doubles b, Doubles *error) {
    const Doubles sum = a + b, of_b = sum - a;
    *error = (a - (sum - of_b)) + (b - of_b);
    return sum;
}

int sum_with_errors(const Form *f, const Rows *rows, Doubles *sums) {
    Doubles sum = {0}, errors = {0}, error, lost;
    Words wrong = {0};
    for (ptrdiff_t i = 0; i < rows_in(rows); i++) {
        sum = two_sum(sum, load(f->type, f->skip, row_of(rows, i)), &error);
        errors = two_sum(errors, error, &lost);
        wrong |= (Words)(lost != 0.0);
    }
    sums[0] = sum;
    sums[1] = errors;
    return !any(wrong) && is_finite(sum);
}

/* The sums of even and of odd lanes. */
static inline void add_lanes(Doubles v, double *sums) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
    const __m256d four = _mm512_castpd512_pd256((__m512d)v) + _mm512_extractf64x4_pd((__m512d)v, 1);
#else
    const __m256d four = (__m256d)v;
#endif
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    memcpy(sums, &two, sizeof two);
#else
    memcpy(sums, &v, sizeof v);
#endif
}

void add_tallies(const Doubles *sums, int tallies, double (*total)[2]) {
    for (int k = 0; k < 2; k++) {
        double pair[2];
        add_lanes(sums[k], pair);
        total[0][k] = tallies == 1 ? pair[0] + pair[1] : pair[0];
        total[1][k] = pair[1];
    }
    __asm__ volatile("" : : : "memory");   /* as FIX */
}

/* What is exact is rounded once; 0 where it overflows, or the addition of both parts had to round before. */
int round_parts(double upper, double lower, int dtype, void *out) {
    double total = upper + lower;
    if (dtype == F64) {
        memcpy(out, &total, sizeof total);
        return total - total == 0;
    }
    const Parts p = parts_of(total);
    return lower == 0 && !p.special &&
           !round_integer(p.sign ? -(__int128)p.significand : p.significand, p.exponent - 1075, dtype, out);
}

/* The test: sums that are exact, and one that is not. */
int notices(void) {
    double x[2 * LANES];
    Doubles sums[2] = {{0}};
    const Rows rows = {(const char *)x, NULL, sizeof(Doubles), 0, 2, 0, NULL, NULL};
    const Form form = {.type = F64};
    int right = 1;
    for (int j = 0; j < 2 * LANES; j++) x[j] = j % LANES + 0x1p-30;
    clear_flags();
    sum_rows(&form, &rows, sums);
    right &= !has_rounded();
    for (int j = 0; j < LANES; j++) right &= sums[0][j] + sums[1][j] == 2 * x[j];
    for (int trial = 0; trial < 2; trial++) {
        x[1] = trial ? INFINITY : 0x1p-60;
        clear_flags();
        sum_rows(&form, &rows, sums);
        right &= has_rounded();
    }
    clear_flags();
    return right & !has_rounded();
}
