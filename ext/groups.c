/* Groups of lanes: which windows their folds have, what else to do where none fits, and what comes out. */
#include "folds.h"

int trusted = 1;

/* With which most data comes out exactly: a float32 needs one fold, a float64 or the product of two float32 two, and
   the product of two float64, which is its rounded value and an error, three. */
static int fewest_folds(const Form *f) { return (f->type == F32 ? 1 : 2) + f->weighted; }

static double element(int type, const char *p, int lane) {
    float single;
    double value;
    if (type == F32) {
        memcpy(&single, p + 4 * lane, sizeof single);
        return single;
    }
    memcpy(&value, p + 8 * lane, sizeof value);
    return value;
}

static void use_tallies(Group *g) {
    for (int t = 0; !g->spilled && t < g->tallies; t++) g->tally[t] = (Tally){.digit = g->digits[t], .bias = g->bias};
    g->spilled = 1;
}

static void add_one_by_one(const Form *f, Group *g, const Rows *rows) {
    use_tallies(g);
    for (int t = 0; t < g->tallies; t++) {
        Tally *tally = &g->tally[t];
        int64_t *const digit = tally->digit;
        reach_all(tally);
        expect_deposits(tally, 2 * LANES * rows_in(rows));
        for (ptrdiff_t i = 0; i < rows_in(rows); i++) {
            const char *row = row_of(rows, i), *weights = f->weighted ? weights_of(rows, i) : NULL;
            for (int j = t; j < LANES; j += g->tallies) {
                const double x = element(f->type, row, j);
                if (weights) add_product(tally, digit, x, element(F64, weights, f->one_weight ? 0 : j));
                else add_double(tally, digit, x);
            }
        }
    }
}

/* ---- windows ---- */

/* Whether sums of so many chains can be added up over the lanes of a tally. */
static int deposits_whole(const Group *g) { return g->chains * (LANES / g->tallies) <= MOST_CHAINS; }

static int64_t sum_of_lanes(const Group *g, int t, int k) {
    uint64_t total = 0;
    if (g->tallies == 1) return (int64_t)total_of(g->sums[k]);
    for (int j = t; j < LANES; j += g->tallies) total += g->sums[k][j];
    return (int64_t)total;
}

/* Of the last bit of M of fold k. */
static int exponent_of(const Group *g, int t, int k) { return g->E[t] - 46 - SPACING * k; }

static void flush_folds(Group *g) {
    if (!g->chains) return;
    use_tallies(g);
    for (int k = 0; k < g->folds; k++) {
        for (int t = 0; t < g->tallies; t++) {
            Tally *tally = &g->tally[t];
            const int position = exponent_of(g, t, k) + tally->bias;
            if (deposits_whole(g)) {
                const int64_t total = sum_of_lanes(g, t, k);
                if (total) deposit_signed(tally, total, position);
            } else {
                for (int j = t; j < LANES; j += g->tallies)
                    if (g->sums[k][j]) deposit_signed(tally, (int64_t)g->sums[k][j], position);
            }
        }
    }
    g->chains = 0;
}

void begin_group(Group *g, int tallies, Tally *tally, Digits *digits, int bias) {
    g->chains = g->folds = g->patience = g->hopeless = g->spilled = 0;
    g->pendings = g->plain_patience = g->plain_fits = 0;
    g->tallies = tallies;
    g->bias = bias;
    g->tally = tally;
    g->digits = digits;
}

