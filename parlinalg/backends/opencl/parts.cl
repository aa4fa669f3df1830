// The real or the imaginary parts of complex numbers. The host defines WORD, which is as long as one of them.

__kernel void take_part(__global const WORD *a, const long offset, const long n, __global WORD *part)
{
    const long i = get_global_id(0);
    if (i < n)
        part[i] = a[offset + 2 * i];
}
