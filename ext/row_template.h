/* Products by rows of one dtype, a part of product_template.h. Sums across a vector are taken of several rows at once:
   those of short rows would take longer than their products do. */

#if W > 1

/* Rows that are added up together: as many as a vector has lanes. */
enum { JOIN(ROWS, N) = VECTOR_BYTES / sizeof(LANE) };
#define ROWS JOIN(ROWS, N)
#define LANES JOIN(vec, LANE_N)
#define ACROSS JOIN(across, LANE_N)
#define ACROSS_ALL JOIN(across_all, LANE_N)

#ifdef OWN_LANES
/* Halves the number of vectors: sums of neighbouring lanes. */
INLINE void JOIN(halve, N)(ptrdiff_t count, V *v) {
    for (ptrdiff_t k = 0; k < count / 2; k++)
        v[k] = PICK_EVENS(SIZE, v[2 * k], v[2 * k + 1]) + PICK_ODDS(SIZE, v[2 * k], v[2 * k + 1]);
}

/* The sums of `count` vectors, of which each holds the lanes of one row, or of several rows of so few lanes. Changes v. */
static inline V JOIN(across, N)(ptrdiff_t count, ptrdiff_t lanes, V *v) {
    for (; lanes > 1; lanes /= 2, count /= 2) {
        if (count & 1) v[count++] = (V){0};
        JOIN(halve, N)(count, v);
    }
    return v[0];
}

/* The same of as many vectors as lanes, in registers. */
INLINE V JOIN(across_all, N)(const ptrdiff_t lanes, V *v) {
    if (lanes > 8) JOIN(halve, N)(16, v);
    if (lanes > 4) JOIN(halve, N)(8, v);
    if (lanes > 2) JOIN(halve, N)(4, v);
    if (lanes > 1) JOIN(halve, N)(2, v);
    return v[0];
}
#endif

/* W elements, of which each is `step`, 1 or 2, after the one before. Nothing beyond the last is read. */
INLINE V JOIN(load, N)(const T *p, const ptrdiff_t step) {
#ifdef OWN_LANES
    if (step == 2) return PICK_OVERLAPPING(SIZE, LOAD(p), LOAD(p + W - 1));
#endif
    (void)step;
    return LOAD(p);
}

/* The elements of a row that no whole vector is left for, in the last lanes, behind zeros. */
typedef struct { V x; Bytes mask; ptrdiff_t count; } JOIN(End, N);
#define End JOIN(End, N)

INLINE End JOIN(end_of, N)(ptrdiff_t n, const T *x) {
    End end = {.x = {0}, .count = n % W};
    memcpy((T *)&end.x + W - end.count, x + n - end.count, (size_t)end.count * sizeof(T));
    end.mask = *(const UnalignedBytes *)(edge + end.count * (ptrdiff_t)sizeof(T));
    return end;
}

/* With the elements before them, which must belong to the array. */
INLINE V JOIN(load_end, N)(const T *a, ptrdiff_t n, const ptrdiff_t step, const End *end) {
    return (V)((Bytes)JOIN(load, N)(a + step * (n - W), step) & end->mask);
}

/* Four rows at a time, so that each element of x that is loaded serves four products; two vectors of each row, so
   that eight independent sums hide the latency of the multiply-add. */
INLINE void JOIN(four_rows, N)(ptrdiff_t n, const T *a, ptrdiff_t lda, const ptrdiff_t step, const T *x, const End *end,
                               LANES *sums) {
    const T *b = a + lda, *c = b + lda, *d = c + lda;
    V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
    ptrdiff_t j = 0;
    for (; j + 2 * W <= n; j += 2 * W) {
        const V u = LOAD(x + j), v = LOAD(x + j + W);
        const ptrdiff_t k = step * j, l = step * (j + W);
        s0 += TIMES(JOIN(load, N)(a + k, step), u); t0 += TIMES(JOIN(load, N)(a + l, step), v);
        s1 += TIMES(JOIN(load, N)(b + k, step), u); t1 += TIMES(JOIN(load, N)(b + l, step), v);
        s2 += TIMES(JOIN(load, N)(c + k, step), u); t2 += TIMES(JOIN(load, N)(c + l, step), v);
        s3 += TIMES(JOIN(load, N)(d + k, step), u); t3 += TIMES(JOIN(load, N)(d + l, step), v);
    }
    if (j + W <= n) {
        const V u = LOAD(x + j);
        const ptrdiff_t k = step * j;
        s0 += TIMES(JOIN(load, N)(a + k, step), u); s1 += TIMES(JOIN(load, N)(b + k, step), u);
        s2 += TIMES(JOIN(load, N)(c + k, step), u); s3 += TIMES(JOIN(load, N)(d + k, step), u);
    }
    if (end->count) {
        t0 += TIMES(JOIN(load_end, N)(a, n, step, end), end->x);
        t1 += TIMES(JOIN(load_end, N)(b, n, step, end), end->x);
        t2 += TIMES(JOIN(load_end, N)(c, n, step, end), end->x);
        t3 += TIMES(JOIN(load_end, N)(d, n, step, end), end->x);
    }
    sums[0] = WIDEN(s0 + t0); sums[1] = WIDEN(s1 + t1); sums[2] = WIDEN(s2 + t2); sums[3] = WIDEN(s3 + t3);
}

