// Copy a matrix of any strides, in bytes, of elements of `size` bytes at any address, row by row.
__kernel void copy_elements(__global const uchar *from, const long start, const long n, const long row_stride,
                            const long column_stride, const long size, __global uchar *to)
{
    const long element = get_global_id(0);
    __global const uchar *one = from + start + element / n * row_stride + element % n * column_stride;
    for (long byte = 0; byte < size; byte++)
        to[element * size + byte] = one[byte];
}
