/* Sums of neighbouring columns, a strip of them at a time: each lane of a vector is a sum of its own. */
#include "task.h"

enum { AHEAD = 16384 };   /* bytes of a strip: how far before its use memory is asked for */

/* Of columns that are read where they lie, the last vector overlaps the one before: of 21 columns, vectors of 8 begin at
   0, 8 and 13. Those that are copied are followed by zeros. */
static int overlaps(const Task *t) { return t->layout != CONVERTED; }

static ptrdiff_t groups_of(ptrdiff_t columns) { return (columns + LANES - 1) / LANES; }

/* ---- rows ---- */

/* All groups at once, since to read the flags takes as long as to add some vectors. */
static int add_columns_plainly(const Form *f, ptrdiff_t columns, const Rows *rows, Group *g) {
    const ptrdiff_t groups = groups_of(columns);
    if (!can_be_added(f)) return 0;
    for (ptrdiff_t i = 0; i < groups; i++)
        if (g[i].plain_patience) return 0;
    Halves sums[STRIP / LANES];
    clear_flags();
    if (!sum_columns(f, rows, columns, sums) || !was_exact()) return 0;
    for (ptrdiff_t i = 0; i < groups; i++) {
        g[i].pending[g[i].pendings++] = sums[i];
        if (g[i].pendings == PENDING) settle(&g[i]);
    }
    return 1;
}

/* Rows of whole vectors. */
static void add_columns(Task *t, const Form *f, ptrdiff_t columns, const Rows *rows) {
    Group *const g = t->strips->group;
    if (add_columns_plainly(f, columns, rows, g)) return;
    for (ptrdiff_t i = 0; i < groups_of(columns); i++) {
        Rows own = *rows;
        own.data += bytes_to(f->layout, rows->apart, min_of(i * LANES, columns - LANES));
        if (i && !g[i].folds && !g[i].hopeless && g[i - 1].folds) follow_windows(f, &g[i], &g[i - 1]);
        add_rows(f, &g[i], &own);
    }
}

/* Columns that cannot be read where they lie are copied. What comes next is asked for: rows, or further columns. */
static void add_rows_of_strip(Task *t, ptrdiff_t columns, const char *data, const char *weights, ptrdiff_t count,
                              int is_last) {
    const Addends *a = &t->a;
    Form form = form_of(t);
    const ptrdiff_t stride = a->stride[t->rows], size = t->size, row = bytes_to(form.layout, t->apart, columns);
    const ptrdiff_t ahead = is_last ? row : (1 + AHEAD / (row + !row)) * stride;
    Rows rows = {data, weights, stride, t->form.weighted ? a->weight[t->rows] : 0, t->apart, count, ahead,
                 NULL, NULL};
    if (!overlaps(t)) {
        const ptrdiff_t whole = groups_of(columns) * LANES;
        char *tile = t->strips->tile;
        form = t->form;
        rows.apart = size;
        rows.data = tile;
        rows.stride = whole * size;
        rows.ahead = 0;
        for (ptrdiff_t i = 0; i < count; i++, tile += whole * size) {
            fetch_run(t, columns / (1 + t->pairs), data + i * stride, tile);
            memset(tile + columns * size, 0, (size_t)((whole - columns) * size));
        }
        columns = whole;
    }
    add_columns(t, &form, columns, &rows);
}

void add_strip(Task *t, ptrdiff_t columns, const char *data, const char *weights) {
    const Addends *a = &t->a;
    const ptrdiff_t n = a->shape[t->rows];
    for (ptrdiff_t i = 0; i < n; i += STRIP_ROWS)
        add_rows_of_strip(t, columns, data + i * a->stride[t->rows],
                          t->form.weighted ? weights + i * a->weight[t->rows] : NULL, min_of(STRIP_ROWS, n - i), n - i <= STRIP_ROWS);
}

/* ---- results ---- */

/* The first column of group i, and which of its lanes no other group has. */
typedef struct { ptrdiff_t first; int from, to; } Lanes;

