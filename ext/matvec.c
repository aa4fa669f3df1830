/* The product of one block: chooses the form by the strides, and converts what the form cannot take as it lies. */
#include "vectors.h"

#include <math.h>
#include <string.h>

enum {
    SUMS_BYTES = 16384,   /* sums of the rows that are worked on: stay in the first-level cache */
    SEGMENT_BYTES = 16384, /* converted elements of one row or column */
    VECTOR_SEGMENT_BYTES = 16384, /* converted elements of x */
    BOOL_SEGMENT = 4096,          /* of a bool x: after each it is seen whether all is true already */
    NARROW = 4,           /* strided columns that are faster one after the other than rows of so few elements */
    FEW = 64,             /* elements of a row, or a column, that are not worth a conversion of their own */
};

/* Whole cache lines. */
typedef struct { _Alignas(64) char bytes[SUMS_BYTES]; } Sums;
typedef struct { _Alignas(64) char bytes[SEGMENT_BYTES]; } Segment;
typedef struct { _Alignas(64) char bytes[VECTOR_SEGMENT_BYTES]; } VectorSegment;

static Matrix part_of(const Matrix *a, ptrdiff_t i, ptrdiff_t m, ptrdiff_t j, ptrdiff_t n) {
    Matrix part = *a;
    part.data += i * a->rs + j * a->cs;
    part.m = m;
    part.n = n;
    return part;
}

/* Whether elements are accumulators as they are: signed integers may be taken for unsigned ones. */
static int is_as_accumulated(const Matrix *a, int acc) {
    return a->dtype == acc || (acc < F16 && acc != BOOL && a->dtype < F16 && a->dtype != BOOL &&
                               size_of(a->dtype) == size_of(acc));
}

static int lies_ready(const Matrix *a, int acc) {
    return is_as_accumulated(a, acc) && !a->swapped && is_aligned(a->data, a->rs, a->cs, acc);
}

static int are_halves(const Matrix *a) {
    return HAS_HALVES && a->dtype == F16 && !a->swapped && is_aligned(a->data, a->rs, a->cs, F16);
}

/* sums += A x, with x and sums contiguous, all in the accumulator's dtype. */
static void by_rows(const Matrix *A, int acc, const char *x, char *sums) {
    row_products[acc](A->m, A->n, A->data, elements_in(A->rs, real_of(acc)), x, sums);
}

static void by_conjugating_rows(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    (void)row_major;
    conjugating_row_products[acc](A->m, A->n, A->data, elements_in(A->rs, real_of(acc)), x, sums);
}

static void by_half_rows(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    (void)acc, (void)row_major;
    half_row_products(A->m, A->n, (const uint16_t *)A->data, elements_in(A->rs, F16), (const float *)x, (float *)sums);
}

static void by_cols(const Matrix *A, int acc, const char *x, char *sums) {
    col_products[acc](A->m, A->n, A->data, elements_in(A->cs, acc), x, sums);
}

/* The real parts of complex x, then, from the middle of `parts` on, the imaginary ones. */
static void take_apart(ptrdiff_t n, int real, const char *x, VectorSegment *parts) {
    char *re = parts->bytes, *im = parts->bytes + VECTOR_SEGMENT_BYTES / 2;
#define PARTS(T) for (ptrdiff_t j = 0; j < n; j++) { \
        ((T *)re)[j] = ((const T *)x)[2 * j]; ((T *)im)[j] = ((const T *)x)[2 * j + 1]; }
    if (real == F32) { PARTS(float) } else if (real == F64) { PARTS(double) } else { PARTS(long double) }
#undef PARTS
}

/* A complex product by columns is two real ones over the same memory: p += A xr and q += A xi over interleaved parts;
   then re = p.re - q.im and im = p.im + q.re. As many rows at a time as leave room in the cache for those of A. */
