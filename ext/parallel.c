#include "threads.h"   /* first, since it asks for what only GNU has */
#include "parallel.h"
#include "placement.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* Where the member of a batch with this index lies. */
static const char *member(const Matrix *a, const Product *p, const ptrdiff_t *stride, ptrdiff_t index) {
    const char *data = a->data;
    for (int k = p->ndim - 1; k > 0; k--) {
        data += index % p->shape[k] * stride[k];
        index /= p->shape[k];
    }
    return p->ndim ? data + index * stride[0] : data;
}

static void limit_rows(Matrix *a, ptrdiff_t lo, ptrdiff_t hi) {
    a->data += lo * a->rs;
    a->m = hi - lo;
}

static int axes_are_one(const Product *p, const ptrdiff_t *stride, int k) {
    return stride[k] == stride[k + 1] * p->shape[k + 1];
}

static void drop_axis(Product *p, int k) {
    p->ndim--;
    for (; k < p->ndim; k++) {
        p->shape[k] = p->shape[k + 1];
        p->A_stride[k] = p->A_stride[k + 1];
        p->x_stride[k] = p->x_stride[k + 1];
        p->y_stride[k] = p->y_stride[k + 1];
    }
}

static void merge_axes(Product *p) {
    for (int k = p->ndim - 1; k >= 0; k--)
        if (p->shape[k] == 1) drop_axis(p, k);
    for (int k = p->ndim - 2; k >= 0; k--) {
        if (!axes_are_one(p, p->A_stride, k) || !axes_are_one(p, p->x_stride, k) || !axes_are_one(p, p->y_stride, k)) continue;
        p->shape[k + 1] *= p->shape[k];
        drop_axis(p, k);
    }
}

static void exchange(ptrdiff_t *a, ptrdiff_t *b) {
    const ptrdiff_t c = *a;
    *a = *b;
    *b = c;
}

/* Matrices as rows, and rows as matrices, where the former lie closer to each other: all have the same vector. */
static void order_rows(Product *p, int axis) {
    if (p->A.m < 2 || p->A_stride[axis] == 0 || labs(p->A_stride[axis]) >= labs(p->A.rs)) return;
    p->batch = p->batch / p->shape[axis] * p->A.m;
    exchange(&p->A.m, &p->shape[axis]);
    exchange(&p->A.rs, &p->A_stride[axis]);
    exchange(&p->y.rs, &p->y_stride[axis]);
    p->y.m = p->A.m;
}

void product_simplify(Product *p) {
    merge_axes(p);
    const int last = p->ndim - 1;
    if (last < 0 || p->batch == 0 || p->x_stride[last]) return;
    order_rows(p, last);
    if (p->A.m == 1) {
        p->A.rs = p->A_stride[last];
        p->y.rs = p->y_stride[last];
    }
    if (p->A_stride[last] != p->A.m * p->A.rs || p->y_stride[last] != p->y.m * p->y.rs) return;
    p->A.m = p->y.m *= p->shape[last];
    p->batch /= p->shape[last];
    p->ndim--;
}

/* So many vectors from this one of the batch on, as rows of a matrix. */
static Matrix rows_of(const Matrix *a, const Product *p, const ptrdiff_t *stride, ptrdiff_t index, ptrdiff_t count) {
    Matrix rows = *a;
    rows.data = member(a, p, stride, index);
    rows.m = count;
    rows.rs = stride[p->ndim - 1];
    return rows;
}

/* Of the rows with this number of all matrices. */
static void dots_part(const Kernels *k, const Product *p, ptrdiff_t row, ptrdiff_t first, ptrdiff_t end) {
    const ptrdiff_t inner = p->shape[p->ndim - 1];
    Matrix vector = p->x;
    vector.n = p->x.m;
    vector.cs = p->x.rs;
    Matrix rows = p->A, sums = p->y;
    rows.data += row * rows.rs;
    sums.data += row * sums.rs;
    for (ptrdiff_t b = first, count; b < end; b += count) {
        count = end - b < inner - b % inner ? end - b : inner - b % inner;
        const Matrix A = rows_of(&rows, p, p->A_stride, b, count), x = rows_of(&vector, p, p->x_stride, b, count);
        const Matrix y = rows_of(&sums, p, p->y_stride, b, count);
        k->dots(&A, &x, &y);
    }
}

/* Whether rows of many matrices are done together. Long ones have a faster kernel where elements are neighbours. */
static int are_short_dots(const Product *p) {
    enum { MANY = 8, LONG = 8, FEW_ROWS = 4, FEW_COLUMNS = 8 };
    const ptrdiff_t size = (ptrdiff_t)size_of(p->A.dtype), most = DOTS_BYTES / (ptrdiff_t)size_of(accumulator(p->y.dtype));
    const int are_neighbours = p->A.cs == size && p->x.rs == (ptrdiff_t)size_of(p->x.dtype);
    if (p->ndim == 0 || p->shape[p->ndim - 1] < MANY) return 0;
    if (p->A.m != 1) return p->A.m <= FEW_ROWS && p->A.n <= FEW_COLUMNS;
    return p->A.n <= (are_neighbours ? most / LONG : most);
}

