#include "environment.h"
#include "folds.h"

#if defined(__FMA__)
#include <immintrin.h>
#endif

enum {
    PATIENCE = 16,
    HEADROOM = 2,     /* binades that a window is chosen larger than its first block needs */
};

/* Whether floating-point arithmetic has passed check_folds(). */
static int trusted = 1;

static int is_double_product(const Form *f) { return f->weighted && f->type == F64; }

/* With which most data comes out exactly: a float32 needs one fold, a float64 or the product of two float32 two, and
   the product of two float64, which is its rounded value and an error, three. */
static int fewest_folds(const Form *f) { return (f->type == F32 ? 1 : 2) + f->weighted; }

/* ---- vectors ---- */

typedef double UnalignedDoubles __attribute__((vector_size(VECTOR_BYTES), aligned(4)));
typedef float Floats __attribute__((vector_size(VECTOR_BYTES / 2), aligned(4)));

static inline Doubles load(int type, const char *p) {
    if (type == F64) return *(const UnalignedDoubles *)p;
    return __builtin_convertvector(*(const Floats *)p, Doubles);
}

static inline Doubles load_weights(int one, const char *p) {
    if (!one) return *(const UnalignedDoubles *)p;
    double w;
    memcpy(&w, p, sizeof w);
    return w - (Doubles){0};
}

static inline int any(Words w) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)w, (__m512i)w) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)w, (__m256i)w);
#else
    return (w[0] | w[1]) != 0;
#endif
}

/* found | a ^ b: GCC does it in two steps where a and b are floating-point numbers */
static inline Words note_difference(Words found, Doubles a, Doubles b) {
#if defined(__AVX512F__)
    return (Words)_mm512_ternarylogic_epi64((__m512i)found, (__m512i)a, (__m512i)b, 0xf6);
#else
    return found | ((Words)a ^ (Words)b);
#endif
}

/* x * y - p, rounded once */
static inline Doubles product_error(Doubles x, Doubles y, Doubles p) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_fmsub_pd((__m512d)x, (__m512d)y, (__m512d)p);
#elif defined(__FMA__)
    return (Doubles)_mm256_fmsub_pd((__m256d)x, (__m256d)y, (__m256d)p);
#else
    Doubles e;
    for (int j = 0; j < LANES; j++) e[j] = __builtin_fma(x[j], y[j], -p[j]);
    return e;
#endif
}

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
enum { HAS_FMA = 1 };
#else
enum { HAS_FMA = 0 };
#endif

/* ---- folds: each returns whether the rows fit into the windows; otherwise nothing is added ---- */

/* Adds to the sum of fold k the multiple of the last bit of M that is nearest to r, which is left in u. */
#define FOLD(r, k) \
    t = (r) + M[k];   \
    u = t - M[k];     \
    sums[k] += (Words)t; \
    if ((k) == 0) over = note_difference(over, t, M[0]);
/* What is left of r, at most half of that bit, goes to the next fold; after the last one nothing may be left. */
#define FOLDS_FROM(r, first, last)                   \
    for (int k = first; k < last; k++) {             \
        FOLD(r, k)                                   \
        (r) = (r) - u;                               \
    }                                                \
    FOLD(r, last)                                    \
    rest = note_difference(rest, u, r);

/* Whether a product became zero although neither factor is: its error is lost too. */
static int underflows(const Form *f, const Rows *rows) {
    Words lost = {0};
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const Doubles x = load(f->type, rows->data + i * rows->stride);
        const Doubles y = load_weights(f->one_weight, rows->weights + i * rows->weight_stride);
        lost |= (Words)(x * y == 0.0) & (Words)(x != 0.0) & (Words)(y != 0.0);
    }
    return any(lost);
}

#define INLINE static inline __attribute__((always_inline))

