// Sums of integers modulo 2**64. The host defines WORD, the type of elements; signed ones are extended; and VALUE, what
// counts of one. It defines SIDE_BY_SIDE where neighbouring work items take neighbouring elements.

#ifndef SIDE_BY_SIDE
__kernel void total_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                         __global long *states)
{
    for (long item = get_global_id(0); item < rows * parts; item += get_global_size(0)) {
        const long row = item / parts, part = item % parts;
        __global const WORD *own = a + offset + row * n;
        long total = 0;
        const long last = n * (part + 1) / parts;
        for (long i = n * part / parts; i < last; i++)
            total += VALUE(own[i]);
        states[item] = total;
    }
}
#else
// A group takes a part of a row. loads.cl and tree.cl come before.
__kernel void total_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                         __global long *states, __local long *sums)
{
    const int item = get_local_id(0), items = get_local_size(0);
    const long step = (long)items * AT_ONCE, units = n / AT_ONCE;
    for (long group = get_group_id(0); group < rows * parts; group += get_num_groups(0)) {
        const long row = group / parts, part = group % parts, last = units * (part + 1) / parts * AT_ONCE;
        __global const WORD *own = a + offset + row * n;
        long total = 0, i = (units * part / parts + item) * AT_ONCE;
        for (; i + (UNROLLED - 1) * step < last; i += UNROLLED * step) {
            FETCHED(words);
            #pragma unroll
            for (int k = 0; k < UNROLLED; k++)
                FETCH(words[k], own + (i + k * step));
            #pragma unroll
            for (int k = 0; k < UNROLLED; k++)
                #pragma unroll
                for (int l = 0; l < AT_ONCE; l++)
                    total += VALUE(words[k][l]);
        }
        for (; i < last; i += step)
            #pragma unroll
            for (int l = 0; l < AT_ONCE; l++)
                total += VALUE(own[i + l]);
        total = total_of_group(sums, total);
        if (item == 0)
            states[group] = total;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif
