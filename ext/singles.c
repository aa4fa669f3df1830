/* Runs of float32 to integers by additions of float32: twice as many to a vector as with those of float64, but only two
   folds of 23 bits (docs: exact sums). */
#include "folds.h"

enum {
    SINGLES = VECTOR_BYTES / 4,
    BLOCK = 128,       /* rows: each adds at most 2^22 to integers of 32 bits */
    PATIENCE = 16,     /* blocks before it is tried again */
    LOWEST = -104,     /* window, below which M[1] or its last bit would be subnormal */
    HIGHEST = 124,
};

typedef float Singles __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef uint32_t Fours __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t HalfOfFours __attribute__((vector_size(VECTOR_BYTES / 2), aligned(4), may_alias));

static float single_power(int exponent) {
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* Integers of 32 bits, of which the upper half belongs to the same tallies as the lower one. */
static Words widened(Fours v) {
    union { Fours whole; HalfOfFours half[2]; } u = {.whole = v};
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    return (Words)(__builtin_convertvector(u.half[0], Integers) + __builtin_convertvector(u.half[1], Integers));
}

/* Rows of SINGLES elements, and perhaps one more that lies elsewhere. */
typedef struct { const float *data, *last; ptrdiff_t count; } SingleRows;

static inline __attribute__((always_inline)) Singles load_singles(const float *v, const int step) {
    if (step == 2) return PICK_OVERLAPPING(4, *(const Singles *)v, *(const Singles *)(v + SINGLES - 1));
    return *(const Singles *)v;
}

/* As fold_number, but nothing is carried from one number to the next: their bits are added up at once. */
static inline __attribute__((always_inline)) int fold_rows_of(SingleWindow *w, const SingleRows *rows, const int step,
                                                              ptrdiff_t ahead) {
    const Singles M0 = w->M[0] - (Singles){0}, M1 = w->M[1] - (Singles){0};
    const float *v = rows->data;
    Fours high = {0}, low = {0};
    Words over = {0}, rest = {0};
    const ptrdiff_t all = rows->count + (rows->last != NULL);
    for (ptrdiff_t i = 0; i < all; i++, v += step * SINGLES) {
        if (i == rows->count) v = rows->last;
        __builtin_prefetch((const char *)v + ahead);
        if (step == 2) __builtin_prefetch((const char *)v + ahead + VECTOR_BYTES);
        const Singles x = load_singles(v, step);
        const Singles t = x + M0, r = x - (t - M0), s = r + M1;
        high += (Fours)t;
        low += (Fours)s;
        over = note_difference(over, (Doubles)t, (Doubles)M0);
        rest = note_difference(rest, (Doubles)(s - M1), (Doubles)r);
    }
    if (any((over & 0xff800000ff800000) | (rest & 0x7fffffff7fffffff))) return 0;
    w->sums[0] += widened(high - (uint32_t)all * (Fours)M0);
    w->sums[1] += widened(low - (uint32_t)all * (Fours)M1);
    w->used = 1;
    return 1;
}

static int fold_each(SingleWindow *w, const SingleRows *rows, ptrdiff_t ahead) { return fold_rows_of(w, rows, 1, ahead); }

static int fold_every_other(SingleWindow *w, const SingleRows *rows, ptrdiff_t ahead) {
    return fold_rows_of(w, rows, 2, ahead);
}

static inline __attribute__((always_inline)) uint32_t largest_of(ptrdiff_t n, const uint32_t *bits, const int step) {
    uint32_t most = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t magnitude = bits[step * i] & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

/* With room for numbers of twice the magnitude that these have, and for those that are rounded up. */
static int choose_window(SingleWindow *w, Group *g, ptrdiff_t n, const float *v, int step) {
    const uint32_t *bits = (const uint32_t *)v;
    const uint32_t most = step == 2 ? largest_of(n, bits, 2) : largest_of(n, bits, 1);
    const int E = (int)(most >> 23) - 127 + 1;
    if (E > HIGHEST) return 0;
    flush_singles(w, g);
    w->E = E > LOWEST ? E : LOWEST;
    w->M[0] = 1.5f * single_power(w->E + 23 - FIRST_UNIT);
    w->M[1] = 1.5f * single_power(w->E + 23 - SECOND_UNIT);
    return 1;
}

static int64_t total_of_fold(const SingleWindow *w, const Group *g, int t, int k) {
    if (g->tallies == 1) return (int64_t)total_of(w->sums[k]);
    uint64_t total = 0;
    for (int j = t; j < LANES; j += 2) total += w->sums[k][j];
    return (int64_t)total;
}

void flush_singles(SingleWindow *w, Group *g) {
    if (!w->used) return;
    g->spilled = 1;
    for (int k = 0; k < 2; k++)
        for (int t = 0; t < g->tallies; t++) {
            const int64_t total = total_of_fold(w, g, t, k);
            if (total) deposit_signed(&g->tally[t], total, w->E - (k ? SECOND_UNIT : FIRST_UNIT) + g->tally[t].bias);
        }
    clear_singles(w);
}

int round_singles(const SingleWindow *w, const Group *g, int t, int dtype, void *out) {
    const __int128 high = total_of_fold(w, g, t, 0);
    return round_integer(high * (1 << (SECOND_UNIT - FIRST_UNIT)) + total_of_fold(w, g, t, 1), w->E - SECOND_UNIT, dtype,
                         out);
}

/* By float64, of which windows are wider. */
static void add_as_doubles(Group *g, ptrdiff_t n, const float *v, int step, ptrdiff_t ahead) {
    float copied[BLOCK * SINGLES], last[LANES] = {0};
    if (step > 1) {
        for (ptrdiff_t k = 0; k < n; k++) copied[k] = v[step * k];
        v = copied;
    }
    Rows rows = {(const char *)v, NULL, LANES * sizeof(float), 0, n / LANES, ahead, NULL, NULL};
    if (n % LANES) {
        memcpy(last, v + n / LANES * LANES, (size_t)(n % LANES) * sizeof *v);
        rows.last = (const char *)last;
    }
    add_rows(&(Form){.type = F32}, g, &rows);
}

void add_singles(SingleWindow *w, Group *g, ptrdiff_t n, const float *v, int step, ptrdiff_t ahead) {
    int (*const fold)(SingleWindow *, const SingleRows *, ptrdiff_t) = step > 1 ? fold_every_other : fold_each;
    float last[2 * SINGLES] = {0};
    for (ptrdiff_t k; n; n -= k, v += step * k) {
        k = min_of(BLOCK * SINGLES, n);
        const ptrdiff_t rest = k % SINGLES;
        const SingleRows rows = {v, rest ? last : NULL, k / SINGLES};
        if (rest) memcpy(last, v + step * (k - rest), (size_t)(step * (rest - 1) + 1) * sizeof *v);
        if (!trusted) w->patience = PATIENCE;
        if (w->patience) w->patience--;
        else if (w->M[0] != 0 && fold(w, &rows, ahead)) continue;
        else if (choose_window(w, g, k, v, step) && fold(w, &rows, ahead)) continue;
        else w->patience = PATIENCE;
        add_as_doubles(g, k, v, step, ahead);
    }
}