static void complex_by_cols(const Matrix *A, int acc, const char *x, char *sums) {
    enum { PART_BYTES = 4096 };
    typedef struct { _Alignas(64) char bytes[PART_BYTES]; } Part;
    const int real = real_of(acc);
    const ptrdiff_t size = (ptrdiff_t)size_of(acc), most = elements_in(PART_BYTES, acc);
    VectorSegment parts;
    Part p, q;
    take_apart(A->n, real, x, &parts);
    for (ptrdiff_t i = 0; i < A->m; i += most) {
        const ptrdiff_t m = min_of(most, A->m - i);
        memset(p.bytes, 0, (size_t)(m * size));
        memset(q.bytes, 0, (size_t)(m * size));
        col_pair_products[real](2 * m, A->n, A->data + i * size, elements_in(A->cs, real), parts.bytes,
                                parts.bytes + VECTOR_SEGMENT_BYTES / 2, p.bytes, q.bytes);
#define COMBINE(T) { T *y = (T *)(sums + i * size); const T *u = (const T *)p.bytes, *v = (const T *)q.bytes; \
        for (ptrdiff_t k = 0; k < 2 * m; k += 2) { y[k] += u[k] - v[k + 1]; y[k + 1] += u[k + 1] + v[k]; } }
        if (real == F32) COMBINE(float) else if (real == F64) COMBINE(double) else COMBINE(long double)
#undef COMBINE
    }
}

/* A whose elements along one axis are contiguous and ready: no copy. */
static void ready_block(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    if (row_major) by_rows(A, acc, x, sums);
    else (is_complex(acc) ? complex_by_cols : by_cols)(A, acc, x, sums);
}

/* A real A times complex x, taken apart, over one reading of A; so are the sums. */
static void ready_pair(const Matrix *A, int real, int row_major, const char *x, char *sums) {
    const char *xi = x + VECTOR_SEGMENT_BYTES / 2;
    char *imaginary = sums + SUMS_BYTES / 2;
    if (row_major) {
        by_rows(A, real, x, sums);
        by_rows(A, real, xi, imaginary);
    } else col_pair_products[real](A->m, A->n, A->data, elements_in(A->cs, real), x, xi, sums, imaginary);
}

/* A of the right dtype, neither of whose axes is contiguous. */
static void strided_block(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    const int real = real_of(acc);
    (row_major ? strided_row_products : strided_col_products)[acc](A->m, A->n, A->data, elements_in(A->rs, real),
                                                                   elements_in(A->cs, real), x, sums);
}

/* Lines, which are rows if the lines of A are converted as they lie, or columns. */
static Matrix block_of_lines(const Segment *segment, ptrdiff_t lines, ptrdiff_t length, int are_rows, int acc) {
    const ptrdiff_t size = (ptrdiff_t)size_of(acc);
    return are_rows ? (Matrix){segment->bytes, lines, length, length * size, size, acc, 0, 0}
                    : (Matrix){segment->bytes, length, lines, size, length * size, acc, 0, 0};
}

typedef void (*block_fn)(const Matrix *A, int acc, int row_major, const char *x, char *sums);

/* Any other A: a row or column at a time, or several short ones, is converted into the first-level cache, a segment at a
   time. One after the other, so that A is read in the order in which it lies; but of many short ones the first elements,
   then the second ones, and so on, so that each conversion has something to do. */
static void convert_block(const Matrix *A, int acc, int row_major, const char *x, char *sums, block_fn add_block) {
    const ptrdiff_t size = (ptrdiff_t)size_of(acc), most = elements_in(SEGMENT_BYTES, acc);
    Segment segment;
    const ptrdiff_t lines = row_major ? A->m : A->n, length = row_major ? A->n : A->m;
    const ptrdiff_t line_stride = row_major ? A->rs : A->cs, stride = row_major ? A->cs : A->rs;
    const ptrdiff_t together = length && length < most ? most / length : 1;
    const int follow = line_stride == length * stride, across = !follow && length < FEW && together > length;
    for (ptrdiff_t line = 0; line < lines; line += together)
        for (ptrdiff_t first = 0; first < length; first += most) {
            const ptrdiff_t k = min_of(most, length - first), count = min_of(together, lines - line);
            const char *data = A->data + line * line_stride + first * stride;
            Matrix block;
            if (across) {
                for (ptrdiff_t i = 0; i < k; i++)
                    fetch_near(count, data + i * stride, line_stride, A->dtype, A->swapped, acc,
                               segment.bytes + i * count * size);
                block = block_of_lines(&segment, k, count, !row_major, acc);
            } else {
                for (ptrdiff_t i = 0; i < (follow ? 1 : count); i++)
                    fetch(follow ? count * k : k, data + i * line_stride, stride, A->dtype, A->swapped, acc,
                          segment.bytes + i * k * size);
                block = block_of_lines(&segment, count, k, row_major, acc);
            }
            add_block(&block, acc, row_major != across, x + (row_major ? first : line) * size,
                      sums + (row_major ? line : first) * size);
        }
}

