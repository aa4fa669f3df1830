// Products of a matrix, of any strides, with a vector: what all kernels for them share. The host defines, for one dtype:
//   T       what elements are stored as          ACC   what products are added up in
//   LOAD(p, i)  element i as ACC                 STORE(p, i, v)  the inverse
//   ZERO, ADD(a, b), MULTIPLY_ADD(sum, a, b)
// and AT_ONCE: how many elements one load takes. Strides and sizes are arguments, 64 bits wide, and count elements.
//
// A batch of products lies along dimension 0: each begins at another start in A, and its vectors follow each other. That
// dimension is the fastest one, so that products with one matrix read its rows from a cache. Rows lie along dimension 1.
// Along dimension 2, columns are shared out: what each share adds up goes to `parts`, for add_shares.
#define ARGUMENTS                                                                                                     \
    __global const T *A, __global const long *starts, const long m, const long n, const long row_stride,              \
        const long column_stride, __global const T *x, const long x_start, __global T *y, __global ACC *parts

#define OF_SHARE                                                                                  \
    const long one = get_global_id(0), share = get_global_id(2), shares = get_global_size(2);     \
    const long first_column = n / AT_ONCE * share / shares * AT_ONCE;                             \
    const long columns = (share + 1 == shares ? n : n / AT_ONCE * (share + 1) / shares * AT_ONCE) - first_column; \
    A += starts[one] + first_column * column_stride;                                              \
    x += x_start + one * n + first_column;                                                        \
    y += one * m;                                                                                 \
    parts += (one * shares + share) * m;

#define PUT(i, v)           \
    {                       \
        if (shares == 1)    \
            STORE(y, i, v); \
        else                \
            parts[i] = (v); \
    }

// What `count` items of a group, `step` apart, have added up, of each of so many values: the first of them gets it. All
// are powers of two.
void add_up_items(ACC *own, const int values, __local ACC *sums, const int position, const int count, const int step)
{
    const int item = get_local_id(1), items = get_local_size(1);
    barrier(CLK_LOCAL_MEM_FENCE); // what was there may still be read
    for (int l = 0; l < values; l++)
        sums[l * items + item] = own[l];
    for (int half_ = count / 2; half_ > 0; half_ /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (position < half_)
            for (int l = 0; l < values; l++)
                sums[l * items + item] = ADD(sums[l * items + item], sums[l * items + item + half_ * step]);
    }
    for (int l = 0; l < values; l++)
        own[l] = sums[l * items + item];
}

// Of each row, what its shares of the columns have added up. Neighbouring items take neighbouring rows, so many of them.
__kernel void add_shares(__global const ACC *parts, const long shares, const long m, __global T *y, __local ACC *sums,
                         const int rows)
{
    const long one = get_global_id(0);
    const int item = get_local_id(1), lane = item % rows, turn = item / rows, turns = get_local_size(1) / rows;
    for (long first = (long)get_group_id(1) * rows; first < m; first += (long)get_num_groups(1) * rows) {
        const long i = first + lane;
        ACC s = ZERO;
        if (i < m)
            for (long k = turn; k < shares; k += turns)
                s = ADD(s, parts[(one * shares + k) * m + i]);
        add_up_items(&s, 1, sums, turn, turns, rows);
        if (turn == 0 && i < m)
            STORE(y + one * m, i, s);
    }
}