/* Of a normal float64. */
static double power_of_two(int exponent) {
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static void set_window(Group *g, int t, int E) {
    g->E[t] = E;
    for (int k = 0; k < MOST_FOLDS; k++) {
        const double M = 1.5 * power_of_two(exponent_of(g, t, k) + 52);
        for (int j = t; j < LANES; j += g->tallies) g->M[k][j] = M;
    }
}

/* The bits of the magnitudes of a row: greater than those of infinity where there is a NaN. */
static inline Words magnitudes(const Form *f, const Rows *rows, ptrdiff_t i) {
    Doubles v = load_neighbours(f->type, row_of(rows, i));
    if (f->weighted) v *= load_weights(f->one_weight, weights_of(rows, i));
    return (Words)v & 0x7fffffffffffffff;
}

/* Of words whose first bits are zero. */
static inline Words larger(Words a, Words b) {
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    const Words greater = (Words)((Integers)a > (Integers)b);
    return (a & greater) | (b & ~greater);
}

/* The largest magnitude of each lane. */
static Words largest_of(const Form *f, const Rows *rows) {
    enum { ABREAST = 4 };   /* since each comparison has to wait for the one before */
    Words most[ABREAST] = {{0}};
    ptrdiff_t i = 0;
    for (; i + ABREAST <= rows_in(rows); i += ABREAST)
        for (int k = 0; k < ABREAST; k++) most[k] = larger(magnitudes(f, rows, i + k), most[k]);
    for (; i < rows_in(rows); i++) most[0] = larger(magnitudes(f, rows, i), most[0]);
    return larger(larger(most[0], most[1]), larger(most[2], most[3]));
}

/* The window exponents that folds are exact with. Nothing is lost above 2^-1074, nor of the error of a product above
   2^-969; and M and what it is added to must not overflow. */
static int lowest_window(const Form *f, int folds) {
    return is_double_product(f) ? -969 + 46 + SPACING * (folds - 2) : -1074 + 46 + SPACING * (folds - 1);
}
static int highest_window(const Form *f) { return is_double_product(f) ? 1000 : 1016; }

void follow_windows(const Form *f, Group *g, const Group *other) {
    enum { HIGHER = 2 };   /* since the largest numbers of other lanes may be somewhat larger */
    int most = other->E[0];
    for (int t = 1; t < other->tallies; t++)
        if (other->E[t] > most) most = other->E[t];
    most = (int)min_of(most + HIGHER, highest_window(f));
    for (int t = 0; t < g->tallies; t++) g->E[t] = most;
    for (int k = 0; k < other->folds; k++) g->M[k] = 1.5 * power_of_two(exponent_of(g, 0, k) + 52) - (Doubles){0};
    g->folds = other->folds;
}

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
        set_window(g, t, exponent > lowest ? exponent : lowest);
    }
    g->folds = folds;
    return 1;
}

/* S is begun anew for every 2 * CHAIN_ROWS rows, and for what is left. */
static ptrdiff_t chains_of(const Rows *rows) { return CHAINS * (rows->count / (CHAINS * CHAIN_ROWS) + 1); }

