/* Runs of float32 to integers by additions of float32: twice as many to a vector as with those of float64, but only two
   folds of 23 bits (docs: exact sums). */
#include "folds.h"

enum {
    SINGLES = VECTOR_BYTES / 4,
    BLOCK = 128,       /* rows: each adds at most 2^22 to integers of 32 bits */
    PATIENCE = 16,     /* blocks before it is tried again */
    FIRST_UNIT = 21,   /* the last bit of M[0] weighs 2^(E - 21) */
    SECOND_UNIT = 44,
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

/* As fold_number, but nothing is carried from one number to the next: their bits are added up at once. */
static int fold_block(SingleWindow *w, ptrdiff_t rows, const float *v, ptrdiff_t ahead) {
    const Singles M0 = w->M[0] - (Singles){0}, M1 = w->M[1] - (Singles){0};
    Fours high = {0}, low = {0};
    Words over = {0}, rest = {0};
    for (ptrdiff_t i = 0; i < rows; i++, v += SINGLES) {
        __builtin_prefetch((const char *)v + ahead);
        const Singles x = *(const Singles *)v;
        const Singles t = x + M0, r = x - (t - M0), s = r + M1;
        high += (Fours)t;
        low += (Fours)s;
        over = note_difference(over, (Doubles)t, (Doubles)M0);
        rest = note_difference(rest, (Doubles)(s - M1), (Doubles)r);
    }
    if (any((over & 0xff800000ff800000) | (rest & 0x7fffffff7fffffff))) return 0;
    w->sums[0] += widened(high - (uint32_t)rows * (Fours)M0);
    w->sums[1] += widened(low - (uint32_t)rows * (Fours)M1);
    w->used = 1;
    return 1;
}

/* So high that no number is rounded up to 2^(E + 1). */
static int choose_window(SingleWindow *w, Group *g, const Form *f, const Rows *rows) {
    const Words most = largest_of(f, rows);
    uint64_t bits = 0;
    for (int j = 0; j < LANES; j++)
        if (most[j] > bits) bits = most[j];
    const int E = (int)((bits + (1ull << (51 - FIRST_UNIT))) >> 52) - 1023;
    if (E > HIGHEST) return 0;
    flush_singles(w, g);
    w->E = E > LOWEST ? E : LOWEST;
    w->M[0] = 1.5f * single_power(w->E + 23 - FIRST_UNIT);
    w->M[1] = 1.5f * single_power(w->E + 23 - SECOND_UNIT);
    return 1;
}

void flush_singles(SingleWindow *w, Group *g) {
    if (!w->used) return;
    for (int k = 0; k < 2; k++) {
        for (int t = 0; t < g->tallies; t++) {
            uint64_t total = 0;
            for (int j = t; j < LANES; j += g->tallies) total += w->sums[k][j];
            Tally *tally = &g->tally[t];
            if (total) deposit_signed(tally, (int64_t)total, w->E - (k ? SECOND_UNIT : FIRST_UNIT) + tally->bias);
        }
        w->sums[k] = (Words){0};
    }
    w->used = 0;
}

ptrdiff_t add_singles(SingleWindow *w, Group *g, ptrdiff_t n, const float *v, ptrdiff_t ahead) {
    static const Form form = {.type = F32};
    const ptrdiff_t whole = trusted ? n / SINGLES * SINGLES : 0;
    for (ptrdiff_t i = 0; i < whole; i += BLOCK * SINGLES) {
        const ptrdiff_t count = min_of(BLOCK * SINGLES, whole - i);
        const Rows rows = {(const char *)(v + i), NULL, LANES * sizeof(float), 0, count / LANES, ahead, NULL, NULL};
        if (w->patience) w->patience--;
        else if (w->M[0] != 0 && fold_block(w, count / SINGLES, v + i, ahead)) continue;
        else if (choose_window(w, g, &form, &rows) && fold_block(w, count / SINGLES, v + i, ahead)) continue;
        else w->patience = PATIENCE;
        add_rows(&form, g, &rows);
    }
    return whole;
}
