// Exact sums of elements, and of their products with weights, one after the other, by integers only. The host defines,
// for one type of elements, how they are stored: WORD, MANTISSA (bits), EXPONENT (bits); WEIGHTED, 0 or 1; and
// DIGITS: of a state, and BIAS: the lowest of them weighs 2**-BIAS.
//
// A float is a sign, a significand s below 2**(MANTISSA + 1), and an exponent e, so that it is s * 2**(e - ORIGIN), e
// from 0 on. Digits are of radix 2**32, in 64 bits, so that 2**31 of them can be added before they are normalised.

#define SPECIAL ((1 << EXPONENT) - 1)
#define ORIGIN ((1 << (EXPONENT - 1)) - 2 + MANTISSA)

long significand(const WORD word)
{
    const long fraction = word & (((ulong)1 << MANTISSA) - 1);
    return (word >> MANTISSA) & SPECIAL ? fraction | ((long)1 << MANTISSA) : fraction;
}

// The exponent e above; subnormal numbers have that of the smallest normal ones.
int exponent_of(const WORD word)
{
    const int e = (int)((word >> MANTISSA) & SPECIAL);
    return e ? e - 1 : 0;
}

int is_negative(const WORD word)
{
    return (int)(word >> (MANTISSA + EXPONENT));
}

// Add value * 2**(position - BIAS) to a state.
void deposit(long *digits, const long value, const int position)
{
    const int digit = position >> 5, shift = position & 31;
    const ulong magnitude = value < 0 ? -(ulong)value : (ulong)value;
    const ulong low = magnitude << shift, high = shift ? magnitude >> (64 - shift) : 0;
    const long sign = value < 0 ? -1 : 1;
    digits[digit] += sign * (long)(low & 0xffffffff);
    digits[digit + 1] += sign * (long)(low >> 32);
    digits[digit + 2] += sign * (long)(high & 0xffffffff);
    digits[digit + 3] += sign * (long)(high >> 32);
}

void count_special(long *counts, const int nan, const int negative)
{
    counts[nan ? 0 : negative ? 2 : 1] += 1;
}

void add(long *digits, const WORD word)
{
    if (((word >> MANTISSA) & SPECIAL) == SPECIAL) {
        count_special(digits + DIGITS - 3, (word & (((ulong)1 << MANTISSA) - 1)) != 0, is_negative(word));
        return;
    }
    const long s = significand(word);
    deposit(digits, is_negative(word) ? -s : s, exponent_of(word) + BIAS - ORIGIN);
}

#if WEIGHTED
// Products of float64 weights, as words, with the elements of a row: their product has up to 106 bits.
void add_product(long *digits, const WORD word, const ulong weight)
{
    const int e = (int)((word >> MANTISSA) & SPECIAL), f = (int)((weight >> 52) & 2047);
    const ulong fraction = weight & (((ulong)1 << 52) - 1);
    const ulong s = (ulong)significand(word), t = f ? fraction | ((ulong)1 << 52) : fraction;
    const int negative = is_negative(word) ^ (int)(weight >> 63);
    if (e == SPECIAL || f == 2047) {
        const int nan = (e == SPECIAL && (word & (((ulong)1 << MANTISSA) - 1))) || (f == 2047 && fraction) || !s || !t;
        count_special(digits + DIGITS - 3, nan, negative);
        return;
    }
    const int position = exponent_of(word) + (f ? f - 1 : 0) + BIAS - ORIGIN - 1074;
    const ulong low = s * t, high = mul_hi(s, t);
    // In pieces of at most 63 bits, since `deposit` takes signed integers.
    const long first = (long)(low & 0xffffffff), second = (long)(low >> 32), third = (long)high;
    deposit(digits, negative ? -first : first, position);
    deposit(digits, negative ? -second : second, position + 32);
    deposit(digits, negative ? -third : third, position + 64);
}
#endif

// Add elements, or their products, `step` elements apart.
void add_each(long *digits, __global const WORD *a, __global const ulong *weights, const long count, const long step)
{
    for (long i = 0; i < count; i++) {
#if WEIGHTED
        add_product(digits, a[i * step], weights[i * step]);
#else
        add(digits, a[i * step]);
#endif
    }
}
