/* Complex products of real dtype T, a part of product_template.h. Elements are pairs of parts, and so are those of y;
   columns and strides are counted in parts. */

#if W > 1

/* Of a row, in parts: s = A x part by part, the real part of whose sum is that of even lanes less that of odd ones, and
   t, the same with the parts of x swapped, whose sum is the imaginary part. With the conjugate of x, it is the sum of all
   of s, and that of the odd lanes of t less that of the even ones. */
INLINE V JOIN(swapped, N)(V v) { return PICK_SWAPPED(SIZE, v); }

INLINE void JOIN(put_signs, N)(V s, V t, int conjugated, V *sums) {
    V of_s = {0}, of_t = {0};
    for (int k = 0; k < W; k++) {
        of_s[k] = k % 2 && !conjugated ? -1 : 1;
        of_t[k] = k % 2 == 0 && conjugated ? -1 : 1;
    }
    sums[0] = s * of_s;
    sums[1] = t * of_t;
}

/* Rows that follow each other and of which a vector holds several, of n parts. Returns how many that were. */
INLINE ptrdiff_t JOIN(complex_rows_of_parts, N)(const ptrdiff_t n, ptrdiff_t m, const T *A, const T *x, int conjugated,
                                                T *y) {
    enum { TOGETHER = ROWS / 2 };
    V repeated, factors[2], sums[ROWS];
    JOIN(LaneNumbers, SIZE) place;   /* real parts lie before imaginary ones, as many of each as a vector holds rows */
    for (ptrdiff_t k = 0; k < W; k += n) memcpy((T *)&repeated + k, x, (size_t)n * sizeof(T));
    for (ptrdiff_t k = 0; k < W; k++) place[k] = k / 2 / (W / n) * 2 * (W / n) + k / 2 % (W / n) + k % 2 * (W / n);
    JOIN(put_signs, N)(repeated, JOIN(swapped, N)(repeated), conjugated, factors);
    ptrdiff_t i = 0;
    for (; i + TOGETHER <= m; i += TOGETHER) {
        for (ptrdiff_t k = 0; k < n / 2; k++) {
            const V a = LOAD(A + i * n + k * W);
            sums[2 * k] = a * factors[0]; sums[2 * k + 1] = a * factors[1];
        }
        const V across = ACROSS_ALL(n, sums);
        *(V *)(y + 2 * i) = LOAD(y + 2 * i) + PERMUTED(across, place);
    }
    return i;
}

/* Rows of few vectors, and perhaps an end, as many as are whole groups: x stays in registers. Returns how many. */
INLINE ptrdiff_t JOIN(short_complex_rows, N)(const int vectors, const int ending, ptrdiff_t m, ptrdiff_t n, const T *A,
                                             ptrdiff_t lda, const T *x, const End *end_, int conjugated, T *y) {
    enum { TOGETHER = ROWS / 2 };
    const End end = *end_;
    V factors[3][2], sums[ROWS];
    for (int l = 0; l < vectors; l++)
        JOIN(put_signs, N)(LOAD(x + l * W), JOIN(swapped, N)(LOAD(x + l * W)), conjugated, factors[l]);
    JOIN(put_signs, N)(end.x, JOIN(swapped, N)(end.x), conjugated, factors[2]);
    ptrdiff_t i = 0;
    for (; i + TOGETHER <= m; i += TOGETHER) {
        for (int k = 0; k < TOGETHER; k++, A += lda) {
            V s = {0}, t = {0};
            if (ending) {
                const V a = JOIN(load_end, N)(A, n, 1, &end);
                s += a * factors[2][0]; t += a * factors[2][1];
            }
            for (int l = 0; l < vectors; l++) {
                const V a = LOAD(A + l * W);
                s += a * factors[l][0]; t += a * factors[l][1];
            }
            sums[2 * k] = s; sums[2 * k + 1] = t;
        }
        JOIN(add_all_sums, N)(ACROSS_ALL(ROWS, sums), y + 2 * i);
    }
    return i;
}

INLINE ptrdiff_t JOIN(few_complex_vectors, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const T *x,
                                              const End *end, int conjugated, T *y) {
    switch (n >= 3 * W ? -1 : n / W * 2 + (end->count > 0)) {
    case 1: return JOIN(short_complex_rows, N)(0, 1, m, n, A, lda, x, end, conjugated, y);
    case 2: return JOIN(short_complex_rows, N)(1, 0, m, n, A, lda, x, end, conjugated, y);
    case 3: return JOIN(short_complex_rows, N)(1, 1, m, n, A, lda, x, end, conjugated, y);
    case 4: return JOIN(short_complex_rows, N)(2, 0, m, n, A, lda, x, end, conjugated, y);
    case 5: return JOIN(short_complex_rows, N)(2, 1, m, n, A, lda, x, end, conjugated, y);
    default: return 0;
    }
}

INLINE void JOIN(four_complex_rows, N)(ptrdiff_t n, const T *a, ptrdiff_t lda, const T *x, const End *end,
                                       int conjugated, V *sums) {
    const T *b = a + lda, *c = b + lda, *d = c + lda;
    V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
    ptrdiff_t j = 0;
    for (; j + W <= n; j += W) {
        const V u = LOAD(x + j), v = JOIN(swapped, N)(u);
        V a0 = LOAD(a + j), b0 = LOAD(b + j), c0 = LOAD(c + j), d0 = LOAD(d + j);
        KEEP(a0); KEEP(b0); KEEP(c0); KEEP(d0);
        s0 += a0 * u; t0 += a0 * v;
        s1 += b0 * u; t1 += b0 * v;
        s2 += c0 * u; t2 += c0 * v;
        s3 += d0 * u; t3 += d0 * v;
    }
    if (end->count) {
        const V u = end->x, v = JOIN(swapped, N)(u);
        const V a0 = JOIN(load_end, N)(a, n, 1, end), b0 = JOIN(load_end, N)(b, n, 1, end);
        const V c0 = JOIN(load_end, N)(c, n, 1, end), d0 = JOIN(load_end, N)(d, n, 1, end);
        s0 += a0 * u; t0 += a0 * v;
        s1 += b0 * u; t1 += b0 * v;
        s2 += c0 * u; t2 += c0 * v;
        s3 += d0 * u; t3 += d0 * v;
    }
    JOIN(put_signs, N)(s0, t0, conjugated, sums);
    JOIN(put_signs, N)(s1, t1, conjugated, sums + 2);
    JOIN(put_signs, N)(s2, t2, conjugated, sums + 4);
    JOIN(put_signs, N)(s3, t3, conjugated, sums + 6);
}

INLINE void JOIN(one_complex_row, N)(ptrdiff_t n, const T *a, const T *x, const End *end, int conjugated, V *sums) {
    V s[4] = {{0}}, t[4] = {{0}};
    ptrdiff_t j = 0;
    for (; j + 4 * W <= n; j += 4 * W)
        for (int k = 0; k < 4; k++) {
            V u = LOAD(x + j + k * W), a0 = LOAD(a + j + k * W);
            KEEP(u); KEEP(a0);
            s[k] += a0 * u; t[k] += a0 * JOIN(swapped, N)(u);
        }
    for (; j + W <= n; j += W) {
        s[0] += LOAD(a + j) * LOAD(x + j); t[0] += LOAD(a + j) * JOIN(swapped, N)(LOAD(x + j));
    }
    if (end->count) {
        const V a0 = JOIN(load_end, N)(a, n, 1, end);
        s[1] += a0 * end->x; t[1] += a0 * JOIN(swapped, N)(end->x);
    }
    JOIN(put_signs, N)((s[0] + s[1]) + (s[2] + s[3]), (t[0] + t[1]) + (t[2] + t[3]), conjugated, sums);
}
#endif

INLINE void JOIN(tiny_complex_rows, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const T *x, int conjugated,
                                       T *y) {
    for (ptrdiff_t i = 0; i < m; i++) {
        const T *a = A + i * lda;
        T p = 0, q = 0, im = 0;
        const T sign = conjugated ? -1 : 1;
        for (ptrdiff_t j = 0; j < n; j += 2) {
            p += a[j] * x[j]; q += a[j + 1] * x[j + 1];
            im += a[j] * (sign * x[j + 1]) + a[j + 1] * x[j];
        }
        y[2 * i] += p - sign * q;
        y[2 * i + 1] += im;
    }
}