static Matrix transposed(const Matrix *a) {
    return (Matrix){a->data, a->n, a->m, a->cs, a->rs, a->dtype, a->swapped, a->conjugated};
}

/* One matrix times these vectors of the batch, as a product of two matrices, y = A x; whether `panels` takes it. */
static int as_panels(const Kernels *k, const Product *p, ptrdiff_t first, ptrdiff_t end, Matrix *A, Matrix *x, Matrix *y) {
    enum { LONG_COLUMN = 2048 };
    if (p->ndim != 1 || p->A_stride[0] != 0 || A->n == 0 || A->dtype != y->dtype || x->dtype != y->dtype) return 0;
    if (A->swapped || x->swapped || y->swapped) return 0;
    if (A->dtype == BOOL && A->rs == 1 && A->m >= LONG_COLUMN) return 0;   /* vectors of it are full already */
    x->data += first * p->x_stride[0];
    y->data += first * p->y_stride[0];
    x->n = y->n = end - first;
    x->cs = p->x_stride[0];
    y->cs = p->y_stride[0];
    const ptrdiff_t size = (ptrdiff_t)size_of(y->dtype);
    if (y->cs != size) {
        const Matrix rows = transposed(x);
        *x = transposed(A);
        *y = transposed(y);
        *A = rows;
    }
    return y->cs == size && k->suits_panels(A->m, A->n, x->n, y->dtype);
}

int product_suits_panels(const Kernels *k, const Product *p) {
    Matrix A = p->A, x = p->x, y = p->y;
    return as_panels(k, p, 0, p->batch, &A, &x, &y);
}

static void product_part(const Kernels *k, const Product *p, int split, ptrdiff_t lo, ptrdiff_t hi, char *sums) {
    const ptrdiff_t first = split == SPLIT_BATCH ? lo : 0, end = split == SPLIT_BATCH ? hi : p->batch;
    if (split != SPLIT_COLUMNS && are_short_dots(p)) {
        const ptrdiff_t first_row = split == SPLIT_ROWS ? lo : 0, end_row = split == SPLIT_ROWS ? hi : p->A.m;
        for (ptrdiff_t i = first_row; i < end_row; i++) dots_part(k, p, i, first, end);
        return;
    }
    Matrix all_A = p->A, all_x = p->x, all_y = p->y;
    if (split == SPLIT_COLUMNS) {
        all_A.data += lo * all_A.cs;
        all_A.n = hi - lo;
        limit_rows(&all_x, lo, hi);
    } else if (split == SPLIT_ROWS) {
        limit_rows(&all_A, lo, hi);
        limit_rows(&all_y, lo, hi);
    }
    Matrix A = all_A, x = all_x, y = all_y;
    if (split != SPLIT_COLUMNS && as_panels(k, p, first, end, &A, &x, &y)) {
        k->panels(&A, &x, &y);
        return;
    }
    A = all_A, x = all_x, y = all_y;
    for (ptrdiff_t b = first; b < end; b++) {
        A.data = member(&all_A, p, p->A_stride, b);
        x.data = member(&all_x, p, p->x_stride, b);
        y.data = member(&all_y, p, p->y_stride, b);
        if (split == SPLIT_COLUMNS)
            k->accumulate(&A, &x, y.dtype, sums + (size_t)(b * y.m) * size_of(accumulator(y.dtype)));
        else
            k->matvec(&A, &x, &y);
    }
}

void product_at_once(const Kernels *k, const Product *p) { product_part(k, p, SPLIT_ROWS, 0, p->A.m, NULL); }

/* Where the share of one thread begins. */
static ptrdiff_t share_of(const Work *w, int thread) { return w->first + w->parts * thread / w->threads; }

Work work_of(const int64_t *edges, ptrdiff_t first, ptrdiff_t parts, int threads, Share *shares) {
    const Work work = {edges, first, parts, threads, shares};
    for (int t = 0; t < threads; t++) shares[t].next = share_of(&work, t);
    return work;
}

/* The next part for this thread; -1: none is left. */
static ptrdiff_t take_part(Work *w, int thread) {
    for (int k = 0; k < w->threads; k++) {
        const int owner = (thread + k) % w->threads;
        const ptrdiff_t part = __atomic_fetch_add(&w->shares[owner].next, 1, __ATOMIC_RELAXED);
        if (part < share_of(w, owner + 1)) return part;
    }
    return -1;
}

void product_work(const Kernels *k, const Product *p, int split, Work *w, int thread, char *sums, ptrdiff_t bytes) {
    for (ptrdiff_t part; (part = take_part(w, thread)) >= 0;)
        product_part(k, p, split, w->edges[part], w->edges[part + 1], sums + part * bytes);
}

