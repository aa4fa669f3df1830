// Exact sums, by integers only, so that neither the rounding mode nor any option of the compiler can change a bit.
// The host defines, for one type of elements, how they are stored: WORD, MANTISSA (bits), EXPONENT (bits); and
// DIGITS, TOP: digits of a state, and what the lowest of them weighs: 2**-BIAS.
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

// A block of elements, in vectors of 4: those within 2**53 of a window are added as two integers, which are deposited
// once. A window is the exponent of its largest numbers. That of the block before is tried first.
#define BLOCK 1024

#ifdef __clang__
typedef WORD WORDS __attribute__((ext_vector_type(4), aligned(sizeof(WORD))));
#define LOAD4(j, p) convert_ulong4(*(__global const WORDS *)((p) + 4 * (j)))
#else
#define LOAD4(j, p) convert_ulong4(vload4(j, p))
#endif

long sum_of_lanes(const long4 v)
{
    return (v.x + v.y) + (v.z + v.w);
}

int largest_exponent(__global const WORD *a, const long n)
{
    int largest = 0;
    for (long i = 0; i < n; i++)
        largest = max(largest, (int)((a[i] >> MANTISSA) & SPECIAL));
    return largest;
}

// Add n elements, a multiple of 4; 0 if one of them is outside of the window.
int fits(long *digits, __global const WORD *a, const long n, const int window)
{
    const ulong4 implicit = (ulong4)((ulong)1 << MANTISSA);
    long4 high = (long4)(0), low = (long4)(0);
    ulong4 lost = (ulong4)(0);
    for (long j = 0; j < n / 4; j++) {
        const ulong4 word = LOAD4(j, a);
        const ulong4 e = (word >> MANTISSA) & (ulong4)(SPECIAL);
        const ulong4 normal = as_ulong4(e != (ulong4)(0));
        const ulong4 s = (word & (implicit - 1)) | (normal & implicit);
        // As unsigned numbers, those above the window are far away, too; infinities and NaN always are.
        const ulong4 distance = (ulong4)(window) - (e + normal);
        const ulong4 below = s << ((ulong4)(63) - (distance & 63)) << 1;
        const long4 sign = -as_long4(word >> (MANTISSA + EXPONENT));
        lost |= (below & 2047) | (distance & ~(ulong4)(63) & as_ulong4(s != (ulong4)(0)));
        high += (as_long4(s >> (distance & 63)) ^ sign) - sign;
        low += (as_long4(below >> 11) ^ sign) - sign;
    }
    if (lost.x | lost.y | lost.z | lost.w)
        return 0;
    const int position = window + BIAS - ORIGIN;
    const long below = sum_of_lanes(low);
    deposit(digits, sum_of_lanes(high), position);
    // No bit is below that of the smallest number, so what is shifted out is zero.
    deposit(digits, position < 53 ? below >> (53 - position) : below, max(position - 53, 0));
    return 1;
}

// The window to try for the next block.
int add_block(long *digits, __global const WORD *a, const long n, int window)
{
    const long whole = n / 4 * 4;
    if (!fits(digits, a, whole, window)) {
        const int largest = largest_exponent(a, whole);
        window = min(max(largest - 1, 0), SPECIAL - 2);
        if (largest == SPECIAL || !fits(digits, a, whole, window))
            for (long i = 0; i < whole; i++)
                add(digits, a[i]);
    }
    for (long i = whole; i < n; i++)
        add(digits, a[i]);
    return window;
}

// Row r of `rows` is a[offset + r*n .. + n]; part p of `parts` of each row becomes states[r, p].
__kernel void sum_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                       __global long *states)
{
    for (long item = get_global_id(0); item < rows * parts; item += get_global_size(0)) {
        const long row = item / parts, part = item % parts;
        const long first = n * part / parts, last = n * (part + 1) / parts;
        long digits[DIGITS];
        for (int k = 0; k < DIGITS; k++)
            digits[k] = 0;
        int window = 0;
        for (long i = first; i < last; i += BLOCK)
            window = add_block(digits, a + offset + row * n + i, min((long)BLOCK, last - i), window);
        for (int k = 0; k < DIGITS; k++)
            states[item * DIGITS + k] = digits[k];
    }
}