static void converted_block(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    convert_block(A, acc, row_major, x, sums, ready_block);
}

/* Bytes and words of two are converted faster than they are used one by one, unless lines are short; but lines of bool
   end at their first true. */
static block_fn block_for(const Matrix *A, int acc, int row_major, int contiguous) {
    if (row_major && contiguous && acc == F32 && are_halves(A) && A->n >= LEAST_OF_HALVES) return by_half_rows;
    if (!lies_ready(A, acc)) return converted_block;
    if (contiguous) return ready_block;
    const int small = acc != BOOL && size_of(acc) < 4 && (row_major ? A->n : A->m) >= FEW;
    return small || acc == CLONGDOUBLE ? converted_block : strided_block;
}

static void by_conjugating_strided_rows(const Matrix *A, int acc, int row_major, const char *x, char *sums) {
    (void)row_major;
    const int real = real_of(acc);
    conjugating_strided_row_products[acc](A->m, A->n, A->data, elements_in(A->rs, real), elements_in(A->cs, real), x, sums);
}

/* What does the same by rows with the conjugate of x, which is not converted for it; NULL if nothing does. */
static block_fn conjugating(block_fn add_block) {
    return add_block == ready_block ? by_conjugating_rows : add_block == strided_block ? by_conjugating_strided_rows : NULL;
}

static void conjugate(ptrdiff_t n, int acc, char *numbers) {
#define NEGATE(T) for (ptrdiff_t k = 1; k < 2 * n; k += 2) ((T *)numbers)[k] = -((T *)numbers)[k]
    if (acc == C64) NEGATE(float); else if (acc == C128) NEGATE(double); else NEGATE(long double);
#undef NEGATE
}

static ptrdiff_t magnitude(ptrdiff_t a) { return a < 0 ? -a : a; }

static int is_row_major(const Matrix *A) {
    const ptrdiff_t element = (ptrdiff_t)size_of(A->dtype);
    if (A->m == 1) return 1;   /* whatever its stride is */
    return A->cs == element && A->n > 1 ? 1 : A->rs == element ? 0 : magnitude(A->cs) <= magnitude(A->rs);
}

static void convert_vector(const Matrix *x, ptrdiff_t first, ptrdiff_t n, int acc, char *converted) {
    fetch(n, x->data + first * x->rs, x->rs, x->dtype, x->swapped, acc, converted);
    if (x->conjugated) conjugate(n, acc, converted);
}

/* Adds a + bi, of a from `re` and b from `im`, to complex sums; and what the imaginary parts of A, zeros, times x make:
   NaN where x is not finite. */
static void add_parts(ptrdiff_t m, int real, const char *re, const char *im, const int special[2], char *sums) {
#define COMBINE(T) { T *y = (T *)sums; const T *u = (const T *)re, *v = (const T *)im; \
        const T to_re = special[1] ? (T)NAN : 0, to_im = special[0] ? (T)NAN : 0; \
        for (ptrdiff_t i = 0; i < m; i++) { y[2 * i] += u[i] + to_re; y[2 * i + 1] += v[i] + to_im; } }
    if (real == F32) COMBINE(float) else if (real == F64) COMBINE(double) else COMBINE(long double)
#undef COMBINE
}

/* Whether any of n real numbers is infinite or NaN. */
static int any_special(ptrdiff_t n, int real, const char *numbers) {
    int any = 0;
#define FIND(T) for (ptrdiff_t k = 0; k < n; k++) any |= ((const T *)numbers)[k] - ((const T *)numbers)[k] != 0
    if (real == F32) FIND(float); else if (real == F64) FIND(double); else FIND(long double);
#undef FIND
    return any;
}