int sum_work(const Kernels *k, const Addends *a, int axis, Work *w, int thread, int dtype, char *results, void *room) {
    int flags = 0;
    for (ptrdiff_t part; (part = take_part(w, thread)) >= 0;) {
        const ptrdiff_t lo = w->edges[part];
        Addends some = *a;
        if (a->ndim) {
            some.data += lo * a->stride[axis];
            if (a->weights) some.weights += lo * a->weight[axis];
            some.shape[axis] = w->edges[part + 1] - lo;
        }
        flags |= k->sum(&some, dtype, results + lo * a->result[axis], room);
    }
    return flags;
}

#define ADD(T) { T *s = sum; const T *a = part; for (ptrdiff_t i = 0; i < n; i++) s[i] += a[i]; break; }

static void add_partial(int accumulator, ptrdiff_t n, const void *part, void *sum) {
    if (accumulator >= C64) {
        accumulator += F32 - C64;
        n *= 2;
    }
    switch (accumulator) {
    case BOOL: { uint8_t *s = sum; const uint8_t *a = part; for (ptrdiff_t i = 0; i < n; i++) s[i] |= a[i]; break; }
    case U8: ADD(uint8_t)
    case U16: ADD(uint16_t)
    case U32: ADD(uint32_t)
    case U64: ADD(uint64_t)
    case F32: ADD(float)
    case F64: ADD(double)
    case LONGDOUBLE: ADD(long double)
    }
}

void product_combine(const Kernels *k, const Product *p, ptrdiff_t parts, void *sums) {
    const int acc = accumulator(p->y.dtype);
    const ptrdiff_t n = p->batch * p->y.m;
    const size_t size = size_of(acc);
    for (ptrdiff_t part = 1; part < parts; part++)
        add_partial(acc, n, (const char *)sums + (size_t)(part * n) * size, sums);
    Matrix y = p->y;
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        y.data = member(&p->y, p, p->y_stride, b);
        k->store((const char *)sums + (size_t)(b * y.m) * size, &y);
    }
}

void merge_states(ptrdiff_t n, int length, const int64_t *part, int64_t *states) {
    for (ptrdiff_t i = 0; i < n * length; i++) states[i] = (int64_t)((uint64_t)states[i] + (uint64_t)part[i]);
    normalise_states(n, length, states);
}

void normalise_states(ptrdiff_t n, int length, int64_t *states) {
    if (length == 1) return;
    for (ptrdiff_t i = 0; i < n; i++) normalise_digits(length - 3, states + i * length);
}

/* A thread that has to wait for a processor waits for a slice of the scheduler's, some 8 ms: longer than all that one
   thread would have done meanwhile. */
static double rest, rests_until;   /* seconds */

void note_call(double seconds, ptrdiff_t elements) {
    const double LATE = 0.004, SLOWEST = 5e-9 /* of an element */, SHORTEST = 0.1, LONGEST = 1.6;
    if (seconds < LATE + (double)elements * SLOWEST) {
        rest = rests_until = 0;
        return;
    }
    rest = rest == 0 ? SHORTEST : rest < LONGEST ? 2 * rest : LONGEST;
    rests_until = seconds_now() + rest;
}

int threads_are_late(void) { return rests_until != 0 && seconds_now() < rests_until; }

#ifdef _OPENMP

enum { STACK_ROOM = 4 << 20 };   /* bytes, besides its stack, that a thread needs, with some to spare */

static double bytes_of_address_space(void) {
    double pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%lf", &pages) != 1) pages = 0;
    fclose(file);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static double bytes_of_stack(void) {
    size_t size = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_getstacksize(&attributes, &size);
    pthread_attr_destroy(&attributes);
    return (double)size;
}

static _Thread_local int started = 1;   /* threads of the last region that this one has begun, which wait for the next */
static _Thread_local int prepared;   /* for the fork that this thread is making */
static int lost_threads;

const char *openmp_version(void) {
    return _OPENMP >= 202111 ? "5.2" : _OPENMP >= 202011 ? "5.1" : _OPENMP >= 201811 ? "5.0" : "4.5";
}

static void after_fork_in_child(void) {
    if (!prepared) lost_threads = 1;
    prepared = 0;
    forget_threads();
}

void install_fork_guard(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/* Also where parlinalg had no region yet: other users of the same libgomp share its threads. */
void before_fork(void) {
    prepared = omp_pause_resource_all(omp_pause_soft) == 0;
    if (prepared) started = 1;
}

void after_fork_in_parent(void) { prepared = 0; }

/* Where the address space is limited, as many threads as it has stacks for: OpenMP ends the process when it cannot start
   one. */
static int threads_affordable(int wanted) {
    struct rlimit limit;
    if (wanted <= started || getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY) return wanted;
    const double room = (double)limit.rlim_cur - bytes_of_address_space(), stack = STACK_ROOM + bytes_of_stack();
    const double more = room > 0 ? room / stack : 0;
    return started + more < wanted ? started + (int)more : wanted;
}

int threads_allowed(int wanted) {
    if (lost_threads || wanted < 2) return 1;
    return started = threads_affordable(wanted);
}

#else

const char *openmp_version(void) { return ""; }
void install_fork_guard(void) {}
void before_fork(void) {}
void after_fork_in_parent(void) {}
int threads_allowed(int wanted) { (void)wanted; return 1; }

#endif
