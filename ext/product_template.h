/* Products of one dtype T, included once per dtype: names end in N. Needs W, the elements of a vector (1: scalars), and
   SIZE, the bytes of a lane of its sums: 4 or 8. Elements that are smaller need WIDEN, which adds them up to lanes of
   type LANE, the vectors of which are those of LANE_N. */

#ifndef WIDEN
#define OWN_LANES
#define LANE T
#define LANE_N N
#define WIDEN(v) (v)
#endif
#define V JOIN(vec, N)
#if W > 1
typedef T V __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#else
typedef T V;
#endif
/* Keeps v in a register: gcc would rather load it again for each use, and loads are what limits the pairs. */
#if W > 1 && defined(__x86_64__)
#define KEEP(v) __asm__("" : "+v"(v))
#else
#define KEEP(v)
#endif
#define LOAD(p) (*(const V *)(p))
#ifndef TIMES
#define TIMES(a, b) ((a) * (b))
#define SCALED(v, scalar) ((v) * (scalar))
#endif

#include "row_template.h"

#if W > 1
/* Columns of `count` vectors, with the sums in registers: y += A x, and, of a pair, w += A z. The last vector ends where
   a column does: what it has of rows that were counted already, or of the column before, nobody needs. */
INLINE void JOIN(short_cols, N)(const int count, const int pair, ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda,
                                const T *x, const T *z, T *y, T *w) {
    enum { MOST = 4 };
    const ptrdiff_t together = MOST / count, last = m - W, missing = last < 0 ? -last : 0;
    const ptrdiff_t first = !missing ? 0 : lda < missing ? min_of(n, (missing + lda - 1) / lda) : 1;
    V s[MOST], t[MOST];
    for (int k = 0; k < MOST; k++) s[k] = t[k] = (V){0};
    ptrdiff_t j = first;
    for (; j + together <= n; j += together)
        for (int k = 0; k < together * count; k++) {
            const ptrdiff_t col = j + k / count, row = k % count == count - 1 ? last : k % count * W;
            const V a = LOAD(A + col * lda + row);
            s[k] += SCALED(a, x[col]);
            if (pair) t[k] += SCALED(a, z[col]);
        }
    for (; j < n; j++)
        for (int k = 0; k < count; k++) {
            const V a = LOAD(A + j * lda + (k == count - 1 ? last : k * W));
            s[k] += SCALED(a, x[j]);
            if (pair) t[k] += SCALED(a, z[j]);
        }
    for (int k = count; k < together * count; k++) {
        s[k % count] += s[k];
        t[k % count] += t[k];
    }
    for (int k = 0; k < count - 1; k++) {
        *(V *)(y + k * W) = LOAD(y + k * W) + s[k];
        if (pair) *(V *)(w + k * W) = LOAD(w + k * W) + t[k];
    }
    for (ptrdiff_t i = (count - 1) * W; i < m; i++) {
        y[i] += ((const T *)&s[count - 1])[i - last];
        if (pair) w[i] += ((const T *)&t[count - 1])[i - last];
    }
    for (j = 0; j < first; j++)
        for (ptrdiff_t i = 0; i < m; i++) {
            y[i] += ONE_TIMES(A[j * lda + i], x[j]);
            if (pair) w[i] += ONE_TIMES(A[j * lda + i], z[j]);
        }
}
#endif

#if defined(OWN_LANES) && W > 2
/* Columns of m elements that follow each other: W of them, m vectors, at a time. Of a pair for two vectors at once. */
INLINE void JOIN(packed_cols, N)(const int m, const int pair, ptrdiff_t n, const T *A, const T *x, const T *z, T *y,
                                 T *w) {
    enum { MOST = 8 };
    V s[MOST], t[MOST];
    JOIN(LaneNumbers, SIZE) column[MOST];
    for (int k = 0; k < m; k++) {
        s[k] = t[k] = (V){0};
        for (int l = 0; l < W; l++) column[k][l] = (k * W + l) / m;
    }
    ptrdiff_t j = 0;
    for (; j + W <= n; j += W, A += m * W) {
        const V u = LOAD(x + j), v = LOAD(z + j);
        for (int k = 0; k < m; k++) {
            const V a = LOAD(A + k * W);
            s[k] += a * PERMUTED(u, column[k]);
            if (pair) t[k] += a * PERMUTED(v, column[k]);
        }
    }
    for (int k = 0; k < m * W; k++) {
        y[k % m] += s[k / W][k % W];
        if (pair) w[k % m] += t[k / W][k % W];
    }
    for (; j < n; j++, A += m)
        for (int i = 0; i < m; i++) {
            y[i] += ONE_TIMES(A[i], x[j]);
            if (pair) w[i] += ONE_TIMES(A[i], z[j]);
        }
}
#endif

