// Exact sums by integers only, so that neither the rounding mode nor any option of the compiler can change a bit.
// Products are added one after the other. The host defines SIDE_BY_SIDE where neighbouring work items take neighbouring
// elements.

#define NO_WINDOW 0

int arithmetic_is_sound(const ulong tiny, const uint small, const ulong half_unit)
{
    return 1;
}

#if WEIGHTED

void add_all(long *digits, __global const WORD *a, __global const ulong *weights, const long count, const long step,
             const int sound, int *window, int *many)
{
    add_each(digits, a, weights, count, step);
}

#else

// A block of elements, in vectors of 4: those within 2**53 of a window are added as two integers, which are deposited
// once. A window is the exponent of its largest numbers. That of the block before is tried first.
#define BLOCK 1024

int largest_exponent(__global const WORD *a, const long n, const long step)
{
    int largest = 0;
    for (long i = 0; i < n; i++)
        largest = max(largest, (int)((a[i * step] >> MANTISSA) & SPECIAL));
    return largest;
}

// Add n elements, a multiple of 4; 0 if one of them is outside of the window.
#ifdef SIDE_BY_SIDE
int fits(long *digits, __global const WORD *a, const long n, const long step, const int window)
{
    const ulong implicit = (ulong)1 << MANTISSA;
    long high = 0, low = 0;
    ulong lost = 0;
    for (long j = 0; j < n; j++) {
        const ulong word = a[j * step];
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
#else
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

int fits(long *digits, __global const WORD *a, const long n, const long step, const int window)
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
#endif

// The window to try for the next block.
int add_block(long *digits, __global const WORD *a, const long n, const long step, const int window)
{
    const long whole = n / 4 * 4;
    int next = window;
    if (!fits(digits, a, whole, step, window)) {
        const int largest = largest_exponent(a, whole, step);
        next = min(max(largest - 1, 0), SPECIAL - 2);
        if (largest == SPECIAL || !fits(digits, a, whole, step, next))
            add_each(digits, a, 0, whole, step);
    }
    add_each(digits, a + whole * step, 0, n - whole, step);
    return next;
}

void add_all(long *digits, __global const WORD *a, __global const ulong *weights, const long count, const long step,
             const int sound, int *window, int *many)
{
    for (long i = 0; i < count; i += BLOCK)
        *window = add_block(digits, a + i * step, min((long)BLOCK, count - i), step, *window);
}
#endif
