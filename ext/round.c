/* Rounds once, by integer logic (docs: exact sums). */
#include "kernels.h"

#include <string.h>

void normalise_digits(int count, int64_t *d) {
    int64_t carry = 0;
    for (int j = 0; j < count - 1; j++) {
        int64_t v = d[j] + carry;
        int64_t digit = (int32_t)(uint32_t)v;   /* the residue of v in [-2^31, 2^31) */
        carry = (v - digit) >> 32;
        d[j] = digit;
    }
    d[count - 1] += carry;
}

typedef struct {
    int precision;   /* bits of the significand, the leading one included */
    int lowest;      /* exponent of the last bit of a subnormal number */
    uint64_t inf, nan;
} Format;

static const Format HALF = {11, -24, 0x7c00, 0x7e00};
static const Format SINGLE = {24, -149, 0x7f800000, 0x7fc00000};
static const Format DOUBLE = {53, -1074, 0x7ff0000000000000, 0x7ff8000000000000};

static const Format *format_of(int dtype) { return dtype == F16 ? &HALF : dtype == F32 ? &SINGLE : &DOUBLE; }

enum { MOST_DIGITS = PRODUCT_STATE + 2 };

/* An unsigned integer times 2^exponent. */
typedef struct {
    uint32_t digit[MOST_DIGITS];
    int count, exponent;
} Magnitude;

/* Returns whether the value is negative. */
static int magnitude_of(const int64_t *digits, int count, int exponent, Magnitude *m) {
    int64_t d[MOST_DIGITS];
    memcpy(d, digits, (size_t)count * sizeof *d);
    d[count] = d[count + 1] = 0;   /* for what the top digit holds */
    count += 2;
    normalise_digits(count, d);
    int top = count - 1;
    while (top >= 0 && d[top] == 0) top--;
    const int negative = top >= 0 && d[top] < 0;   /* balanced digits: the sign is that of the leading one */
    int64_t carry = 0;
    for (int j = 0; j < count; j++) {
        int64_t v = (negative ? -d[j] : d[j]) + carry;
        m->digit[j] = (uint32_t)v;
        carry = v >> 32;
    }
    m->count = count;
    m->exponent = exponent;
    return negative;
}

static int leading_bit(const Magnitude *m) {
    for (int j = m->count - 1; j >= 0; j--)
        if (m->digit[j]) return 32 * j + 31 - __builtin_clz(m->digit[j]);
    return -1;
}

/* Bits first .. first + 63. */
static uint64_t bits_from(const Magnitude *m, int first) {
    const int j = first >> 5, shift = first & 31;
    uint64_t low = m->digit[j], middle = j + 1 < m->count ? m->digit[j + 1] : 0;
    uint64_t high = j + 2 < m->count ? m->digit[j + 2] : 0;
    return shift ? (low >> shift) | (middle << (32 - shift)) | (high << (64 - shift)) : low | (middle << 32);
}

static int any_bit_below(const Magnitude *m, int bit) {
    for (int j = 0; j < bit >> 5; j++)
        if (m->digit[j]) return 1;
    return (m->digit[bit >> 5] & ((1u << (bit & 31)) - 1)) != 0;
}

/* The magnitude from bit `last` on, rounded to an integer; `lead` is its leading bit. */
static uint64_t significand_of(const Magnitude *m, int lead, int last) {
    if (last <= 0) return bits_from(m, 0) << -last;
    if (last > lead + 1) return 0;   /* less than half of the last bit */
    const uint64_t q = last > lead ? 0 : bits_from(m, last) & ((2ull << (lead - last)) - 1);
    const int half = (m->digit[(last - 1) >> 5] >> ((last - 1) & 31)) & 1;
    return q + (half && ((q & 1) || any_bit_below(m, last - 1)));
}

/* The bit from which on a magnitude is rounded, if its leading bit is `lead` and that of 2^lowest is `lowest`. */
static int last_bit(const Format *f, int lead, int lowest) {
    return lead - (f->precision - 1) > lowest ? lead - (f->precision - 1) : lowest;
}

/* The exponent's field holds last - lowest + 1 for normal numbers and 0 for subnormal ones; adding the significand,
   whose leading bit is one for normal numbers, makes both come out, and a carry out of it moves to the next exponent. */
static uint64_t assemble(const Format *f, uint64_t significand, int exponent, int *flags) {
    const uint64_t bits = ((uint64_t)exponent << (f->precision - 1)) + significand;
    if (bits < f->inf) return bits;
    *flags |= ROUND_OVERFLOW;
    return f->inf;
}

static uint64_t round_magnitude(const Magnitude *m, const Format *f, int *flags) {
    const int lead = leading_bit(m), lowest = f->lowest - m->exponent;
    if (lead < 0) return 0;
    const int last = last_bit(f, lead, lowest);
    return assemble(f, significand_of(m, lead, last), last - lowest, flags);
}

static void store_bits(uint64_t bits, int negative, int dtype, void *out) {
    const int width = dtype == F16 ? 16 : dtype == F32 ? 32 : 64;
    bits |= (uint64_t)negative << (width - 1);
    if (width == 64) memcpy(out, &bits, 8);
    else if (width == 32) memcpy(out, &(uint32_t){(uint32_t)bits}, 4);
    else memcpy(out, &(uint16_t){(uint16_t)bits}, 2);
}

int round_digits(const int64_t *digit, int count, int exponent, const int64_t *specials, int dtype, void *out) {
    const int64_t nans = specials[0], plus = specials[1], minus = specials[2];
    const Format *f = format_of(dtype);
    int flags = 0;
    if (nans || (plus && minus)) {
        store_bits(f->nan, 0, dtype, out);
        return nans ? 0 : ROUND_INVALID;
    }
    if (plus || minus) {
        store_bits(f->inf, minus != 0, dtype, out);
        return 0;
    }
    Magnitude m;
    const int negative = magnitude_of(digit, count, exponent, &m);
    store_bits(round_magnitude(&m, f, &flags), negative, dtype, out);
    return flags;
}

int round_state(const int64_t *state, int length, int dtype, void *out) {
    const int count = length - 3, exponent = length == SUM_STATE ? -SUM_BIAS : -PRODUCT_BIAS;
    return round_digits(state, count, exponent, state + count, dtype, out);
}

typedef unsigned __int128 Wide;

static int leading_bit_of(Wide w) {
    const uint64_t high = (uint64_t)(w >> 64);
    return high ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll((uint64_t)w);
}

/* As significand_of; w is not 0. */
static uint64_t significand_of_integer(Wide w, int lead, int last) {
    if (last <= 0) return (uint64_t)w << -last;
    if (last > lead + 1) return 0;
    const uint64_t q = last > lead ? 0 : (uint64_t)(w >> last);
    const int half = (int)(w >> (last - 1)) & 1, rest = (w & (((Wide)1 << (last - 1)) - 1)) != 0;
    return q + (half && ((q & 1) || rest));
}

int round_integer(__int128 integer, int exponent, int dtype, void *out) {
    const Format *f = format_of(dtype);
    const Wide w = integer < 0 ? -(Wide)integer : (Wide)integer;
    uint64_t bits = 0;
    int flags = 0;
    if (w) {
        const int lead = leading_bit_of(w), lowest = f->lowest - exponent, last = last_bit(f, lead, lowest);
        bits = assemble(f, significand_of_integer(w, lead, last), last - lowest, &flags);
    }
    store_bits(bits, integer < 0, dtype, out);
    return flags;
}