/* sums += A x of real A, computed in a complex dtype, which A is not converted to. */
static void add_real_products(const Matrix *A, const Matrix *x, int acc, char *sums) {
    const int real = real_of(acc), row_major = is_row_major(A);
    const ptrdiff_t most = elements_in(VECTOR_SEGMENT_BYTES, acc);
    VectorSegment converted, parts;
    Sums apart;
    int special[2] = {0, 0};
    memset(apart.bytes, 0, (size_t)A->m * size_of(real));
    memset(apart.bytes + SUMS_BYTES / 2, 0, (size_t)A->m * size_of(real));
    for (ptrdiff_t j = 0; j < A->n; j += most) {
        const ptrdiff_t n = min_of(most, A->n - j);
        const Matrix block = part_of(A, 0, A->m, j, n);
        convert_vector(x, j, n, acc, converted.bytes);
        take_apart(n, real, converted.bytes, &parts);
        for (int k = 0; k < 2; k++) special[k] |= any_special(n, real, parts.bytes + k * VECTOR_SEGMENT_BYTES / 2);
        convert_block(&block, real, row_major, parts.bytes, apart.bytes, ready_pair);
    }
    add_parts(A->m, real, apart.bytes, apart.bytes + SUMS_BYTES / 2, special, sums);
}

/* Whether the elements of a row and a vector lie so far apart that it is not worth it to bring those of one together. */
static int are_far_apart(const Matrix *A, const Matrix *x, int acc) {
    const ptrdiff_t size = (ptrdiff_t)size_of(acc), of_row = A->cs, of_x = magnitude(x->rs);
    const int both_apart = of_row > size && of_x > size && (of_row + of_x > 4 * size || size == 1);
    return A->m == 1 && strided_dots[acc] && both_apart && lies_ready(A, acc) && lies_ready(x, acc);
}

/* sums += A x for as many rows as the sums of one Sums hold. */
static void add_products(const Matrix *A, const Matrix *x, int acc, char *sums) {
    if (is_complex(acc) && !is_complex(A->dtype)) {
        add_real_products(A, x, acc, sums);
        return;
    }
    if (are_far_apart(A, x, acc)) {
        strided_dots[acc](A->n, A->data, elements_in(A->cs, acc), x->data, elements_in(x->rs, acc), sums);
        return;
    }
    if (A->m == 1 && acc == F32 && are_halves(A) && are_halves(x) && A->cs == sizeof(uint16_t) && x->rs == A->cs &&
        A->n >= LEAST_OF_HALVES) {
        half_dot(A->n, (const uint16_t *)A->data, (const uint16_t *)x->data, (float *)sums);
        return;
    }
    const ptrdiff_t size = (ptrdiff_t)size_of(acc);
    const ptrdiff_t element = (ptrdiff_t)size_of(A->dtype);
    int row_major = is_row_major(A);
    const int x_lies_ready = acc != BOOL && lies_ready(x, acc) && x->rs == size;
    block_fn add_block = block_for(A, acc, row_major, (row_major ? A->cs : A->rs) == element);
    if (add_block == strided_block && A->n <= NARROW && A->m >= FEW && !is_complex(acc)) row_major = 0;
    const block_fn of_conjugates = x->conjugated && x_lies_ready && row_major ? conjugating(add_block) : NULL;
    if (of_conjugates) add_block = of_conjugates;
    const int x_ready = x_lies_ready && (!x->conjugated || of_conjugates);
    const int whole = x_ready && (row_major || !is_complex(acc) || add_block == strided_block);
    const ptrdiff_t most = whole ? A->n : acc == BOOL ? BOOL_SEGMENT : elements_in(VECTOR_SEGMENT_BYTES, acc);
    VectorSegment converted;
    for (ptrdiff_t j = 0, n; j < A->n; j += n) {
        if (acc == BOOL && j > 0 && !memchr(sums, 0, (size_t)A->m)) return;   /* all are true already */
        n = min_of(acc == BOOL && j == 0 ? FEW : most, A->n - j);
        const ptrdiff_t left = A->n - j - n;
        if (add_block == by_half_rows && left && left < LEAST_OF_HALVES) n -= LEAST_OF_HALVES;
        const char *segment = x->data + j * x->rs;
        if (!x_ready) {
            convert_vector(x, j, n, acc, converted.bytes);
            segment = converted.bytes;
        }
        const Matrix block = part_of(A, 0, A->m, j, n);
        add_block(&block, acc, row_major, segment, sums);
    }
}