static Lanes lanes_of(int overlapping, ptrdiff_t columns, ptrdiff_t i) {
    const ptrdiff_t begin = i * LANES, first = overlapping ? min_of(begin, columns - LANES) : begin;
    return (Lanes){first, (int)(begin - first), (int)min_of(LANES, columns - first)};
}

/* From the result of the first column to that of column j. */
static inline ptrdiff_t place_of(const Task *t, ptrdiff_t j) {
    return t->pairs ? j / 2 * t->a.result[t->inner] + j % 2 * t->pair_result : j * t->a.result[t->inner];
}

static inline void scatter(const Task *t, const char *rounded, const size_t size, Lanes lanes, char *results) {
    for (int j = lanes.from; j < lanes.to; j++)
        memcpy(results + place_of(t, lanes.first + j), rounded + (size_t)j * size, size);
}

static void store_lanes(const Task *t, const double *rounded, Lanes lanes, char *results) {
    switch (t->dtype) {
    case F64: scatter(t, (const char *)rounded, 8, lanes, results); break;
    case F32: scatter(t, (const char *)rounded, 4, lanes, results); break;
    default: scatter(t, (const char *)rounded, 2, lanes, results);
    }
}

static int are_neighbours(const Task *t) {
    const ptrdiff_t size = (ptrdiff_t)size_of(t->dtype);
    return place_of(t, 1) == size && place_of(t, 2) == 2 * size;
}

/* Rounds the sums of whole vectors of columns, the last of which may overlap the one before; as write_lanes. */
static inline Words store_vectors(const Halves *totals, ptrdiff_t columns, const int dtype, char *results) {
    Words wrong = {0};
    for (ptrdiff_t j = 0; j < columns; j += LANES, totals++)
        wrong |= round_lanes_of(*totals, dtype, results + min_of(j, columns - LANES) * bytes_of(dtype));
    return wrong;
}

/* The same of all groups of a strip; whether none overflows. */
static int store_totals(const Task *t, const Halves *totals, ptrdiff_t columns, char *results) {
    const int dtype = t->dtype, overlapping = overlaps(t);
    const ptrdiff_t whole = !are_neighbours(t) ? 0 : overlapping ? columns : columns / LANES * LANES;
    Words wrong = dtype == F64   ? store_vectors(totals, whole, F64, results)   /* so that each loop knows its dtype */
                  : dtype == F32 ? store_vectors(totals, whole, F32, results)
                                 : store_vectors(totals, whole, dtype, results);
    for (ptrdiff_t i = groups_of(whole); i < groups_of(columns); i++) {
        double rounded[LANES];
        wrong |= round_lanes_of(totals[i], dtype, rounded);
        if (!any(wrong)) store_lanes(t, rounded, lanes_of(overlapping, columns, i), results);
    }
    return !any(wrong);
}

/* Of strips of which all is pending, at once; 0 where they must be delivered in another way. */
static int deliver_plainly(Task *t, ptrdiff_t columns, char *results) {
    const ptrdiff_t groups = groups_of(columns);
    const Group *g = t->strips->group;
    Halves totals[STRIP / LANES];
    for (ptrdiff_t i = 0; i < groups; i++)
        if (!is_pending(&g[i])) return 0;
    clear_flags();
    for (ptrdiff_t i = 0; i < groups; i++) totals[i] = sum_of(g[i].pending, g[i].pendings);
    if (!was_exact()) return 0;
    return store_totals(t, totals, columns, results);
}

/* Numbers side by side plus others, each of which is rounded once anyway; whether all are finite. No sum is -0.0. */
#define ADD_PAIRS(name, T)                                                          \
    static int name(ptrdiff_t n, const void *one, const void *other, void *out) {   \
        typedef T Result __attribute__((aligned(1), may_alias));                    \
        const T *a = one, *b = other;                                               \
        Result *sums = out;                                                         \
        int wrong = 0;                                                              \
        for (ptrdiff_t j = 0; j < n; j++) {                                         \
            sums[j] = a[j] + b[j] + (T)0;                                           \
            wrong |= sums[j] - sums[j] != 0;                                        \
        }                                                                           \
        return !wrong;                                                              \
    }
