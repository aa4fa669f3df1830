/* Products of one dtype T, included once per dtype: names end in N. Needs W, the elements of a vector (1: scalars). */

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

static inline T JOIN(total, N)(V v) {
#if W > 1
    typedef T half __attribute__((vector_size(VECTOR_BYTES / 2)));
    union { V whole; half part[2]; } u = {.whole = v};
    half h = u.part[0] + u.part[1];
#if VECTOR_BYTES == 64
    typedef T quarter __attribute__((vector_size(VECTOR_BYTES / 4)));
    union { half whole; quarter part[2]; } q = {.whole = h};
    quarter r = q.part[0] + q.part[1];
    T s = r[0];
    for (int k = 1; k < W / 4; k++) s += r[k];
#else
    T s = h[0];
    for (int k = 1; k < W / 2; k++) s += h[k];
#endif
    return s;
#else
    return v;
#endif
}

/* Four rows at a time, so that each element of x that is loaded serves four products; two vectors of each row, so
   that eight independent sums hide the latency of the multiply-add. */
static void JOIN(rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, void *y_) {
    const T *A = A_, *x = x_;
    T *y = y_;
    ptrdiff_t i = 0;
    if (n < W) {   /* too short for a vector, and for what it costs to add one up */
        for (; i < m; i++) {
            T s = 0;   /* not y[i], which might be an element of A for all that the compiler knows */
            for (ptrdiff_t j = 0; j < n; j++) s += A[i * lda + j] * x[j];
            y[i] += s;
        }
        return;
    }
    for (; i + 4 <= m; i += 4) {
        const T *a = A + i * lda, *b = a + lda, *c = b + lda, *d = c + lda;
        V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
        ptrdiff_t j = 0;
        for (; j + 2 * W <= n; j += 2 * W) {
            V u = LOAD(x + j), v = LOAD(x + j + W);
            s0 += TIMES(LOAD(a + j), u); t0 += TIMES(LOAD(a + j + W), v);
            s1 += TIMES(LOAD(b + j), u); t1 += TIMES(LOAD(b + j + W), v);
            s2 += TIMES(LOAD(c + j), u); t2 += TIMES(LOAD(c + j + W), v);
            s3 += TIMES(LOAD(d + j), u); t3 += TIMES(LOAD(d + j + W), v);
        }
        for (; j + W <= n; j += W) {
            V u = LOAD(x + j);
            s0 += TIMES(LOAD(a + j), u); s1 += TIMES(LOAD(b + j), u);
            s2 += TIMES(LOAD(c + j), u); s3 += TIMES(LOAD(d + j), u);
        }
        T r0 = JOIN(total, N)(s0 + t0), r1 = JOIN(total, N)(s1 + t1);
        T r2 = JOIN(total, N)(s2 + t2), r3 = JOIN(total, N)(s3 + t3);
        for (; j < n; j++) {
            r0 += a[j] * x[j]; r1 += b[j] * x[j]; r2 += c[j] * x[j]; r3 += d[j] * x[j];
        }
        y[i] += r0; y[i + 1] += r1; y[i + 2] += r2; y[i + 3] += r3;
    }
    for (; i < m; i++) {
        const T *a = A + i * lda;
        V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        ptrdiff_t j = 0;
        for (; j + 4 * W <= n; j += 4 * W) {
            s0 += TIMES(LOAD(a + j), LOAD(x + j));
            s1 += TIMES(LOAD(a + j + W), LOAD(x + j + W));
            s2 += TIMES(LOAD(a + j + 2 * W), LOAD(x + j + 2 * W));
            s3 += TIMES(LOAD(a + j + 3 * W), LOAD(x + j + 3 * W));
        }
        for (; j + W <= n; j += W) s0 += TIMES(LOAD(a + j), LOAD(x + j));
        T r = JOIN(total, N)((s0 + s1) + (s2 + s3));
        for (; j < n; j++) r += a[j] * x[j];
        y[i] += r;
    }
}