#if W > 1
/* Columns that are worth it to keep their sums in registers; 0 where they are not. */
INLINE int JOIN(few_rows_of_cols, N)(const int pair, ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const T *x,
                                     const T *z, T *y, T *w) {
#if defined(OWN_LANES) && W > 2
    if (lda == m && n >= W) switch (m) {
        case 2: JOIN(packed_cols, N)(2, pair, n, A, x, z, y, w); return 1;
        case 3: JOIN(packed_cols, N)(3, pair, n, A, x, z, y, w); return 1;
        case 4: JOIN(packed_cols, N)(4, pair, n, A, x, z, y, w); return 1;
        case 5: JOIN(packed_cols, N)(5, pair, n, A, x, z, y, w); return 1;
        case 6: JOIN(packed_cols, N)(6, pair, n, A, x, z, y, w); return 1;
        case 7: JOIN(packed_cols, N)(7, pair, n, A, x, z, y, w); return 1;
        case 8:
            if (W <= 8) break;   /* whole vectors */
            JOIN(packed_cols, N)(8, pair, n, A, x, z, y, w);
            return 1;
    }
#endif
    switch (lda > 0 ? (m - 1) / W : -1) {
    case 0: JOIN(short_cols, N)(1, pair, m, n, A, lda, x, z, y, w); return 1;
    case 1: JOIN(short_cols, N)(2, pair, m, n, A, lda, x, z, y, w); return 1;
    case 2: JOIN(short_cols, N)(3, pair, m, n, A, lda, x, z, y, w); return 1;
    case 3: JOIN(short_cols, N)(4, pair, m, n, A, lda, x, z, y, w); return 1;
    default: return 0;
    }
}
#endif

/* Four columns at a time, so that y is loaded and stored once for four products. */
static void JOIN(cols, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, void *y_) {
    const T *A = A_, *x = x_;
    T *y = y_;
    ptrdiff_t j = 0;
#if W > 1
    if (JOIN(few_rows_of_cols, N)(0, m, n, A, lda, x, x, y, y)) return;
#endif
    for (; j + 4 <= n; j += 4) {
        const T *a = A + j * lda, *b = a + lda, *c = b + lda, *d = c + lda;
        const T x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
        ptrdiff_t i = 0;
        for (; i + 2 * W <= m; i += 2 * W) {
            V s = LOAD(y + i), t = LOAD(y + i + W);
            s += SCALED(LOAD(a + i), x0); t += SCALED(LOAD(a + i + W), x0);
            s += SCALED(LOAD(b + i), x1); t += SCALED(LOAD(b + i + W), x1);
            s += SCALED(LOAD(c + i), x2); t += SCALED(LOAD(c + i + W), x2);
            s += SCALED(LOAD(d + i), x3); t += SCALED(LOAD(d + i + W), x3);
            *(V *)(y + i) = s; *(V *)(y + i + W) = t;
        }
        for (; i + W <= m; i += W) {
            V s = LOAD(y + i), t = SCALED(LOAD(a + i), x0);
            s += SCALED(LOAD(b + i), x1); t += SCALED(LOAD(c + i), x2); s += SCALED(LOAD(d + i), x3);
            *(V *)(y + i) = s + t;
        }
        for (; i < m; i++) y[i] += (a[i] * x0 + b[i] * x1) + (c[i] * x2 + d[i] * x3);
    }
    for (; j < n; j++) {
        const T *a = A + j * lda;
        const T x0 = x[j];
        ptrdiff_t i = 0;
        for (; i + W <= m; i += W) *(V *)(y + i) = LOAD(y + i) + SCALED(LOAD(a + i), x0);
        for (; i < m; i++) y[i] += a[i] * x0;
    }
}

/* A row and a vector of any strides, in elements. */
static void JOIN(strided_dot, N)(ptrdiff_t n, const void *a_, ptrdiff_t as, const void *x_, ptrdiff_t xs, void *y) {
    const T *a = a_, *x = x_;
    T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4, a += 4 * as, x += 4 * xs) {
        s0 += ONE_TIMES(a[0], x[0]); s1 += ONE_TIMES(a[as], x[xs]);
        s2 += ONE_TIMES(a[2 * as], x[2 * xs]); s3 += ONE_TIMES(a[3 * as], x[3 * xs]);
    }
    for (; j < n; j++, a += as, x += xs) s0 += ONE_TIMES(a[0], x[0]);
    *(T *)y += (s0 + s1) + (s2 + s3);
}

/* Any strides, in elements. One element at a time: it is memory that takes the time, and plain loads keep more of its
   lines in flight than a copy into contiguous rows does (docs: speed). */