ADD_PAIRS(add_pairs_of_floats, float)
ADD_PAIRS(add_pairs_of_doubles, double)

/* Of one row or two, where they lie so. */
static int deliver_pairs(const Task *t, ptrdiff_t columns, const char *data, char *results) {
    static const double none[STRIP];
    const void *second = t->a.shape[t->rows] == 2 ? data + t->a.stride[t->rows] : (const char *)none;
    if (t->layout != ADJACENT || t->dtype != t->form.type || !are_neighbours(t)) return 0;
    if (t->dtype == F64) return add_pairs_of_doubles(columns, data, second, results);
    return t->dtype == F32 && add_pairs_of_floats(columns, data, second, results);
}

/* The same of strips of few rows, which need not be pending before. */
static int deliver_few_rows(const Task *t, ptrdiff_t columns, const char *data, char *results) {
    const Form f = form_of(t);
    const Addends *a = &t->a;
    const ptrdiff_t n = a->shape[t->rows];
    const Rows rows = {data, NULL, a->stride[t->rows], 0, t->apart, n, 0, NULL, NULL};
    Halves sums[STRIP / LANES];
    if (t->summeds || n > STRIP_ROWS || t->dtype == STATES || f.weighted || a->begins || !overlaps(t) || !can_be_added(&f))
        return 0;
    if ((n == 1 || n == 2) && deliver_pairs(t, columns, data, results)) return 1;
    clear_flags();
    return sum_columns(&f, &rows, columns, sums) && was_exact() && store_totals(t, sums, columns, results);
}

static void deliver_lanes(Task *t, Group *g, Lanes lanes, char *results) {
    double rounded[LANES];
    if (t->dtype != STATES && round_lanes(g, t->dtype, rounded)) {
        store_lanes(t, rounded, lanes, results);
        return;
    }
    for (int j = lanes.from; j < lanes.to; j++) deliver(t, g, j, results + place_of(t, lanes.first + j));
}

static void deliver_strip(Task *t, ptrdiff_t columns, char *results) {
    Group *const g = t->strips->group;
    const int done = t->dtype != STATES && deliver_plainly(t, columns, results);
    for (ptrdiff_t i = 0; i < groups_of(columns); i++) {
        if (!done) deliver_lanes(t, &g[i], lanes_of(overlaps(t), columns, i), results);
        clear_group(&g[i]);
    }
}

/* ---- strips ---- */

void begin_strips(Task *t) {
    Strips *s = t->strips;
    for (int i = 0; i < STRIP / LANES && i * LANES < (1 + t->pairs) * t->a.shape[t->inner]; i++)
        begin_group(&s->group[i], LANES, &s->tally[i * LANES], &s->digits[i * LANES], bias_of(t));
}

/* None of them is shorter than a vector. */
_Static_assert((int)LONG >= (int)LANES, "strips must not be shorter than a vector");
void sum_strips(Task *t, const char *data, const char *weights, char *results) {
    const Addends *a = &t->a;
    const ptrdiff_t each = 1 + t->pairs, n = each * a->shape[t->inner];
    for (ptrdiff_t i = 0, columns; i < n; i += columns) {
        const ptrdiff_t left = n - i;
        const char *first = data + i / each * a->stride[t->inner];
        columns = left > STRIP && left < STRIP + LANES ? STRIP - LANES : min_of(STRIP, left);
        if (deliver_few_rows(t, columns, first, results + place_of(t, i))) continue;
        for (ptrdiff_t k = 0; k < groups_of(columns); k++) begin_sums(t, &t->strips->group[k]);
        walk_summed(t, 0, NULL, columns, first, weights);
        deliver_strip(t, columns, results + place_of(t, i));
    }
}