INLINE int fold(const Form form, const int folds, const Rows *rows, Group *g) {
    Doubles M[MOST_FOLDS];
    Words sums[MOST_FOLDS], over = {0}, rest = {0}, zero = {0};
    const int exact_product = form.weighted && form.type == F64, last = exact_product ? folds - 2 : folds - 1;
    for (int k = 0; k < folds; k++) {
        M[k] = g->M[k];
        sums[k] = (Words){0};
    }
    const char *v = rows->data, *w = rows->weights;
    const ptrdiff_t ahead = rows->ahead;
    for (ptrdiff_t i = 0; i < rows->count; i++, v += rows->stride) {
        __builtin_prefetch(v + ahead);
        Doubles r = load(form.type, v), e, t, u;
        if (form.weighted) {
            const Doubles x = r, y = load_weights(form.one_weight, w);
            r = x * y;
            if (exact_product) {
                zero |= (Words)(r == 0.0);
                e = product_error(x, y, r);
            }
            w += rows->weight_stride;
        }
        FOLDS_FROM(r, 0, last)
        if (exact_product) {
            FOLDS_FROM(e, 1, folds - 1)
        }
    }
    /* The signs of what is left may differ where it is zero, and only there. */
    if (any((over >> 52) | rest << 1) || (exact_product && any(zero) && underflows(&form, rows))) return 0;
    for (int k = 0; k < folds; k++) {
        const uint64_t times = (uint64_t)rows->count << (exact_product && k && k < folds - 1);
        g->sums[k] += sums[k] - times * (Words)M[k];
    }
    return 1;
}

#define FOLDS(name, type, weighted, one_weight)                                        \
    static __attribute__((noinline)) int name(int folds, const Rows *rows, Group *g) { \
        const Form form = {type, weighted, one_weight};                                \
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

static int run_fold(const Form *f, const Rows *rows, Group *g) {
    if (!f->weighted) return f->type == F32 ? fold_floats(g->folds, rows, g) : fold_doubles(g->folds, rows, g);
    if (f->type == F32)
        return f->one_weight ? fold_float_rows(g->folds, rows, g) : fold_float_products(g->folds, rows, g);
    return f->one_weight ? fold_double_rows(g->folds, rows, g) : fold_double_products(g->folds, rows, g);
}

/* ---- elements one by one ---- */

static double element(const Form *f, const Rows *rows, ptrdiff_t i, int lane) {
    const char *p = rows->data + i * rows->stride;
    float single;
    double value;
    if (f->type == F32) {
        memcpy(&single, p + 4 * lane, sizeof single);
        return single;
    }
    memcpy(&value, p + 8 * lane, sizeof value);
    return value;
}

static double weight(const Form *f, const Rows *rows, ptrdiff_t i, int lane) {
    double value;
    memcpy(&value, rows->weights + i * rows->weight_stride + (f->one_weight ? 0 : 8 * lane), sizeof value);
    return value;
}

static void add_one_by_one(const Form *f, Group *g, const Rows *rows) {
    for (int t = 0; t < g->tallies; t++) reach_all(&g->tally[t]);
    for (ptrdiff_t i = 0; i < rows->count; i++)
        for (int j = 0; j < LANES; j++) {
            Tally *t = &g->tally[j % g->tallies];
            if (f->weighted) add_product(t, element(f, rows, i, j), weight(f, rows, i, j));
            else add_double(t, element(f, rows, i, j));
        }
}

/* ---- windows ---- */

static int deposits_whole(const Group *g) { return g->rows * (LANES / g->tallies) <= MOST_ROWS; }

static int64_t sum_of_lanes(const Group *g, int t, int k) {
    uint64_t total = 0;
    if (g->tallies == 1) {
        for (int j = 0; j < LANES; j++) total += g->sums[k][j];
        return (int64_t)total;
    }
    for (int j = t; j < LANES; j += g->tallies) total += g->sums[k][j];
    return (int64_t)total;
}

static int position_of(const Group *g, int t, int k) { return g->E[t] - 50 - 52 * k; }

void flush_group(Group *g) {
    if (!g->rows) return;
    for (int k = 0; k < g->folds; k++) {
        for (int t = 0; t < g->tallies; t++) {
            Tally *tally = &g->tally[t];
            const int position = position_of(g, t, k) + tally->bias;
            if (deposits_whole(g)) {
                const int64_t total = sum_of_lanes(g, t, k);
                if (total) deposit_signed(tally, total, position);
            } else {
                for (int j = t; j < LANES; j += g->tallies)
                    if (g->sums[k][j]) deposit_signed(tally, (int64_t)g->sums[k][j], position);
            }
        }
        g->sums[k] = (Words){0};
    }
    g->rows = 0;
}

void begin_group(Group *g, int tallies, Tally *tally) {
    memset(g, 0, sizeof *g);
    g->tallies = tallies;
    g->tally = tally;
}

static void set_window(Group *g, int t, int E) {
    g->E[t] = E;
    for (int k = 0; k < MOST_FOLDS; k++) {
        const uint64_t bits = ((uint64_t)(E + 2 - 52 * k + 1023) << 52) | 1ull << 51;   /* 1.5 * 2^(E + 2 - 52 k) */
        double M;
        memcpy(&M, &bits, sizeof M);
        for (int j = t; j < LANES; j += g->tallies) g->M[k][j] = M;
    }
}

/* The bits of the largest magnitude of each lane; greater than those of infinity where there is a NaN. */
static Words largest_of(const Form *f, const Rows *rows) {
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    Words most = {0};
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        Doubles v = load(f->type, rows->data + i * rows->stride);
        if (f->weighted) v *= load_weights(f->one_weight, rows->weights + i * rows->weight_stride);
        const Words bits = (Words)v & 0x7fffffffffffffff;
        const Words greater = (Words)((Integers)bits > (Integers)most);
        most = (bits & greater) | (most & ~greater);
    }
    return most;
}

