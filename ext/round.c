/* Rounds a state once, by integer logic (docs: exact sums). */
#include "kernels.h"

#include <string.h>

void normalise_state(int64_t *d) {
    int64_t carry = 0;
    for (int j = 0; j < DIGITS - 1; j++) {
        int64_t v = d[j] + carry;
        int64_t digit = (int32_t)(uint32_t)v;   /* the residue of v in [-2^31, 2^31) */
        carry = (v - digit) >> 32;
        d[j] = digit;
    }
    d[DIGITS - 1] += carry;
}

typedef struct {
    int precision;   /* bits of the significand, the leading one included */
    int lowest;      /* exponent of the last bit of a subnormal number */
    uint64_t inf, nan;
} Format;

static const Format HALF = {11, -24, 0x7c00, 0x7e00};
static const Format SINGLE = {24, -149, 0x7f800000, 0x7fc00000};
static const Format DOUBLE = {53, -1074, 0x7ff0000000000000, 0x7ff8000000000000};

enum { LOWEST = -1088 };   /* exponent of the last bit of a state */

/* Magnitude of a state as digits in [0, 2^32); returns whether it is negative. */
static int magnitude(const int64_t *state, uint32_t *digit) {
    int64_t d[DIGITS];
    memcpy(d, state, sizeof d);
    normalise_state(d);
    int top = DIGITS - 1;
    while (top >= 0 && d[top] == 0) top--;
    int negative = top >= 0 && d[top] < 0;   /* balanced digits: the sign is that of the leading one */
    int64_t carry = 0;
    for (int j = 0; j < DIGITS; j++) {
        int64_t v = (negative ? -d[j] : d[j]) + carry;
        digit[j] = (uint32_t)v;
        carry = v >> 32;
    }
    return negative;
}

static int leading_bit(const uint32_t *digit) {
    for (int j = DIGITS - 1; j >= 0; j--)
        if (digit[j]) return 32 * j + 31 - __builtin_clz(digit[j]);
    return -1;
}

/* Bits first .. first + 63 of the magnitude. */
static uint64_t bits_from(const uint32_t *digit, int first) {
    int j = first >> 5, shift = first & 31;
    uint64_t low = digit[j], middle = j + 1 < DIGITS ? digit[j + 1] : 0, high = j + 2 < DIGITS ? digit[j + 2] : 0;
    return shift ? (low >> shift) | (middle << (32 - shift)) | (high << (64 - shift)) : low | (middle << 32);
}

static int any_bit_below(const uint32_t *digit, int bit) {
    for (int j = 0; j < bit >> 5; j++)
        if (digit[j]) return 1;
    return (digit[bit >> 5] & ((1u << (bit & 31)) - 1)) != 0;
}

static uint64_t round_magnitude(const uint32_t *digit, const Format *f, int *flags) {
    int lead = leading_bit(digit);
    if (lead < 0) return 0;
    int last = lead - (f->precision - 1);
    if (last < f->lowest - LOWEST) last = f->lowest - LOWEST;
    uint64_t q = lead < last ? 0 : bits_from(digit, last) & ((2ull << (f->precision - 1)) - 1);
    int half = (digit[(last - 1) >> 5] >> ((last - 1) & 31)) & 1;
    q += half && ((q & 1) || any_bit_below(digit, last - 1));
    /* The exponent's field holds last + 1 for normal numbers and 0 for subnormal ones; adding q, whose leading bit is
       one for normal numbers, makes both come out, and a carry out of q moves to the next exponent. */
    uint64_t bits = ((uint64_t)(last - (f->lowest - LOWEST)) << (f->precision - 1)) + q;
    if (bits >= f->inf) {
        *flags |= ROUND_OVERFLOW;
        return f->inf;
    }
    return bits;
}

int round_state(const int64_t *state, int dtype, void *out) {
    const Format *f = dtype == F16 ? &HALF : dtype == F32 ? &SINGLE : &DOUBLE;
    const int64_t nans = state[DIGITS], plus = state[DIGITS + 1], minus = state[DIGITS + 2];
    uint64_t bits, sign = 0;
    int flags = 0;
    if (nans || (plus && minus)) {
        bits = f->nan;
        flags = nans ? 0 : ROUND_INVALID;
    } else if (plus || minus) {
        bits = f->inf;
        sign = minus != 0;
    } else {
        uint32_t digit[DIGITS];
        sign = magnitude(state, digit);
        bits = round_magnitude(digit, f, &flags);
    }
    const int width = dtype == F16 ? 16 : dtype == F32 ? 32 : 64;
    bits |= sign << (width - 1);
    if (width == 64) memcpy(out, &bits, 8);
    else if (width == 32) memcpy(out, &(uint32_t){(uint32_t)bits}, 4);
    else memcpy(out, &(uint16_t){(uint16_t)bits}, 2);
    return flags;
}