// For devices whose work items run side by side: a group takes a part of a row, and its items neighbouring elements.
int fits_apart(long *digits, __global const WORD *a, const long n, const int stride, const int window)
{
    const ulong implicit = (ulong)1 << MANTISSA;
    long high = 0, low = 0;
    ulong lost = 0;
    for (long j = 0; j < n; j++) {
        const ulong word = a[j * stride];
        const ulong e = (word >> MANTISSA) & SPECIAL, normal = e != 0;
        const ulong s = (word & (implicit - 1)) | normal << MANTISSA;
        const ulong distance = (ulong)window - (e - normal);
        const ulong below = s << (63 - (distance & 63)) << 1;
        const long sign = -(long)(word >> (MANTISSA + EXPONENT));
        lost |= (below & 2047) | (s ? distance & ~(ulong)63 : 0);
        high += ((long)(s >> (distance & 63)) ^ sign) - sign;
        low += ((long)(below >> 11) ^ sign) - sign;
    }
    if (lost)
        return 0;
    const int position = window + BIAS - ORIGIN;
    deposit(digits, high, position);
    deposit(digits, position < 53 ? low >> (53 - position) : low, max(position - 53, 0));
    return 1;
}

int largest_exponent_apart(__global const WORD *a, const long n, const int stride)
{
    int largest = 0;
    for (long j = 0; j < n; j++)
        largest = max(largest, (int)((a[j * stride] >> MANTISSA) & SPECIAL));
    return largest;
}

__kernel void sum_rows_by_groups(__global const WORD *a, const long offset, const long rows, const long n,
                                 const long parts, __global long *states, __local long *sums)
{
    const int item = get_local_id(0), items = get_local_size(0);
    for (long group = get_group_id(0); group < rows * parts; group += get_num_groups(0)) {
        const long row = group / parts, part = group % parts;
        const long first = n * part / parts, last = n * (part + 1) / parts;
        __global const WORD *own = a + offset + row * n + first + item;
        const long count = last - first > item ? (last - first - item + items - 1) / items : 0;
        long digits[DIGITS];
        for (int k = 0; k < DIGITS; k++)
            digits[k] = 0;
        int window = 0;
        for (long j = 0; j < count; j += BLOCK) {
            __global const WORD *block = own + j * items;
            const long length = min((long)BLOCK, count - j);
            if (fits_apart(digits, block, length, items, window))
                continue;
            const int largest = largest_exponent_apart(block, length, items);
            window = min(max(largest - 1, 0), SPECIAL - 2);
            if (largest == SPECIAL || !fits_apart(digits, block, length, items, window))
                for (long i = 0; i < length; i++)
                    add(digits, block[i * items]);
        }
        for (int k = 0; k < DIGITS; k++) {
            sums[item] = digits[k];
            for (int half_ = items / 2; half_ > 0; half_ /= 2) {
                barrier(CLK_LOCAL_MEM_FENCE);
                if (item < half_)
                    sums[item] += sums[item + half_];
            }
            if (item == 0)
                states[group * DIGITS + k] = sums[0];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
}

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

__kernel void sum_products(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                           __global long *states, __global const ulong *weights, const long vectors)
{
    for (long item = get_global_id(0); item < rows * parts; item += get_global_size(0)) {
        const long row = item / parts, part = item % parts;
        const long first = n * part / parts, last = n * (part + 1) / parts;
        __global const WORD *own = a + offset + row * n;
        __global const ulong *factors = weights + row / (rows / vectors) * n;
        long digits[DIGITS];
        for (int k = 0; k < DIGITS; k++)
            digits[k] = 0;
        for (long i = first; i < last; i++)
            add_product(digits, own[i], factors[i]);
        for (int k = 0; k < DIGITS; k++)
            states[item * DIGITS + k] = digits[k];
    }
}