static int try_fold(const Form *f, Group *g, const Rows *rows) {
    if (!fold_rows(f, rows, g)) return 0;
    g->chains += chains_of(rows);
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

static void add_by_folds(const Form *f, Group *g, const Rows *rows) {
    if (g->chains + chains_of(rows) > MOST_CHAINS) flush_folds(g);
    if (g->patience && !--g->patience && (g->hopeless || g->folds > fewest_folds(f))) {
        flush_folds(g);
        g->hopeless = 0;
        g->folds = 0;
    }
    if (!trusted || g->hopeless || (is_double_product(f) && !HAS_FMA)) {
        add_one_by_one(f, g, rows);
        return;
    }
    if (g->folds && try_fold(f, g, rows)) return;
    flush_folds(g);
    if (try_windows(f, g, rows)) return;
    g->hopeless = 1;
    g->patience = PATIENCE;
    add_one_by_one(f, g, rows);
}

/* As float64 that lie side by side, of which folds know. */
static void gather_and_add(const Form *f, Group *g, const Rows *rows) {
    Doubles gathered[BLOCK + 1];
    for (ptrdiff_t i = 0; i < rows_in(rows); i++) gathered[i] = load_row(f, rows, i);
    const Rows near = {(const char *)gathered, NULL, sizeof *gathered, 0, 0, rows_in(rows), 0, NULL, NULL};
    add_by_folds(&(Form){.type = F64}, g, &near);
}

void settle(Group *g) {
    const Rows rows = {(const char *)g->pending, NULL, sizeof(Doubles), 0, 0, 2 * g->pendings, 0, NULL, NULL};
    g->pendings = 0;
    if (rows.count) add_by_folds(&(Form){.type = F64}, g, &rows);
}

static int add_plainly(const Form *f, const Rows *rows, Halves *sums) {
    clear_flags();
    sum_rows(f, rows, sums);
    return was_exact() && is_finite(sums->upper);
}

/* Into what is pending; 0 where that does not hold them. */
static int add_to_pending(const Form *f, Group *g, const Rows *rows) {
    enum { FEW = 16 };   /* rows for which it is not worth to choose windows */
    Halves *const sums = &g->pending[g->pendings];
    if (g->plain_patience) {
        g->plain_patience--;
    } else if (can_be_added(f)) {
        g->plain_fits = add_plainly(f, rows, sums);
        if (g->plain_fits) return 1;
        g->plain_patience = PATIENCE;
    }
    return trusted && !f->weighted && !g->folds && rows_in(rows) <= FEW && sum_with_errors(f, rows, sums);
}

void add_rows(const Form *f, Group *g, const Rows *rows) {
    if (add_to_pending(f, g, rows)) {
        if (++g->pendings == PENDING) settle(g);
    } else if (f->type == F16 || f->layout != ADJACENT) {
        gather_and_add(f, g, rows);
    } else {
        add_by_folds(f, g, rows);
    }
}

void flush_group(Group *g) {
    settle(g);
    flush_folds(g);
    use_tallies(g);
}

/* high * 2^(exponent + SPACING) + low * 2^exponent, by one addition of two float64 where both are such numbers. */
static int round_sums(int64_t high, int64_t low, int exponent, int dtype, void *out) {
    const int64_t most = 1ll << 53;
    if (dtype == F64 && high >= -most && high <= most && low >= -most && low <= most && exponent > -1022) {
        const double sum = (double)high * power_of_two(exponent + SPACING) + (double)low * power_of_two(exponent);
        memcpy(out, &sum, sizeof sum);
        return 0;
    }
    return round_integer(high * ((__int128)1 << SPACING) + low, exponent, dtype, out);
}

/* The same and first * 2^(exponent + 2 SPACING). Where that does not fit into 128 bits, first is so large that the
   others cannot cancel it, and what is cut off only matters as more or less than a tie: one bit stands for it. */
static int round_three_sums(int64_t first, int64_t high, int64_t low, int exponent, int dtype, void *out) {
    enum { CUT = 2 * SPACING - 64 };
    const int64_t most = 1ll << (126 - 2 * SPACING);
    if (!first) return round_sums(high, low, exponent, dtype, out);
    const __int128 rest = high * ((__int128)1 << SPACING) + low;
    if (first > -most && first < most)
        return round_integer(first * ((__int128)1 << 2 * SPACING) + rest, exponent, dtype, out);
    const __int128 kept = first * ((__int128)1 << 64) + (rest >> CUT);
    const int cut_off = (rest & ((1 << CUT) - 1)) != 0;
    return round_integer(2 * kept + cut_off, exponent + CUT - 1, dtype, out);
}

/* Whether all that there is is pending, and its sum exact. */
static int has_total(const Group *g, Halves *total) {
    if (!is_pending(g)) return 0;
    clear_flags();
    *total = sum_of(g->pending, g->pendings);
    return was_exact();
}

/* Of tally t; 0 where it must be done in another way. */
static int round_total(const Halves *total, int tallies, int t, int dtype, void *out) {
    Pair pairs[2];
    if (tallies > 2) return round_number((Pair){total->upper[t], total->lower[t]}, dtype, out);
    clear_flags();
    sum_lanes(total, tallies, pairs);
    return was_exact() && round_number(pairs[t], dtype, out);
}

/* Whether the value is in the sums alone, and there in so few that it can be rounded at once. */
static int is_short(const Group *g) {
    const ptrdiff_t chains = g->chains * (LANES / g->tallies);
    return !g->spilled && g->chains && g->folds <= 3 && chains <= MOST_CHAINS / 4;
}

/* 2^exponent_of(g, t, k) of each lane, where M is 1.5 * 2^52 times that; below 2^-1022 it is wrong. */
static Doubles units_of(const Group *g, int k) {
    return (Doubles)(((Words)g->M[k] & 0x7ff0000000000000) - ((uint64_t)52 << 52));
}

/* Of one fold, or two, by one addition of two float64, as in `round_sums`. */
int round_lanes(Group *g, int dtype, void *out) {
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    const uint64_t most = 1ull << 53;
    Halves total;
    if (has_total(g, &total) && !any(round_lanes_of(total, dtype, out))) return 1;
    settle(g);
    if (g->spilled || !g->chains || (g->folds == 2 ? dtype != F64 : g->folds != 1)) return 0;
    const Words first = g->sums[0], second = g->folds == 2 ? g->sums[1] : (Words){0};
    const Words small = ((Words)g->M[g->folds - 1] >> 52) - 54;   /* its first bit, where units are not normal numbers */
    if (any((first + most) >> 54 | (second + most) >> 54 | small >> 63)) return 0;
    Doubles sums = __builtin_convertvector((Integers)first, Doubles) * units_of(g, 0);
    if (g->folds == 2) sums += __builtin_convertvector((Integers)second, Doubles) * units_of(g, 1);
    return !any(write_lanes(sums, dtype, out));
}

int round_tally(Group *g, int t, int dtype, void *out) {
    Tally *tally = &g->tally[t];
    Halves total;
    if (has_total(g, &total) && round_total(&total, g->tallies, t, dtype, out)) return 0;
    settle(g);
    if (is_short(g)) {
        int64_t sums[3] = {0, 0, 0};
        for (int k = 0; k < g->folds; k++) sums[3 - g->folds + k] = sum_of_lanes(g, t, k);
        return round_three_sums(sums[0], sums[1], sums[2], exponent_of(g, t, g->folds - 1), dtype, out);
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

/* Whether what was added to g is the sum of these rows. */
static int is_sum_of(Group *g, const Form *f, const Rows *rows) {
    const int count = (f->weighted ? PRODUCT_STATE : SUM_STATE) - 3;
    Digits digits;
    Tally right = {.digit = digits, .bias = g->bias}, *sum = g->tally;
    flush_group(g);
    g->tally = &right;
    add_one_by_one(f, g, rows);
    for (int i = 0; i < 2; i++) {
        Tally *t = i ? sum : &right;
        reach(t, 0, count);
        normalise_tally(t);
    }
    return memcmp(digits, sum->digit, (size_t)count * sizeof *digits) == 0;
}

static int folds_agree(const Form *f, int folds, const Rows *rows) {
    Digits digits;
    Tally tally;
    Group g;
    begin_group(&g, 1, &tally, &digits, f->weighted ? PRODUCT_BIAS : SUM_BIAS);
    return choose_windows(f, &g, rows, folds) && try_fold(f, &g, rows) && is_sum_of(&g, f, rows);
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
                const Form f = {.type = type, .weighted = weighted};
                const char *data = type == F32 ? (const char *)single : (const char *)x;
                const char *weights = (const char *)(type == F32 ? z : y);
                const Rows rows = {data, weights, LANES * (ptrdiff_t)size_of(type), sizeof(Doubles), 0, ROWS, 0, NULL, NULL};
                trusted &= folds_agree(&f, folds, &rows);
            }
    flags_are_kept = HAS_FLAGS && check_flags();
    leave_exactness(saved);
    return trusted;
}
