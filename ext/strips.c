/* Sums of neighbouring columns, a strip of them at a time: each lane of a vector is a sum of its own. */
#include "task.h"

/* Of columns that are read where they lie, the last vector overlaps the one before: of 21 columns, vectors of 8 begin at
   0, 8 and 13. Those that are copied are followed by zeros. */
static int overlaps(const Task *t, ptrdiff_t columns) { return t->ready && columns >= LANES; }

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
static void add_columns(Task *t, ptrdiff_t columns, const Rows *rows) {
    Group *const g = t->strips->group;
    if (add_columns_plainly(&t->form, columns, rows, g)) return;
    for (ptrdiff_t i = 0; i < groups_of(columns); i++) {
        Rows own = *rows;
        own.data += min_of(i * LANES, columns - LANES) * t->size;
        if (i && !g[i].folds && !g[i].hopeless && g[i - 1].folds) follow_windows(&t->form, &g[i], &g[i - 1]);
        add_rows(&t->form, &g[i], &own);
    }
}

/* Columns that cannot be read where they lie are copied. What comes next is asked for: rows, or further columns. */
static void add_rows_of_strip(Task *t, ptrdiff_t columns, const char *data, const char *weights, ptrdiff_t count,
                              int is_last) {
    const Addends *a = &t->a;
    const ptrdiff_t stride = a->stride[t->rows], size = t->size, ahead = is_last ? columns * size : count * stride;
    Rows rows = {data, weights, stride, t->form.weighted ? a->weight[t->rows] : 0, count, ahead, NULL, NULL};
    if (!overlaps(t, columns)) {
        const ptrdiff_t whole = groups_of(columns) * LANES;
        char *tile = t->strips->tile;
        rows.data = tile;
        rows.stride = whole * size;
        rows.ahead = 0;
        for (ptrdiff_t i = 0; i < count; i++, tile += whole * size) {
            fetch(columns, data + i * stride, a->stride[t->inner], a->dtype, a->swapped, t->form.type, tile);
            memset(tile + columns * size, 0, (size_t)((whole - columns) * size));
        }
        columns = whole;
    }
    add_columns(t, columns, &rows);
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

static Lanes lanes_of(const Task *t, ptrdiff_t columns, ptrdiff_t i) {
    const ptrdiff_t begin = i * LANES, first = overlaps(t, columns) ? min_of(begin, columns - LANES) : begin;
    return (Lanes){first, (int)(begin - first), (int)min_of(LANES, columns - first)};
}

static inline void scatter(const char *rounded, const size_t size, Lanes lanes, char *results, ptrdiff_t step) {
    for (int j = lanes.from; j < lanes.to; j++) memcpy(results + j * step, rounded + (size_t)j * size, size);
}

static void store_lanes(const Task *t, const double *rounded, Lanes lanes, char *results) {
    const ptrdiff_t step = t->a.result[t->inner];
    results += lanes.first * step;
    switch (t->dtype) {
    case F64: scatter((const char *)rounded, 8, lanes, results, step); break;
    case F32: scatter((const char *)rounded, 4, lanes, results, step); break;
    default: scatter((const char *)rounded, 2, lanes, results, step);
    }
}

/* Of strips of which all is pending, at once. */
static int deliver_plainly(Task *t, ptrdiff_t columns, char *results) {
    const ptrdiff_t groups = groups_of(columns), step = t->a.result[t->inner];
    const int neighbours = step == (ptrdiff_t)size_of(t->dtype);
    const Group *g = t->strips->group;
    Halves totals[STRIP / LANES];
    for (ptrdiff_t i = 0; i < groups; i++)
        if (!is_pending(&g[i])) return 0;
    clear_flags();
    for (ptrdiff_t i = 0; i < groups; i++) totals[i] = sum_of(g[i].pending, g[i].pendings);
    if (!was_exact()) return 0;
    for (ptrdiff_t i = 0; i < groups; i++) {
        const Lanes lanes = lanes_of(t, columns, i);
        double rounded[LANES];
        const int direct = neighbours && lanes.to == LANES;
        char *const out = direct ? results + lanes.first * step : (char *)rounded;
        if (!round_lanes_of(totals[i], t->dtype, out)) return 0;
        if (!direct) store_lanes(t, rounded, lanes, results);
    }
    return 1;
}

static void deliver_lanes(Task *t, Group *g, Lanes lanes, char *results) {
    double rounded[LANES];
    if (t->dtype != STATES && round_lanes(g, t->dtype, rounded)) {
        store_lanes(t, rounded, lanes, results);
        return;
    }
    for (int j = lanes.from; j < lanes.to; j++) deliver(t, g, j, results + (lanes.first + j) * t->a.result[t->inner]);
}

static void deliver_strip(Task *t, ptrdiff_t columns, char *results) {
    Group *const g = t->strips->group;
    const int done = t->dtype != STATES && deliver_plainly(t, columns, results);
    for (ptrdiff_t i = 0; i < groups_of(columns); i++) {
        if (!done) deliver_lanes(t, &g[i], lanes_of(t, columns, i), results);
        clear_group(&g[i]);
    }
}

/* ---- strips ---- */

void begin_strips(Task *t) {
    Strips *s = t->strips;
    for (int i = 0; i < STRIP / LANES && i * LANES < t->a.shape[t->inner]; i++)
        begin_group(&s->group[i], LANES, &s->tally[i * LANES], &s->digits[i * LANES], bias_of(t));
}

/* None of them shorter than a vector, but for a single one. */
void sum_strips(Task *t, const char *data, const char *weights, char *results) {
    const Addends *a = &t->a;
    const ptrdiff_t n = a->shape[t->inner];
    for (ptrdiff_t i = 0, columns; i < n; i += columns) {
        const ptrdiff_t left = n - i;
        columns = left > STRIP && left < STRIP + LANES ? STRIP - LANES : min_of(STRIP, left);
        walk_summed(t, 0, NULL, columns, data + i * a->stride[t->inner], weights);
        deliver_strip(t, columns, results + i * a->result[t->inner]);
    }
}
