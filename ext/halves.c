/* Runs of float16, as the multiples of 2^-24 that they are: all of them below 2^16, so float64 holds the sum of 2^13
   without an error (docs: exact sums). */
#include "folds.h"

#if HAS_HALVES

enum {
    MOST_ROWS = 1 << 12,        /* of LANES elements */
    WINDOW = SECOND_UNIT - 24,
    CHAINS_OF_HALVES = 4,       /* of additions that wait for each other */
};

static Doubles sum_of_halves(ptrdiff_t n, const uint16_t *v, ptrdiff_t ahead) {
    enum { STEP = CHAINS_OF_HALVES * LANES };
    Doubles sums[CHAINS_OF_HALVES] = {{0}};
    uint16_t last[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        __builtin_prefetch((const char *)(v + i) + ahead);
        for (int k = 0; k < CHAINS_OF_HALVES; k++) sums[k] += load_halves(v + i + k * LANES);
    }
    for (; i + LANES <= n; i += LANES) sums[0] += load_halves(v + i);
    memcpy(last, v + i, (size_t)(n - i) * sizeof *v);
    sums[1] += load_halves(last);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* To the window of which the last bit is 2^-24. */
static void add_to_window(SingleWindow *w, Group *g, Doubles sum) {
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    if (w->E != WINDOW) {
        flush_singles(w, g);
        w->E = WINDOW;
        w->M[0] = 0;
    }
    w->sums[1] += (Words)__builtin_convertvector(sum * 0x1p24, Integers);
    w->used = 1;
    if (any((w->sums[1] + (1ull << 58)) >> 59)) flush_singles(w, g);   /* all lanes together hold 2^61 at most */
}

/* Of which some are not finite. */
static void add_as_singles(SingleWindow *w, Group *g, ptrdiff_t n, const uint16_t *v) {
    float singles[256];
    for (ptrdiff_t k; n; n -= k, v += k) {
        k = min_of((ptrdiff_t)(sizeof singles / sizeof *singles), n);
        fetch_near(k, (const char *)v, sizeof *v, F16, 0, F32, singles);
        add_singles(w, g, k, singles, 1, 0);
    }
}

void add_halves(SingleWindow *w, Group *g, ptrdiff_t n, const uint16_t *v, ptrdiff_t ahead) {
    for (ptrdiff_t k; n; n -= k, v += k) {
        k = min_of(MOST_ROWS * LANES, n);
        const Doubles sum = sum_of_halves(k, v, ahead);
        if (!trusted || any((Words)(sum - sum != 0.0))) add_as_singles(w, g, k, v);
        else add_to_window(w, g, sum);
    }
}

#else

void add_halves(SingleWindow *w, Group *g, ptrdiff_t n, const uint16_t *v, ptrdiff_t ahead) {
    (void)w, (void)g, (void)n, (void)v, (void)ahead;
}

#endif