/* The same product with columns, and rows where they are contiguous, counted from the other end. */
static void straighten(Matrix *A, Matrix *x) {
    if (A->cs < 0 && A->n > 0) {
        A->data += (A->n - 1) * A->cs;
        x->data += (x->m - 1) * x->rs;
        A->cs = -A->cs;
        x->rs = -x->rs;
    }
}

void block_accumulate(const Matrix *A_, const Matrix *x_, int loop, void *sums) {
    const int acc = accumulator(loop);
    const ptrdiff_t size = (ptrdiff_t)size_of(acc), most = elements_in(SUMS_BYTES, acc);
    Matrix A = *A_, x = *x_;
    straighten(&A, &x);
    for (ptrdiff_t i = 0; i < A.m; i += most) {
        const Matrix block = part_of(&A, i, min_of(most, A.m - i), 0, A.n);
        add_products(&block, &x, acc, (char *)sums + i * size);
    }
}

void block_store(const void *sums, const Matrix *y) { narrow(y->m, sums, y->dtype, (char *)y->data, y->rs); }

/* Whether nothing has to be turned round, converted or taken apart: most calls with small matrices. */
static int is_plain(const Matrix *A, const Matrix *x, const Matrix *y, int acc, ptrdiff_t size) {
    const uintptr_t places = (uintptr_t)A->data | (uintptr_t)A->rs | (uintptr_t)x->data | (uintptr_t)y->data;
    return A->n > 1 && A->cs == size && x->rs == size && y->rs == size &&
           A->dtype == y->dtype && x->dtype == y->dtype &&
           !(A->swapped | x->swapped | y->swapped | x->conjugated) && (places & (uintptr_t)(size - 1)) == 0 &&
           is_as_accumulated(y, acc) && acc != BOOL;
}

/* One sum of the usual sizes without a call: what is added to it next need not wait for it then. */
static inline void clear(char *sums, size_t bytes) {
    static const uint64_t zeros[2];
    if (bytes == 8) memcpy(sums, zeros, 8);
    else if (bytes == 4) memcpy(sums, zeros, 4);
    else if (bytes == 16) memcpy(sums, zeros, 16);
    else memset(sums, 0, bytes);
}

void block_matvec(const Matrix *A_, const Matrix *x_, const Matrix *y_) {
    const int loop = y_->dtype, acc = accumulator(loop);
    const ptrdiff_t size = (ptrdiff_t)size_of(acc);
    if (is_plain(A_, x_, y_, acc, size)) {
        clear((char *)y_->data, (size_t)(y_->m * size));
        by_rows(A_, acc, x_->data, (char *)y_->data);
        return;
    }
    const ptrdiff_t most = elements_in(SUMS_BYTES, acc);
    Matrix A = *A_, x = *x_, y = *y_;
    straighten(&A, &x);
    if (A.rs < 0 && A.m > 0) {   /* so that memory is read in its order */
        A.data += (A.m - 1) * A.rs;
        y.data += (y.m - 1) * y.rs;
        A.rs = -A.rs;
        y.rs = -y.rs;
    }
    const int in_place = loop != BOOL && lies_ready(&y, acc) && y.rs == size;
    Sums local;
    for (ptrdiff_t i = 0; i < A.m; i += most) {
        const Matrix block = part_of(&A, i, min_of(most, A.m - i), 0, A.n);
        const Matrix target = part_of(&y, i, block.m, 0, 1);
        char *sums = in_place ? (char *)target.data : local.bytes;
        memset(sums, 0, (size_t)(block.m * size));
        add_products(&block, &x, acc, sums);
        if (!in_place) block_store(sums, &target);
    }
}
