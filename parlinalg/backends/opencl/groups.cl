// Products on devices with many work items at a time, in groups. products.cl and loads.cl come before. Numbers of items
// are powers of two.

// `width` items take neighbouring elements of a row.
__kernel void items_along_rows(ARGUMENTS, __local ACC *sums, const int width)
{
    OF_SHARE
    const int item = get_local_id(1), own = item % width, rows = get_local_size(1) / width;
    const long step = (long)width * AT_ONCE;
    for (long first = (long)get_group_id(1) * rows; first < m; first += (long)get_num_groups(1) * rows) {
        const long i = first + item / width;
        __global const T *row = A + i * row_stride;
        ACC s = ZERO;
        if (i < m) {
            long j = (long)own * AT_ONCE;
            for (; j + (UNROLLED - 1) * step < columns; j += UNROLLED * step) {
                FETCHED(a);
                FETCHED(b);
                #pragma unroll
                for (int k = 0; k < UNROLLED; k++) {
                    FETCH(a[k], row + (j + k * step) * column_stride);
                    FETCH(b[k], x + (j + k * step));
                }
                #pragma unroll
                for (int k = 0; k < UNROLLED; k++)
                    #pragma unroll
                    for (int l = 0; l < AT_ONCE; l++)
                        s = MULTIPLY_ADD(s, LOAD((T *)a[k], l), LOAD((T *)b[k], l));
            }
            for (; j < columns; j += step)
                #pragma unroll
                for (int l = 0; l < AT_ONCE; l++)
                    s = MULTIPLY_ADD(s, LOAD(row, (j + l) * column_stride), LOAD(x, j + l));
        }
        add_up_items(&s, 1, sums, own, width, 1);
        if (own == 0 && i < m)
            PUT(i, s)
    }
}

// For matrices whose columns are contiguous: neighbouring items take neighbouring rows, AT_ONCE each, `width` of them,
// and the others of the group other columns.
__kernel void items_along_columns(ARGUMENTS, __local ACC *sums, const int width)
{
    OF_SHARE
    const int item = get_local_id(1), lane = item % width, turn = item / width, turns = get_local_size(1) / width;
    const long rows = (long)width * AT_ONCE;
    for (long first = get_group_id(1) * rows; first < m; first += get_num_groups(1) * rows) {
        const long i = first + (long)lane * AT_ONCE;
        __global const T *corner = A + i * row_stride;
        ACC s[AT_ONCE];
        #pragma unroll
        for (int l = 0; l < AT_ONCE; l++)
            s[l] = ZERO;
        if (i < m) {
            long j = turn;
            for (; j + (UNROLLED - 1) * turns < columns; j += UNROLLED * turns) {
                FETCHED(a);
                #pragma unroll
                for (int k = 0; k < UNROLLED; k++)
                    FETCH(a[k], corner + (j + k * turns) * column_stride);
                #pragma unroll
                for (int k = 0; k < UNROLLED; k++)
                    #pragma unroll
                    for (int l = 0; l < AT_ONCE; l++)
                        s[l] = MULTIPLY_ADD(s[l], LOAD((T *)a[k], l), LOAD(x, j + k * turns));
            }
            for (; j < columns; j += turns)
                #pragma unroll
                for (int l = 0; l < AT_ONCE; l++)
                    s[l] = MULTIPLY_ADD(s[l], LOAD(corner, l * row_stride + j * column_stride), LOAD(x, j));
        }
        add_up_items(s, AT_ONCE, sums, turn, turns, width);
        for (int l = 0; l < AT_ONCE && turn == 0 && i + l < m; l++)
            PUT(i + l, s[l])
    }
}
