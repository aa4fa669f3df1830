// Sums of integers modulo 2**64. The host defines WORD, the type of elements; signed ones are extended.

__kernel void total_rows(__global const WORD *a, const long offset, const long rows, const long n, const long parts,
                         __global long *states)
{
    for (long item = get_global_id(0); item < rows * parts; item += get_global_size(0)) {
        const long row = item / parts, part = item % parts;
        __global const WORD *own = a + offset + row * n;
        long total = 0;
        for (long i = n * part / parts; i < n * (part + 1) / parts; i++)
            total += (long)own[i];
        states[item] = total;
    }
}