/* The window exponents that folds are exact with. Nothing is lost above 2^-1074, nor of the error of a product above
   2^-969; and M and what it is added to must not overflow. */
static int lowest_window(const Form *f, int folds) {
    return is_double_product(f) ? -969 + 50 + 52 * (folds - 2) : -1074 + 50 + 52 * (folds - 1);
}
static int highest_window(const Form *f) { return is_double_product(f) ? 1000 : 1020; }

/* Windows for `folds` folds of what these rows hold; 0 where there are none. */
static int choose_windows(const Form *f, Group *g, const Rows *rows, int folds) {
    const Words most = largest_of(f, rows);
    const int lowest = lowest_window(f, folds), highest = highest_window(f);
    for (int t = 0; t < g->tallies; t++) {
        uint64_t bits = 0;
        for (int j = t; j < LANES; j += g->tallies)
            if (most[j] > bits) bits = most[j];
        const int exponent = (int)(bits >> 52) - 1023;
        if (exponent > highest) return 0;
        const int E = exponent + HEADROOM > highest ? highest : exponent + HEADROOM;
        set_window(g, t, E > lowest ? E : lowest);
    }
    g->folds = folds;
    return 1;
}

static int try_fold(const Form *f, Group *g, const Rows *rows) {
    if (!run_fold(f, rows, g)) return 0;
    g->rows += rows->count;
    return 1;
}

/* Other windows, or more folds, until one takes these rows. */
static int try_windows(const Form *f, Group *g, const Rows *rows) {
    const int fewest = fewest_folds(f);
    for (int folds = g->folds > fewest ? g->folds : fewest; folds <= MOST_FOLDS; folds++) {
        if (!choose_windows(f, g, rows, folds)) return 0;
        if (try_fold(f, g, rows)) {
            g->patience = PATIENCE;
            return 1;
        }
    }
    return 0;
}

void add_rows(const Form *f, Group *g, const Rows *rows) {
    if (g->rows + rows->count > MOST_ROWS) flush_group(g);
    if (g->patience && !--g->patience && (g->hopeless || g->folds > fewest_folds(f))) {
        flush_group(g);
        g->hopeless = 0;
        g->folds = 0;
    }
    if (!trusted || g->hopeless || (is_double_product(f) && !HAS_FMA)) {
        add_one_by_one(f, g, rows);
        return;
    }
    if (g->folds && try_fold(f, g, rows)) return;
    flush_group(g);
    if (try_windows(f, g, rows)) return;
    g->hopeless = 1;
    g->patience = PATIENCE;
    add_one_by_one(f, g, rows);
}

void clear_group(Group *g) {
    for (int k = 0; k < g->folds; k++) g->sums[k] = (Words){0};
    g->rows = 0;
    for (int t = 0; t < g->tallies; t++) clear_tally(&g->tally[t]);
}

int round_tally(Group *g, int t, int dtype, void *out) {
    Tally *tally = &g->tally[t];
    if (is_clear(tally) && g->folds && g->folds <= 2 && deposits_whole(g)) {
        __int128 total = sum_of_lanes(g, t, 0);
        if (g->folds == 2) total = total * ((__int128)1 << 52) + sum_of_lanes(g, t, 1);
        return round_integer(total, position_of(g, t, g->folds - 1), dtype, out);
    }
    flush_group(g);
    return round_digits(tally->digit + tally->lo, tally->hi - tally->lo, 32 * tally->lo - tally->bias, tally->specials,
                        dtype, out);
}

/* ---- the test ---- */

/* Numbers of all the bits and of exponents from 1 to 2^40, reproducible. */
static double next_number(uint64_t *state) {
    *state = *state * 6364136223846793005 + 1442695040888963407;
    const uint64_t bits = (*state >> 12) | (1023 + (*state >> 24) % 40) << 52 | (*state & 1) << 63;
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static int folds_agree(const Form *f, int folds, const Rows *rows) {
    const int bias = f->weighted ? PRODUCT_BIAS : SUM_BIAS, count = (f->weighted ? PRODUCT_STATE : SUM_STATE) - 3;
    int64_t digits[2][PRODUCT_STATE];
    Tally tally[2] = {{.digit = digits[0], .bias = bias}, {.digit = digits[1], .bias = bias}};
    Group g;
    begin_group(&g, 1, &tally[0]);
    if (!choose_windows(f, &g, rows, folds) || !try_fold(f, &g, rows)) return 0;
    flush_group(&g);
    g.tally = &tally[1];
    add_one_by_one(f, &g, rows);
    for (int i = 0; i < 2; i++) {
        reach(&tally[i], 0, count);
        normalise_tally(&tally[i]);
    }
    return memcmp(digits[0], digits[1], (size_t)count * sizeof **digits) == 0;
}

int check_folds(void) {
    enum { ROWS = 4 };
    const Environment saved = enter_exactness();
    double x[ROWS * LANES], y[ROWS * LANES], z[ROWS * LANES];
    float single[ROWS * LANES];
    uint64_t state = 1;
    for (int i = 0; i < ROWS * LANES; i++) {
        x[i] = next_number(&state);
        y[i] = next_number(&state);
        z[i] = single[i] = (float)x[i];
    }
    for (int type = F32; type <= F64; type++)
        for (int weighted = 0; weighted <= HAS_FMA; weighted++)
            for (int folds = weighted ? MOST_FOLDS : 2; folds <= MOST_FOLDS; folds++) {
                const Form f = {type, weighted, 0};
                const char *data = type == F32 ? (const char *)single : (const char *)x;
                const char *weights = (const char *)(type == F32 ? z : y);
                const Rows rows = {data, weights, LANES * (ptrdiff_t)size_of(type), sizeof(Doubles), ROWS, 0};
                trusted &= folds_agree(&f, folds, &rows);
            }
    leave_exactness(saved);
    return trusted;
}
