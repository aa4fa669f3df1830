// Products on processors: each work item takes a range of rows, one after the other, and reads memory in order.
// products.cl comes before.
__kernel void rows_in_order(ARGUMENTS)
{
    OF_SHARE
    const long items = get_global_size(1), item = get_global_id(1);
    const long first = m * item / items, last = m * (item + 1) / items;
    for (long i = first; i < last; i++) {
        __global const T *row = A + i * row_stride;
        ACC s0 = ZERO, s1 = ZERO, s2 = ZERO, s3 = ZERO;
        long j = 0;
        for (; j + 4 <= columns; j += 4) {
            s0 = MULTIPLY_ADD(s0, LOAD(row, j * column_stride), LOAD(x, j));
            s1 = MULTIPLY_ADD(s1, LOAD(row, (j + 1) * column_stride), LOAD(x, j + 1));
            s2 = MULTIPLY_ADD(s2, LOAD(row, (j + 2) * column_stride), LOAD(x, j + 2));
            s3 = MULTIPLY_ADD(s3, LOAD(row, (j + 3) * column_stride), LOAD(x, j + 3));
        }
        for (; j < columns; j++)
            s0 = MULTIPLY_ADD(s0, LOAD(row, j * column_stride), LOAD(x, j));
        PUT(i, ADD(ADD(s0, s1), ADD(s2, s3)))
    }
}

#ifdef VECTOR
// Vectors of WIDTH elements, of 256 bits, at addresses that need no alignment. Some compilers take vload apart, which
// takes twice the time, so where the type can say what it needs, it does.
#ifdef __clang__
typedef T UNALIGNED __attribute__((ext_vector_type(WIDTH), aligned(sizeof(T))));
#define LOADV(j, p) (*(__global const UNALIGNED *)((p) + WIDTH * (j)))
#else
#define LOADV(j, p) VLOAD(j, p)
#endif

T sum_of_lanes(const VECTOR v)
{
    T lanes[WIDTH], sum = 0;
    STOREV(v, 0, lanes);
    for (int k = 0; k < WIDTH; k++)
        sum += lanes[k];
    return sum;
}

// The same for rows that are contiguous, four at a time.
__kernel void contiguous_rows_in_order(ARGUMENTS)
{
    OF_SHARE
    __global T *to = shares == 1 ? y : parts; // T is ACC
    const long items = get_global_size(1), item = get_global_id(1);
    const long groups = (m + 3) / 4, whole = columns / WIDTH;
    for (long group = groups * item / items; group < groups * (item + 1) / items; group++) {
        const long i = min(4 * group, max(m - 4, (long)0)), step = m < 4 ? 0 : row_stride;
        for (long k = i; k < (m < 4 ? m : i + 1); k++) {
            __global const T *r0 = A + k * row_stride, *r1 = r0 + step, *r2 = r1 + step, *r3 = r2 + step;
            VECTOR s0 = (VECTOR)(0), s1 = s0, s2 = s0, s3 = s0;
            for (long j = 0; j < whole; j++) {
                const VECTOR factors = LOADV(j, x);
                s0 += LOADV(j, r0) * factors;
                s1 += LOADV(j, r1) * factors;
                s2 += LOADV(j, r2) * factors;
                s3 += LOADV(j, r3) * factors;
            }
            T t0 = sum_of_lanes(s0), t1 = sum_of_lanes(s1), t2 = sum_of_lanes(s2), t3 = sum_of_lanes(s3);
            for (long j = WIDTH * whole; j < columns; j++) {
                t0 += r0[j] * x[j];
                t1 += r1[j] * x[j];
                t2 += r2[j] * x[j];
                t3 += r3[j] * x[j];
            }
            to[k] = t0;
            if (m >= 4) {
                to[k + 1] = t1;
                to[k + 2] = t2;
                to[k + 3] = t3;
            }
        }
    }
}

// For matrices whose columns are contiguous: each work item takes 8 vectors of rows at a time, through all columns.
__kernel void contiguous_columns_in_order(ARGUMENTS)
{
    OF_SHARE
    __global T *to = shares == 1 ? y : parts; // T is ACC
    const long items = get_global_size(1), item = get_global_id(1);
    const long strips = (m + 8 * WIDTH - 1) / (8 * WIDTH);
    for (long strip = strips * item / items; strip < strips * (item + 1) / items; strip++) {
        const long first = 8 * WIDTH * strip;
        __global const T *corner = A + first;
        if (first + 8 * WIDTH <= m) {
            VECTOR s[8];
            for (int k = 0; k < 8; k++)
                s[k] = (VECTOR)(0);
            for (long j = 0; j < columns; j++) {
                const VECTOR factor = (VECTOR)(x[j]);
                for (int k = 0; k < 8; k++)
                    s[k] += LOADV(k, corner + j * column_stride) * factor;
            }
            for (int k = 0; k < 8; k++)
                STOREV(s[k], k, to + first);
        } else {
            for (long i = 0; i < m - first; i++) {
                T s = 0;
                for (long j = 0; j < columns; j++)
                    s += corner[i + j * column_stride] * x[j];
                to[first + i] = s;
            }
        }
    }
}
#endif