INLINE LANES JOIN(one_row, N)(ptrdiff_t n, const T *a, const ptrdiff_t step, const T *x, const End *end) {
    V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    ptrdiff_t j = 0;
    for (; j + 4 * W <= n; j += 4 * W) {
        s0 += TIMES(JOIN(load, N)(a + step * j, step), LOAD(x + j));
        s1 += TIMES(JOIN(load, N)(a + step * (j + W), step), LOAD(x + j + W));
        s2 += TIMES(JOIN(load, N)(a + step * (j + 2 * W), step), LOAD(x + j + 2 * W));
        s3 += TIMES(JOIN(load, N)(a + step * (j + 3 * W), step), LOAD(x + j + 3 * W));
    }
    for (; j + W <= n; j += W) s0 += TIMES(JOIN(load, N)(a + step * j, step), LOAD(x + j));
    if (end->count) s1 += TIMES(JOIN(load_end, N)(a, n, step, end), end->x);
    return WIDEN((s0 + s1) + (s2 + s3));
}

INLINE void JOIN(add_sums, N)(ptrdiff_t count, LANES sums, T *y) {
    for (ptrdiff_t k = 0; k < count; k++) y[k] += (T)sums[k];
}

typedef T JOIN(results, N) __attribute__((vector_size(ROWS * sizeof(T)), aligned(sizeof(T)), may_alias));

INLINE void JOIN(add_all_sums, N)(LANES sums, T *y) {
    *(JOIN(results, N) *)y += __builtin_convertvector(sums, JOIN(results, N));
}

/* Rows that follow each other and of which a vector holds several: n elements, `lanes` of the sums. */
INLINE ptrdiff_t JOIN(rows_of_lanes, N)(const ptrdiff_t lanes, ptrdiff_t m, ptrdiff_t n, const T *A, const T *x, T *y) {
    _Alignas(VECTOR_BYTES) LANES sums[ROWS];
    V repeated;
    for (ptrdiff_t k = 0; k < W; k += n) memcpy((T *)&repeated + k, x, (size_t)n * sizeof(T));
    ptrdiff_t i = 0;
    for (; i + ROWS <= m; i += ROWS) {
        for (ptrdiff_t k = 0; k < lanes; k++) sums[k] = WIDEN(TIMES(LOAD(A + i * n + k * W), repeated));
        JOIN(add_all_sums, N)(ACROSS_ALL(lanes, sums), y + i);
    }
    return i;
}

/* Returns how many rows that were. */
static ptrdiff_t JOIN(packed_rows, N)(ptrdiff_t m, ptrdiff_t n, const T *A, const T *x, T *y) {
    if (W % n) return 0;
    switch (n * sizeof(T) / sizeof(LANE)) {
    case 1: return JOIN(rows_of_lanes, N)(1, m, n, A, x, y);
    case 2: return JOIN(rows_of_lanes, N)(2, m, n, A, x, y);
    case 4: return JOIN(rows_of_lanes, N)(4, m, n, A, x, y);
    case 8: return JOIN(rows_of_lanes, N)(8, m, n, A, x, y);
    default: return 0;
    }
}

/* Rows of few vectors, and perhaps an end, as many as are whole groups: x stays in registers. Returns how many. */
INLINE ptrdiff_t JOIN(short_rows, N)(const int vectors, const int ending, ptrdiff_t m, ptrdiff_t n, const T *A,
                                     ptrdiff_t lda, const ptrdiff_t step, const T *x, const End *end_, T *y) {
    _Alignas(VECTOR_BYTES) LANES sums[ROWS];
    const End end = *end_;
    V u[2];
    for (int l = 0; l < vectors; l++) u[l] = LOAD(x + l * W);
    ptrdiff_t i = 0;
    for (; i + ROWS <= m; i += ROWS, A += ROWS * lda) {
        const T *a = A;
        for (int k = 0; k < ROWS; k++, a += lda) {
            V s = {0};
            if (ending) s += TIMES(JOIN(load_end, N)(a, n, step, &end), end.x);
            for (int l = 0; l < vectors; l++) s += TIMES(JOIN(load, N)(a + step * l * W, step), u[l]);
            sums[k] = WIDEN(s);
        }
        JOIN(add_all_sums, N)(ACROSS_ALL(ROWS, sums), y + i);
    }
    return i;
}

