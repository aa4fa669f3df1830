// The same products for devices with many work items at a time, in groups; and the sums of shares of columns, for all.
// products.cl comes before. Numbers of items are powers of two.

// What `count` items of a group, `step` apart, have added up: the first of them gets it.
ACC total_of_items(__local ACC *sums, const ACC own, const int position, const int count, const int step)
{
    const int item = get_local_id(1);
    barrier(CLK_LOCAL_MEM_FENCE); // what was there may still be read
    sums[item] = own;
    for (int half_ = count / 2; half_ > 0; half_ /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (position < half_)
            sums[item] = ADD(sums[item], sums[item + half_ * step]);
    }
    return sums[item];
}

// `width` items take neighbouring elements of four rows, so that each reads x once for all of these.
__kernel void items_along_rows(ARGUMENTS, __local ACC *sums, const int width)
{
    OF_SHARE
    const int item = get_local_id(1), column = item % width, together = get_local_size(1) / width * 4;
    for (long first = (long)get_group_id(1) * together; first < m; first += (long)get_num_groups(1) * together) {
        const long i = first + item / width * 4, rows = m - i;
        __global const T *r0 = A + i * row_stride, *r1 = r0 + row_stride, *r2 = r1 + row_stride, *r3 = r2 + row_stride;
        ACC s0 = ZERO, s1 = ZERO, s2 = ZERO, s3 = ZERO;
        if (rows >= 4) {
            for (long j = column; j < columns; j += width) {
                const ACC factor = LOAD(x, j);
                s0 = MULTIPLY_ADD(s0, LOAD(r0, j * column_stride), factor);
                s1 = MULTIPLY_ADD(s1, LOAD(r1, j * column_stride), factor);
                s2 = MULTIPLY_ADD(s2, LOAD(r2, j * column_stride), factor);
                s3 = MULTIPLY_ADD(s3, LOAD(r3, j * column_stride), factor);
            }
        } else {
            for (long j = column; j < columns; j += width) {
                const ACC factor = LOAD(x, j);
                if (rows > 0)
                    s0 = MULTIPLY_ADD(s0, LOAD(r0, j * column_stride), factor);
                if (rows > 1)
                    s1 = MULTIPLY_ADD(s1, LOAD(r1, j * column_stride), factor);
                if (rows > 2)
                    s2 = MULTIPLY_ADD(s2, LOAD(r2, j * column_stride), factor);
            }
        }
        s0 = total_of_items(sums, s0, column, width, 1);
        s1 = total_of_items(sums, s1, column, width, 1);
        s2 = total_of_items(sums, s2, column, width, 1);
        s3 = total_of_items(sums, s3, column, width, 1);
        if (column == 0) {
            if (rows > 0)
                PUT(i, s0)
            if (rows > 1)
                PUT(i + 1, s1)
            if (rows > 2)
                PUT(i + 2, s2)
            if (rows > 3)
                PUT(i + 3, s3)
        }
    }
}

// For matrices whose columns are contiguous: neighbouring items take neighbouring rows, so many of them, and the others
// of the group other columns.
__kernel void items_along_columns(ARGUMENTS, __local ACC *sums, const int rows)
{
    OF_SHARE
    const int item = get_local_id(1), lane = item % rows, turn = item / rows, turns = get_local_size(1) / rows;
    for (long first = (long)get_group_id(1) * rows; first < m; first += (long)get_num_groups(1) * rows) {
        const long i = first + lane;
        __global const T *row = A + i * row_stride;
        ACC s0 = ZERO, s1 = ZERO, s2 = ZERO, s3 = ZERO;
        if (i < m) {
            long j = turn;
            for (; j + 3 * turns < columns; j += 4 * turns) {
                s0 = MULTIPLY_ADD(s0, LOAD(row, j * column_stride), LOAD(x, j));
                s1 = MULTIPLY_ADD(s1, LOAD(row, (j + turns) * column_stride), LOAD(x, j + turns));
                s2 = MULTIPLY_ADD(s2, LOAD(row, (j + 2 * turns) * column_stride), LOAD(x, j + 2 * turns));
                s3 = MULTIPLY_ADD(s3, LOAD(row, (j + 3 * turns) * column_stride), LOAD(x, j + 3 * turns));
            }
            for (; j < columns; j += turns)
                s0 = MULTIPLY_ADD(s0, LOAD(row, j * column_stride), LOAD(x, j));
        }
        const ACC total = total_of_items(sums, ADD(ADD(s0, s1), ADD(s2, s3)), turn, turns, rows);
        if (turn == 0 && i < m)
            PUT(i, total)
    }
}

// Of each row, what its shares of the columns have added up.
__kernel void add_shares(__global const ACC *parts, const long shares, const long m, __global T *y, __local ACC *sums,
                         const int rows)
{
    const long one = get_global_id(0);
    const int item = get_local_id(1), lane = item % rows, turn = item / rows, turns = get_local_size(1) / rows;
    const long i = (long)get_group_id(1) * rows + lane;
    ACC s = ZERO;
    if (i < m)
        for (long k = turn; k < shares; k += turns)
            s = ADD(s, parts[(one * shares + k) * m + i]);
    s = total_of_items(sums, s, turn, turns, rows);
    if (turn == 0 && i < m)
        STORE(y + one * m, i, s);
}