static void JOIN(strided_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                                  void *y_) {
    const T *x = x_;
    T *y = y_;
#if defined(OWN_LANES) && W > 1
    if (cs == 2) {
        JOIN(stepped_rows, N)(m, n, A, rs, 2, x, y);
        return;
    }
#endif
    const ptrdiff_t ahead = elements_ahead(cs * (ptrdiff_t)sizeof(T)) * cs;
    for (ptrdiff_t i = 0; i < m; i++) {
        const T *a = (const T *)A + i * rs;
        T s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        ptrdiff_t j = 0;
        for (; j + 8 <= n; j += 8, a += 8 * cs) {
            for (int k = 0; k < 8; k++) __builtin_prefetch(a + ahead + k * cs);
            s0 += ONE_TIMES(a[0], x[j]); s1 += ONE_TIMES(a[cs], x[j + 1]);
            s2 += ONE_TIMES(a[2 * cs], x[j + 2]); s3 += ONE_TIMES(a[3 * cs], x[j + 3]);
            s4 += ONE_TIMES(a[4 * cs], x[j + 4]); s5 += ONE_TIMES(a[5 * cs], x[j + 5]);
            s6 += ONE_TIMES(a[6 * cs], x[j + 6]); s7 += ONE_TIMES(a[7 * cs], x[j + 7]);
        }
        for (; j < n; j++, a += cs) s0 += ONE_TIMES(a[0], x[j]);
        y[i] += ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
    }
}

static void JOIN(strided_cols, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                                  void *y_) {
    const T *x = x_;
    T *y = y_;
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const T *a = (const T *)A + j * cs, *b = a + cs, *c = b + cs, *d = c + cs;
        const T x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
        for (ptrdiff_t i = 0; i < m; i++)
            y[i] += (a[i * rs] * x0 + b[i * rs] * x1) + (c[i * rs] * x2 + d[i * rs] * x3);
    }
    for (; j < n; j++) {
        const T *a = (const T *)A + j * cs;
        for (ptrdiff_t i = 0; i < m; i++) y[i] += ONE_TIMES(a[i * rs], x[j]);
    }
}

#ifdef PAIRS
/* The same for two vectors at once, y += A x and w += A z, so that A is read once. */
static void JOIN(col_pairs, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, const void *z_,
                               void *y_, void *w_) {
    const T *A = A_, *x = x_, *z = z_;
    T *y = y_, *w = w_;
    ptrdiff_t j = 0;
#if W > 1
    if (JOIN(few_rows_of_cols, N)(1, m, n, A, lda, x, z, y, w)) return;
#endif
    for (; j + 4 <= n; j += 4) {
        const T *a = A + j * lda, *b = a + lda, *c = b + lda, *d = c + lda;
        const T x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
        const T z0 = z[j], z1 = z[j + 1], z2 = z[j + 2], z3 = z[j + 3];
        ptrdiff_t i = 0;
        for (; i + W <= m; i += W) {
            V s = LOAD(y + i), t = LOAD(w + i);
            V a0 = LOAD(a + i), b0 = LOAD(b + i), c0 = LOAD(c + i), d0 = LOAD(d + i);
            s += a0 * x0; t += a0 * z0;
            s += b0 * x1; t += b0 * z1;
            s += c0 * x2; t += c0 * z2;
            s += d0 * x3; t += d0 * z3;
            *(V *)(y + i) = s; *(V *)(w + i) = t;
        }
        for (; i < m; i++) {
            y[i] += (a[i] * x0 + b[i] * x1) + (c[i] * x2 + d[i] * x3);
            w[i] += (a[i] * z0 + b[i] * z1) + (c[i] * z2 + d[i] * z3);
        }
    }
    for (; j < n; j++) {
        const T *a = A + j * lda;
        const T x0 = x[j], z0 = z[j];
        ptrdiff_t i = 0;
        for (; i + W <= m; i += W) {
            const V a0 = LOAD(a + i);
            *(V *)(y + i) = LOAD(y + i) + a0 * x0; *(V *)(w + i) = LOAD(w + i) + a0 * z0;
        }
        for (; i < m; i++) {
            y[i] += a[i] * x0; w[i] += a[i] * z0;
        }
    }
}
#include "complex_template.h"
#undef PAIRS
#endif

#undef End
#undef ACROSS
#undef ACROSS_ALL
#undef LANES
#undef ROWS
#undef SIZE
#undef OWN_LANES
#undef LANE
#undef LANE_N
#undef WIDEN
#undef LOAD
#undef TIMES
#undef SCALED
#undef KEEP
#undef V
#undef T
#undef N
#undef W
