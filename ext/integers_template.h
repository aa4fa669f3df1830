/* Kernels of elements of one type, a part of integers.c: of type T, named by N. VALUE(x) is what an element stands for,
   eight of which add up to a PART, and as many as lie side by side in a tile to a LANE. Nothing has to be aligned. */

#define ELEMENT JOIN(Element, N)
typedef T ELEMENT __attribute__((aligned(1), may_alias));

#define AT(p) ((uint64_t)VALUE(*(const ELEMENT *)(p)))

#if defined(SWAPS_WORDS) && VECTOR_BYTES == 16   /* which are slow at that */
#define TOTAL(n, data) JOIN(total_apart, N)(n, data, sizeof(T))
#endif
#ifndef TOTAL   /* of n elements that lie side by side: gcc vectorises it */
#define TOTAL JOIN(total, N)
static uint64_t TOTAL(ptrdiff_t n, const void *data) {
    const ELEMENT *v = data;
    LANE total = 0;
    for (ptrdiff_t i = 0; i < n; i++) total += (LANE)VALUE(v[i]);
    return (uint64_t)total;
}
#endif

/* One by one where they lie, which is faster than to bring them together first. */
static uint64_t JOIN(total_apart, N)(ptrdiff_t n, const char *v, ptrdiff_t stride) {
    uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4, v += 4 * stride) {
        s0 += AT(v);
        s1 += AT(v + stride);
        s2 += AT(v + 2 * stride);
        s3 += AT(v + 3 * stride);
    }
    for (; i < n; i++, v += stride) s0 += AT(v);
    return (s0 + s1) + (s2 + s3);
}

/* Four columns side by side, since they may be short. */
static void JOIN(add_columns_apart, N)(const Tile *t, const char *data, char *sums) {
    const ptrdiff_t row = t->row, column = t->column, step = t->step;
    ptrdiff_t j = 0;
    for (; j + 4 <= t->columns; j += 4, data += 4 * column, sums += 4 * step) {
        uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        const char *v = data;
        for (ptrdiff_t i = 0; i < t->rows; i++, v += row) {
            s0 += AT(v);
            s1 += AT(v + column);
            s2 += AT(v + 2 * column);
            s3 += AT(v + 3 * column);
        }
        *(uint64_t *)sums += s0;
        *(uint64_t *)(sums + step) += s1;
        *(uint64_t *)(sums + 2 * step) += s2;
        *(uint64_t *)(sums + 3 * step) += s3;
    }
    for (; j < t->columns; j++, data += column, sums += step)
        *(uint64_t *)sums += JOIN(total_apart, N)(t->rows, data, row);
}

static void JOIN(add_columns, N)(const Tile *t, const char *data, char *sums) {
    if (t->row != sizeof(T) || t->rows < LINE / (ptrdiff_t)sizeof(T)) {
        JOIN(add_columns_apart, N)(t, data, sums);
        return;
    }
    for (ptrdiff_t j = 0; j < t->columns; j++, data += t->column, sums += t->step)
        *(uint64_t *)sums += TOTAL(t->rows, data);
}

/* sums[j] += the sum of column j, for neighbouring columns: so many rows at a time. */
static inline __attribute__((always_inline)) void JOIN(add_some_columns, N)(
    const int rows, ptrdiff_t columns, const char *data, ptrdiff_t row, uint64_t *restrict sums) {
    for (ptrdiff_t j = 0; j < columns; j++) {
        PART s = 0;
        for (int i = 0; i < rows; i++) s += (PART)VALUE(((const ELEMENT *)(data + i * row))[j]);
        sums[j] += (uint64_t)s;
    }
}

/* A cache line of each row at a time, and the one that lies `ahead` is asked for, unless that is 0. */
static inline __attribute__((always_inline)) void JOIN(add_some_rows, N)(
    const int rows, ptrdiff_t columns, const char *data, ptrdiff_t row, ptrdiff_t ahead, uint64_t *sums) {
    enum { EACH = LINE / sizeof(T) };
    for (; ahead && columns >= EACH; columns -= EACH, data += LINE, sums += EACH) {
        for (int i = 0; i < rows; i++) __builtin_prefetch(data + i * row + ahead, 0, SECOND_LEVEL);
        JOIN(add_some_columns, N)(rows, EACH, data, row, sums);
    }
    JOIN(add_some_columns, N)(rows, columns, data, row, sums);
}

static void JOIN(add_rows, N)(ptrdiff_t rows, ptrdiff_t columns, const char *data, ptrdiff_t row, int asked_for,
                              uint64_t *sums) {
    const ptrdiff_t bytes = 8 * columns * (ptrdiff_t)sizeof(T);
    const ptrdiff_t ahead = asked_for ? (1 + AHEAD_OF_ROWS / (bytes + 1)) * 8 * row : 0;
    for (; rows >= 8; rows -= 8, data += 8 * row) JOIN(add_some_rows, N)(8, columns, data, row, ahead, sums);
    for (; rows >= 4; rows -= 4, data += 4 * row) JOIN(add_some_columns, N)(4, columns, data, row, sums);
    for (; rows; rows--, data += row) JOIN(add_some_columns, N)(1, columns, data, row, sums);
}

#undef ELEMENT
#undef AT
#undef TOTAL
#undef N
#undef T
#undef PART
#undef LANE
#undef VALUE
#undef SWAPS_WORDS
