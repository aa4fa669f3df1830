/* A state that is being added to (docs: exact sums). Of its digits only those in use hold anything: most sums need few. */
#ifndef PARLINALG_TALLY_H
#define PARLINALG_TALLY_H

#include "isa.h"

#include <string.h>

typedef struct {
    int64_t *digit;
    int lo, hi;            /* digits in use: lo .. hi - 1; none at first, with hi = 0 */
    int bias;              /* digit j weighs 2^(32 j - bias) */
    int deposits;          /* since the last normalising, of less than 2^32 to a digit each */
    int64_t specials[3];   /* how many NaN, +inf, -inf */
} Tally;

typedef int64_t Digits[PRODUCT_STATE];

enum { MOST_DEPOSITS = 1 << 30 };

/* Makes the digits lo .. hi - 1 usable. */
static inline void reach(Tally *t, int lo, int hi) {
    if (!t->hi) {
        t->lo = t->hi = lo;
    }
    if (lo < t->lo) {
        memset(t->digit + lo, 0, (size_t)(t->lo - lo) * sizeof *t->digit);
        t->lo = lo;
    }
    if (hi > t->hi) {
        memset(t->digit + t->hi, 0, (size_t)(hi - t->hi) * sizeof *t->digit);
        t->hi = hi;
    }
}

static inline int digits_of(const Tally *t) { return (t->bias == SUM_BIAS ? SUM_STATE : PRODUCT_STATE) - 3; }

static inline void reach_all(Tally *t) { reach(t, 0, digits_of(t)); }

/* Digits keep their room above: a sum of 2^63 elements is less than two digits longer than the largest of them. */
static inline void normalise_tally(Tally *t) {
    reach(t, t->lo, min_of(t->hi + 2, digits_of(t)));
    normalise_digits(t->hi - t->lo, t->digit + t->lo);
    t->deposits = 0;
}

/* Before so many deposits. */
static inline void expect_deposits(Tally *t, ptrdiff_t count) {
    if (t->deposits > MOST_DEPOSITS - count) normalise_tally(t);
    t->deposits += (int)count;
}

/* Adds magnitude * 2^position units of the digits, or subtracts it where sign is -1 and not 0, to three of them. */
static inline void deposit(int64_t *digit, uint64_t magnitude, int64_t sign, int position) {
    int64_t *d = digit + (position >> 5);
    const int shift = position & 31;
    /* (v ^ sign) - sign is v or -v */
    d[0] += ((int64_t)(uint32_t)(magnitude << shift) ^ sign) - sign;
    d[1] += ((int64_t)(uint32_t)(magnitude >> 1 >> (31 - shift)) ^ sign) - sign;
    d[2] += ((int64_t)(magnitude >> 1 >> (63 - shift)) ^ sign) - sign;
}

static inline void deposit_signed(Tally *t, int64_t value, int position) {
    const int64_t sign = value >> 63;
    reach(t, position >> 5, (position >> 5) + 3);
    expect_deposits(t, 1);
    deposit(t->digit, ((uint64_t)value ^ (uint64_t)sign) - (uint64_t)sign, sign, position);
}

/* A float64: (-1)^sign * significand * 2^(exponent - 1075). */
typedef struct { uint64_t significand; int exponent; int64_t sign; int special; } Parts;

enum { FINITE, INFINITE, NOT_A_NUMBER };

static inline Parts parts_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t field = (bits >> 52) & 0x7ff, fraction = bits & 0xfffffffffffff;
    return (Parts){
        .significand = field ? fraction | 1ull << 52 : fraction,
        .exponent = (int)(field ? field : 1),
        .sign = (int64_t)bits >> 63,
        .special = field < 0x7ff ? FINITE : fraction ? NOT_A_NUMBER : INFINITE,
    };
}

static inline void count_special(Tally *t, int special, int64_t sign) {
    t->specials[special == NOT_A_NUMBER ? 0 : sign ? 2 : 1] += 1;
}

/* By integers only, to a tally with all digits in use; one deposit. */
static inline void add_double(Tally *t, int64_t *digit, double value) {
    const Parts p = parts_of(value);
    if (p.special) count_special(t, p.special, p.sign);
    else deposit(digit, p.significand, p.sign, p.exponent - 1075 + t->bias);
}

/* The same of a product, which is an integer of 106 bits times a power of two; two deposits. */
static inline void add_product(Tally *t, int64_t *digit, double x, double y) {
    const Parts p = parts_of(x), q = parts_of(y);
    const int64_t sign = p.sign ^ q.sign;
    if (p.special == NOT_A_NUMBER || q.special == NOT_A_NUMBER) {
        count_special(t, NOT_A_NUMBER, 0);
    } else if (p.special || q.special) {
        count_special(t, INFINITE, sign);
        if (!p.significand || !q.significand) count_special(t, INFINITE, ~sign);   /* inf times 0 is invalid */
    } else {
        const unsigned __int128 product = (unsigned __int128)p.significand * q.significand;
        const int position = p.exponent + q.exponent - 2 * 1075 + PRODUCT_BIAS;
        deposit(digit, (uint64_t)product, sign, position);
        deposit(digit, (uint64_t)(product >> 64), sign, position + 64);
    }
}

#endif