/* Whole vectors of short columns: their sums stay in registers. Returns how many rows that were. */
static ptrdiff_t JOIN(short_cols, N)(ptrdiff_t m, ptrdiff_t n, const T *A, ptrdiff_t lda, const T *x, T *y) {
    ptrdiff_t i = 0;
    for (; i + W <= m; i += W) {
        const T *a = A + i;
        V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        ptrdiff_t j = 0;
        for (; j + 4 <= n; j += 4, a += 4 * lda) {
            s0 += SCALED(LOAD(a), x[j]); s1 += SCALED(LOAD(a + lda), x[j + 1]);
            s2 += SCALED(LOAD(a + 2 * lda), x[j + 2]); s3 += SCALED(LOAD(a + 3 * lda), x[j + 3]);
        }
        for (; j < n; j++, a += lda) s0 += SCALED(LOAD(a), x[j]);
        *(V *)(y + i) = LOAD(y + i) + ((s0 + s1) + (s2 + s3));
    }
    return i;
}

/* Four columns at a time, so that y is loaded and stored once for four products. */
static void JOIN(cols, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, void *y_) {
    enum { SHORT = W > 1 ? 4 * W : 0 };
    const T *x = x_;
    const ptrdiff_t done = m <= SHORT ? JOIN(short_cols, N)(m, n, A_, lda, x_, y_) : 0;
    const T *A = (const T *)A_ + done;
    T *y = (T *)y_ + done;
    ptrdiff_t j = 0;
    m -= done;
    if (!m) return;
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
        for (ptrdiff_t i = 0; i < m; i++) y[i] += a[i] * x[j];
    }
}

/* Any strides, in elements. One element at a time: it is memory that takes the time, and plain loads keep more of its
   lines in flight than a copy into contiguous rows does (docs: measurements). */
static void JOIN(strided_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                                  void *y_) {
    const T *x = x_;
    T *y = y_;
    for (ptrdiff_t i = 0; i < m; i++) {
        const T *a = (const T *)A + i * rs;
        T s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        ptrdiff_t j = 0;
        for (; j + 8 <= n; j += 8, a += 8 * cs) {
            s0 += a[0] * x[j]; s1 += a[cs] * x[j + 1]; s2 += a[2 * cs] * x[j + 2]; s3 += a[3 * cs] * x[j + 3];
            s4 += a[4 * cs] * x[j + 4]; s5 += a[5 * cs] * x[j + 5]; s6 += a[6 * cs] * x[j + 6];
            s7 += a[7 * cs] * x[j + 7];
        }
        for (; j < n; j++, a += cs) s0 += a[0] * x[j];
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
        for (ptrdiff_t i = 0; i < m; i++) y[i] += a[i * rs] * x[j];
    }
}

#ifdef PAIRS
/* The same for two vectors at once, y += A x and w += A z, so that A is read once. */
static void JOIN(row_pairs, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, const void *z_,
                               void *y_, void *w_) {
    const T *A = A_, *x = x_, *z = z_;
    T *y = y_, *w = w_;
    ptrdiff_t i = 0;
    for (; i + 4 <= m; i += 4) {
        const T *a = A + i * lda, *b = a + lda, *c = b + lda, *d = c + lda;
        V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
        ptrdiff_t j = 0;
        for (; j + W <= n; j += W) {
            V u = LOAD(x + j), v = LOAD(z + j);
            V a0 = LOAD(a + j), b0 = LOAD(b + j), c0 = LOAD(c + j), d0 = LOAD(d + j);
            KEEP(a0); KEEP(b0); KEEP(c0); KEEP(d0);
            s0 += a0 * u; t0 += a0 * v;
            s1 += b0 * u; t1 += b0 * v;
            s2 += c0 * u; t2 += c0 * v;
            s3 += d0 * u; t3 += d0 * v;
        }
        T r0 = JOIN(total, N)(s0), r1 = JOIN(total, N)(s1), r2 = JOIN(total, N)(s2), r3 = JOIN(total, N)(s3);
        T q0 = JOIN(total, N)(t0), q1 = JOIN(total, N)(t1), q2 = JOIN(total, N)(t2), q3 = JOIN(total, N)(t3);
        for (; j < n; j++) {
            r0 += a[j] * x[j]; r1 += b[j] * x[j]; r2 += c[j] * x[j]; r3 += d[j] * x[j];
            q0 += a[j] * z[j]; q1 += b[j] * z[j]; q2 += c[j] * z[j]; q3 += d[j] * z[j];
        }
        y[i] += r0; y[i + 1] += r1; y[i + 2] += r2; y[i + 3] += r3;
        w[i] += q0; w[i + 1] += q1; w[i + 2] += q2; w[i + 3] += q3;
    }
    JOIN(rows, N)(m - i, n, A + i * lda, lda, x, y + i);
    JOIN(rows, N)(m - i, n, A + i * lda, lda, z, w + i);
}

