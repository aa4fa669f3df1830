/* Exact sums by plain additions: the processor notices whether one of them rounded (docs: exact sums).

   The flags are cleared, numbers are added, and the flags are read. The sums are exact if no flag is set and the upper
   ones are finite: infinities that meet, or are cut in halves, set a flag, but others, and quiet NaN, only stay in the
   upper sums. What is added in between is FIXed there, lest the compiler move it. */
#ifndef PARLINALG_ADDITIONS_H
#define PARLINALG_ADDITIONS_H

#include "environment.h"
#include "rows.h"

/* Two sums of each lane that together are the exact one: of upper and of lower halves, or a sum and its error. */
typedef struct { Doubles upper, lower; } Halves;
#define UPPER_BITS 0xfffffffffc000000

#define flags_are_kept JOIN(flags_are_kept, PARLINALG_ISA)
#define check_flags JOIN(check_flags, PARLINALG_ISA)
#define can_be_added JOIN(can_be_added, PARLINALG_ISA)
#define sum_rows JOIN(sum_rows, PARLINALG_ISA)
#define sum_columns JOIN(sum_columns, PARLINALG_ISA)
#define sum_with_errors JOIN(sum_with_errors, PARLINALG_ISA)
#define sum_lanes JOIN(sum_lanes, PARLINALG_ISA)
#define round_number JOIN(round_number, PARLINALG_ISA)

/* Whether the processor has passed check_flags(). */
extern int flags_are_kept;
int check_flags(void);
/* Whether all floating-point operations since clear_flags() are known to have been exact. */
static inline int was_exact(void) { return flags_are_kept && !has_rounded(); }

/* Whether rows of this form can be added so. */
int can_be_added(const Form *f);
/* The sums of the lanes of rows, between clear_flags() and was_exact(). */
void sum_rows(const Form *f, const Rows *rows, Halves *sums);
/* The sums of neighbouring columns, LANES to an element of `sums`, of which the last one has the last LANES columns;
   whether all are finite. Between clear_flags() and was_exact(). */
int sum_columns(const Form *f, const Rows *rows, ptrdiff_t columns, Halves *sums);
/* Of few rows, without weights, the sums and those of the errors of their additions (Ogita, Rump, Oishi 2005, Accurate
   sum and dot product, section 4); 0 where these have errors themselves. */
int sum_with_errors(const Form *f, const Rows *rows, Halves *sums);

/* The sum of `count` sums, between clear_flags() and was_exact(). */
static inline Halves sum_of(const Halves *sums, int count) {
    Halves total = sums[0];
    FIX(total.upper, total.lower);
    for (int i = 1; i < count; i++) {
        total.upper += sums[i].upper;
        total.lower += sums[i].lower;
    }
    FIX(total.upper, total.lower);
    return total;
}

/* Two numbers whose sum is the exact one. */
typedef struct { double upper, lower; } Pair;
/* The sums of all lanes, if there is one tally, or of the even and of the odd ones, if there are two; between
   clear_flags() and was_exact(). */
void sum_lanes(const Halves *sums, int tallies, Pair *pairs);

/* Lanes that are infinite or NaN. */
static inline Words not_finite(Doubles v) { return (Words)(v - v != 0.0); }
static inline int is_finite(Doubles v) { return !any(not_finite(v)); }

static inline Doubles two_sum(Doubles a, Doubles b, Doubles *error) {
    const Doubles sum = a + b, of_b = sum - a;
    *error = (a - (sum - of_b)) + (b - of_b);
    return sum;
}

/* a + b, rounded to odd: what is rounded from that to fewer bits comes out as if it had been rounded at once (Boldo,
   Melquiond 2008, Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd). */
static inline Doubles add_to_odd(Doubles a, Doubles b) {
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    Doubles error;
    const Words bits = (Words)two_sum(a, b, &error);
    const Words grows = (Words)((Integers)(bits ^ (Words)error) >= 0);   /* the exact sum is farther from zero */
    const Words is_even = (bits & 1) - 1;
    return (Doubles)(bits + ((Words)(error != 0.0) & is_even & ((grows & 2) - 1)));
}

/* Rounded to float32 in such a way that float16 come out as if they had been rounded at once: to odd. */
static inline Floats rounded_to_odd(Doubles v) {
    const Words beyond = 0x1fffffff - (Words){0}, bits = (Words)v;
    const Words odd = (Words)((bits & beyond) != 0) & (beyond + 1);
    return __builtin_convertvector((Doubles)((bits & ~beyond) | odd), Floats);
}

/* Sums as numbers of this dtype, side by side. Returns lanes of zeros but where one of them overflows; or it is none of
   these dtypes. */
static inline Words write_lanes(Doubles sums, int dtype, void *out) {
    if (dtype == F64) {
        memcpy(out, &sums, sizeof sums);
        return not_finite(sums);
    }
    if (dtype == F32) {
        const Floats narrower = __builtin_convertvector(sums, Floats);
        memcpy(out, &narrower, sizeof narrower);
        return not_finite(doubles_of(narrower));
    }
#if HAS_HALVES
    if (dtype == F16) {
        store_halves(rounded_to_odd(sums), out);
        return not_finite(load_halves(out));
    }
#endif
    return ~(Words){0};
}

/* Rounds the sum of halves, of each lane, once; otherwise as write_lanes. */
static inline Words round_lanes_of(Halves h, int dtype, void *out) {
    if (dtype == F64) return write_lanes(h.upper + h.lower, dtype, out);
    return write_lanes(any((Words)(h.lower != 0.0)) ? add_to_odd(h.upper, h.lower) : h.upper, dtype, out);
}
/* The same of a pair; 0 where that must be done in another way. */
int round_number(Pair pair, int dtype, void *out);

#endif
