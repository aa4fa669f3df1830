// Sums of rows, or of their products with weights. words.cl comes before, and what adds up a run of elements: folds.cl or
// windows.cl. Row r of `rows` is a[offset + r * n .. + n]; part p of `parts` of each row becomes states[r, p]. Rows belong
// to `vectors` of weights, as many to each.

#ifndef SIDE_BY_SIDE
__kernel void sum_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                       __global long *states, __global const ulong *weights, const long vectors, const ulong tiny,
                       const uint small, const ulong half_unit)
{
    const int sound = arithmetic_is_sound(tiny, small, half_unit);
    int window = NO_WINDOW, many = 0; // of the row before, which is most often like the next
    for (long item = get_global_id(0); item < rows * parts; item += get_global_size(0)) {
        const long row = item / parts, part = item % parts;
        const long first = n * part / parts, last = n * (part + 1) / parts;
        __global const ulong *factors = weights + row / (rows / vectors) * n;
        long digits[DIGITS];
        for (int k = 0; k < DIGITS; k++)
            digits[k] = 0;
        add_all(digits, a + offset + row * n + first, factors + first, last - first, 1, sound, &window, &many);
        for (int k = 0; k < DIGITS; k++)
            states[item * DIGITS + k] = digits[k];
    }
}
#else
// What the items of a group, a power of two, have added up: CHUNK digits of each at a time, so that few barriers do.
void store_sum(__global long *state, const long *digits, __local long *sums)
{
    const int item = get_local_id(0), items = get_local_size(0), half_of_items = 30 - (int)clz(items);
    for (int first = 0; first < DIGITS; first += CHUNK) {
        for (int k = 0; k < CHUNK; k++)
            sums[k * items + item] = first + k < DIGITS ? digits[first + k] : 0;
        for (int bits = half_of_items; bits >= 0; bits--) { // an item adds what is 2**bits items away
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = item; i < CHUNK << bits; i += items) {
                __local long *sum = sums + (i >> bits) * items + (i & ((1 << bits) - 1));
                *sum += sum[1 << bits];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = item; k < CHUNK && first + k < DIGITS; k += items)
            state[first + k] = sums[k * items];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

// A group takes a part of a row, and its items neighbouring elements.
__kernel void sum_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                       __global long *states, __global const ulong *weights, const long vectors, const ulong tiny,
                       const uint small, const ulong half_unit, __local long *sums)
{
    const int item = get_local_id(0), items = get_local_size(0);
    const int sound = arithmetic_is_sound(tiny, small, half_unit);
    int window = NO_WINDOW, many = 0; // of the row before, which is most often like the next
    for (long group = get_group_id(0); group < rows * parts; group += get_num_groups(0)) {
        const long row = group / parts, part = group % parts;
        const long first = n * part / parts, last = n * (part + 1) / parts;
        __global const ulong *factors = weights + row / (rows / vectors) * n + first + item;
        const long count = last - first > item ? (last - first - item + items - 1) / items : 0;
        long digits[DIGITS];
        for (int k = 0; k < DIGITS; k++)
            digits[k] = 0;
        add_all(digits, a + offset + row * n + first + item, factors, count, items, sound, &window, &many);
        store_sum(states + group * DIGITS, digits, sums);
    }
}
#endif