/* Element by element. */
INLINE void JOIN(tiny_rows, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const ptrdiff_t step, const T *x,
                               T *y) {
    for (ptrdiff_t i = 0; i < m; i++) {
        T s = 0;   /* not y[i], which might be an element of A for all that the compiler knows */
        for (ptrdiff_t j = 0; j < n; j++) s += ONE_TIMES(A[i * lda + step * j], x[j]);
        y[i] += s;
    }
}

/* How many rows of less than a vector have not enough before them, or are not worth more. */
INLINE ptrdiff_t JOIN(tiny_ones, N)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t lda, const ptrdiff_t step) {
    if (n >= W) return 0;
    const ptrdiff_t first = lda > 0 ? (step * (W - n) + lda - 1) / lda : m;
    return m - first < ROWS ? m : first;
}

INLINE ptrdiff_t JOIN(few_vectors, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const ptrdiff_t step,
                                      const T *x, const End *end, T *y) {
    switch (m < ROWS || n >= 3 * W ? -1 : n / W * 2 + (end->count > 0)) {
    case 1: return JOIN(short_rows, N)(0, 1, m, n, A, lda, step, x, end, y);
    case 2: return JOIN(short_rows, N)(1, 0, m, n, A, lda, step, x, end, y);
    case 3: return JOIN(short_rows, N)(1, 1, m, n, A, lda, step, x, end, y);
    case 4: return JOIN(short_rows, N)(2, 0, m, n, A, lda, step, x, end, y);
    case 5: return JOIN(short_rows, N)(2, 1, m, n, A, lda, step, x, end, y);
    default: return 0;
    }
}

INLINE void JOIN(stepped_rows, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const ptrdiff_t step,
                                  const T *x, T *y) {
    ptrdiff_t i = JOIN(tiny_ones, N)(m, n, lda, step);
    JOIN(tiny_rows, N)(i, n, A, lda, step, x, y);
    if (i == m) return;
    const End end = JOIN(end_of, N)(n, x);
    _Alignas(VECTOR_BYTES) LANES sums[ROWS];
    i += JOIN(few_vectors, N)(m - i, n, A + i * lda, lda, step, x, &end, y + i);
    for (; i < m; i += ROWS) {
        const ptrdiff_t count = min_of(ROWS, m - i);
        ptrdiff_t k = 0;
        for (; k + 4 <= count; k += 4) JOIN(four_rows, N)(n, A + (i + k) * lda, lda, step, x, &end, sums + k);
        for (; k < count; k++) sums[k] = JOIN(one_row, N)(n, A + (i + k) * lda, step, x, &end);
        if (count == ROWS) JOIN(add_all_sums, N)(ACROSS_ALL(ROWS, sums), y + i);
        else JOIN(add_sums, N)(count, ACROSS(count, ROWS, sums), y + i);
    }
}

/* Rows of one, two or three elements that follow each other: the compiler works on many at once if it knows n. */
INLINE void JOIN(narrow_rows, N)(ptrdiff_t m, const int n, const T *restrict A, const T *x, T *restrict y) {
    const T x0 = x[0], x1 = n > 1 ? x[1] : 0, x2 = n > 2 ? x[2] : 0;
    for (ptrdiff_t i = 0; i < m; i++, A += n) {
        T s = (T)(A[0] * x0);
        if (n > 1) s += A[1] * x1;
        if (n > 2) s += A[2] * x2;
        y[i] += s;
    }
}

static void JOIN(rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x, void *y_) {
    const T *A = A_;
    T *y = y_;
    if (lda == n && m >= ROWS) switch (n) {
        case 1: JOIN(narrow_rows, N)(m, 1, A, x, y); return;
        case 2: JOIN(narrow_rows, N)(m, 2, A, x, y); return;
        case 3: JOIN(narrow_rows, N)(m, 3, A, x, y); return;
    }
    const ptrdiff_t done = n < W && lda == n ? JOIN(packed_rows, N)(m, n, A, x, y) : 0;
    JOIN(stepped_rows, N)(m - done, n, A + done * lda, lda, 1, x, y + done);
}

#else

static void JOIN(rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, void *y_) {
    const T *x = x_;
    T *y = y_;
    for (ptrdiff_t i = 0; i < m; i++) {
        const T *a = (const T *)A_ + i * lda;
        T s0 = 0, s1 = 0;
        ptrdiff_t j = 0;
        for (; j + 2 <= n; j += 2) {
            s0 += ONE_TIMES(a[j], x[j]); s1 += ONE_TIMES(a[j + 1], x[j + 1]);
        }
        for (; j < n; j++) s0 += ONE_TIMES(a[j], x[j]);
        y[i] += s0 + s1;
    }
}
#endif