INLINE void JOIN(complex_rows_of, N)(ptrdiff_t m, ptrdiff_t elements, const void *A_, ptrdiff_t lda, const void *x,
                                     int conjugated, void *y_) {
    const T *A = A_;
    T *y = y_;
    const ptrdiff_t n = 2 * elements;
#if W > 1
    ptrdiff_t i = 0;
    if (lda == n) switch (n) {
        case 2: i = JOIN(complex_rows_of_parts, N)(2, m, A, x, conjugated, y); break;
        case 4: i = W >= 4 ? JOIN(complex_rows_of_parts, N)(4, m, A, x, conjugated, y) : 0; break;
        case 8: i = W >= 8 ? JOIN(complex_rows_of_parts, N)(8, m, A, x, conjugated, y) : 0; break;
    }
    const ptrdiff_t before = JOIN(tiny_ones, N)(m - i, n, lda, 1);
    JOIN(tiny_complex_rows, N)(before, n, A + i * lda, lda, x, conjugated, y + 2 * i);
    i += before;
    if (i == m) return;
    const End end = JOIN(end_of, N)(n, x);
    i += JOIN(few_complex_vectors, N)(m - i, n, A + i * lda, lda, x, &end, conjugated, y + 2 * i);
    enum { MOST = ROWS / 2 > 4 ? ROWS / 2 : 4 };   /* rows at a time */
    _Alignas(VECTOR_BYTES) V sums[2 * MOST];
    for (; i < m; i += MOST) {
        const ptrdiff_t count = min_of(MOST, m - i);
        ptrdiff_t k = 0;
        for (; k + 4 <= count; k += 4) 
            JOIN(four_complex_rows, N)(n, A + (i + k) * lda, lda, x, &end, conjugated, sums + 2 * k);
        for (; k < count; k++) JOIN(one_complex_row, N)(n, A + (i + k) * lda, x, &end, conjugated, sums + 2 * k);
        for (k = 0; k < count; k += ROWS / 2) {
            const ptrdiff_t parts = min_of(ROWS, 2 * (count - k));
            if (parts == ROWS) JOIN(add_all_sums, N)(ACROSS_ALL(ROWS, sums + 2 * k), y + 2 * (i + k));
            else JOIN(add_sums, N)(parts, ACROSS(parts, ROWS, sums + 2 * k), y + 2 * (i + k));
        }
    }
#else
    JOIN(tiny_complex_rows, N)(m, n, A, lda, x, conjugated, y);
#endif
}

static void JOIN(complex_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x, void *y) {
    JOIN(complex_rows_of, N)(m, n, A, lda, x, 0, y);
}

static void JOIN(conjugating_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t lda, const void *x, void *y) {
    JOIN(complex_rows_of, N)(m, n, A, lda, x, 1, y);
}

#if W > 1
/* Any strides: p = A xr and q = A xi are added up apart; then re = p.re - q.im and im = p.im + q.re, or with the conjugate
   of x the other signs. */
typedef T JOIN(part, N) __attribute__((vector_size(2 * sizeof(T)), aligned(sizeof(T)), may_alias));
#define P JOIN(part, N)
#define LOAD_PARTS(p) (*(const P *)(p))

INLINE void JOIN(strided_complex_rows_of, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs,
                                             const void *x_, const T sign, void *y_) {
    T *y = y_;
    const ptrdiff_t ahead = elements_ahead(cs * (ptrdiff_t)sizeof(T)) * cs;
    for (ptrdiff_t i = 0; i < m; i++, y += 2) {
        const T *a = (const T *)A + i * rs, *x = x_;
        P p0 = {0}, p1 = {0}, p2 = {0}, p3 = {0}, q0 = {0}, q1 = {0}, q2 = {0}, q3 = {0};
        ptrdiff_t j = 0;
        for (; j + 4 <= n; j += 4, a += 4 * cs, x += 8) {
            for (int k = 0; k < 4; k++) __builtin_prefetch(a + ahead + k * cs);
            const P a0 = LOAD_PARTS(a), a1 = LOAD_PARTS(a + cs), a2 = LOAD_PARTS(a + 2 * cs), a3 = LOAD_PARTS(a + 3 * cs);
            p0 += a0 * x[0]; q0 += a0 * x[1];
            p1 += a1 * x[2]; q1 += a1 * x[3];
            p2 += a2 * x[4]; q2 += a2 * x[5];
            p3 += a3 * x[6]; q3 += a3 * x[7];
        }
        for (; j < n; j++, a += cs, x += 2) {
            p0 += LOAD_PARTS(a) * x[0]; q0 += LOAD_PARTS(a) * x[1];
        }
        const P p = (p0 + p1) + (p2 + p3), q = (q0 + q1) + (q2 + q3);
        y[0] += p[0] - sign * q[1];
        y[1] += p[1] + sign * q[0];
    }
}

static void JOIN(strided_complex_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x,
                                          void *y) {
    JOIN(strided_complex_rows_of, N)(m, n, A, rs, cs, x, 1, y);
}

static void JOIN(conjugating_strided_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs,
                                              const void *x, void *y) {
    JOIN(strided_complex_rows_of, N)(m, n, A, rs, cs, x, -1, y);
}

static void JOIN(strided_complex_cols, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                                  void *y_) {
    const T *x = x_;
    for (ptrdiff_t j = 0; j < n; j++, x += 2) {
        const T *a = (const T *)A + j * cs;
        T *y = y_;
        for (ptrdiff_t i = 0; i < m; i++, a += rs, y += 2) {
            const T re = a[0] * x[0] - a[1] * x[1], im = a[1] * x[0] + a[0] * x[1];
            y[0] += re;
            y[1] += im;
        }
    }
}
#undef LOAD_PARTS
#undef P
#endif