static void JOIN(col_pairs, N)(ptrdiff_t m, ptrdiff_t n, const void *A_, ptrdiff_t lda, const void *x_, const void *z_,
                               void *y_, void *w_) {
    const T *A = A_, *x = x_, *z = z_;
    T *y = y_, *w = w_;
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const T *a = A + j * lda, *b = a + lda, *c = b + lda, *d = c + lda;
        ptrdiff_t i = 0;
        for (; i + W <= m; i += W) {
            V s = LOAD(y + i), t = LOAD(w + i);
            V a0 = LOAD(a + i), b0 = LOAD(b + i), c0 = LOAD(c + i), d0 = LOAD(d + i);
            s += a0 * x[j]; t += a0 * z[j];
            s += b0 * x[j + 1]; t += b0 * z[j + 1];
            s += c0 * x[j + 2]; t += c0 * z[j + 2];
            s += d0 * x[j + 3]; t += d0 * z[j + 3];
            *(V *)(y + i) = s; *(V *)(w + i) = t;
        }
        for (; i < m; i++) {
            y[i] += (a[i] * x[j] + b[i] * x[j + 1]) + (c[i] * x[j + 2] + d[i] * x[j + 3]);
            w[i] += (a[i] * z[j] + b[i] * z[j + 1]) + (c[i] * z[j + 2] + d[i] * z[j + 3]);
        }
    }
    JOIN(cols, N)(m, n - j, A + j * lda, lda, x + j, y);
    JOIN(cols, N)(m, n - j, A + j * lda, lda, z + j, w);
}
#if W > 1
/* Complex elements, any strides, in parts: p = A xr and q = A xi are added up apart; then re = p.re - q.im and im = p.im
   + q.re. */
typedef T JOIN(part, N) __attribute__((vector_size(2 * sizeof(T)), aligned(sizeof(T)), may_alias));
#define P JOIN(part, N)
#define LOAD_PARTS(p) (*(const P *)(p))

static void JOIN(complex_rows, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
                                  void *y_) {
    T *y = y_;
    for (ptrdiff_t i = 0; i < m; i++, y += 2) {
        const T *a = (const T *)A + i * rs, *x = x_;
        P p0 = {0}, p1 = {0}, p2 = {0}, p3 = {0}, q0 = {0}, q1 = {0}, q2 = {0}, q3 = {0};
        ptrdiff_t j = 0;
        for (; j + 4 <= n; j += 4, a += 4 * cs, x += 8) {
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
        y[0] += p[0] - q[1];
        y[1] += p[1] + q[0];
    }
}

static void JOIN(complex_cols, N)(ptrdiff_t m, ptrdiff_t n, const void *A, ptrdiff_t rs, ptrdiff_t cs, const void *x_,
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
#undef PAIRS
#endif

#undef LOAD
#undef TIMES
#undef SCALED
#undef KEEP
#undef V
#undef T
#undef N
#undef W
