/* Exact sums over some axes of an array (docs: exact sums). */
#include "axes.h"
#include "runs.h"
#include "task.h"

enum {
    RUN = 1024,       /* elements converted at a time */
    MANY = 64,        /* elements that lie apart, of which it is not worth to copy them */
    SHORT_RUN = 1024, /* elements of a run */
    AT_ONCE = 32,     /* short runs, of which the flags are read once */
};

/* ---- results ---- */

static void add_to_state(Tally *t, int64_t *state) {
    normalise_tally(t);
    for (int j = t->lo; j < t->hi; j++) state[j] += t->digit[j];
    for (int k = 0; k < 3; k++) state[digits_of(t) + k] += t->specials[k];
}

void deliver(Task *task, Group *g, int t, char *result) {
    if (task->dtype != STATES) {
        task->flags |= round_tally(g, t, task->dtype, result);
        return;
    }
    flush_group(g);
    add_to_state(&g->tally[t], (int64_t *)result);
}

/* ---- runs ---- */

/* Whole blocks, no more than can be pending. */
static int add_blocks_plainly(const Form *f, Group *g, ptrdiff_t blocks, Rows rows) {
    Words wrong = {0};
    if (g->plain_patience || !can_be_added(f)) return 0;
    clear_flags();
    for (ptrdiff_t i = 0; i < blocks; i++, pass(&rows, BLOCK)) {
        Halves *const sums = &g->pending[g->pendings + i];
        sum_rows(f, &rows, sums);
        wrong |= not_finite(sums->upper);
    }
    return was_exact() && !any(wrong);
}

static void add_blocks(const Form *f, Group *g, ptrdiff_t blocks, Rows rows) {
    if (add_blocks_plainly(f, g, blocks, rows)) {
        g->pendings += (int)blocks;
        if (g->pendings == PENDING) settle(g);
    } else {
        for (ptrdiff_t i = 0; i < blocks; i++, pass(&rows, BLOCK)) add_rows(f, g, &rows);
    }
}

static void add_elements(const Form *f, Group *g, ptrdiff_t n, const char *v, ptrdiff_t apart, const char *w) {
    Ends ends;
    Rows rows;
    describe_rows(&rows, f, n, v, apart, w, &ends);
    Rows block = rows;
    block.last = block.last_weights = NULL;
    block.count = BLOCK;
    for (ptrdiff_t blocks; rows.count > BLOCK; rows.count -= blocks * BLOCK, pass(&block, blocks * BLOCK)) {
        blocks = g->plain_fits ? min_of((rows.count - 1) / BLOCK, PENDING - g->pendings) : 1;
        add_blocks(f, g, blocks, block);
    }
    rows.data = block.data;
    rows.weights = block.weights;
    if (n) add_rows(f, g, &rows);
}

static void add_run(Task *t, Group *g, const char *data, const char *weights) {
    const Addends *a = &t->a;
    const ptrdiff_t n = a->shape[t->inner], stride = a->stride[t->inner], weight = a->weight[t->inner];
    const int per = 1 + t->pairs;
    const Form f = form_of(t);
    if (t->layout != CONVERTED) {
        add_elements(&f, g, n * per, data, t->apart, weights);
        return;
    }
    _Alignas(64) char elements[RUN * sizeof(double)], copied[RUN * sizeof(double)];
    const ptrdiff_t most = f.weighted ? RUN / 2 : (ptrdiff_t)sizeof elements / (per * t->size);
    for (ptrdiff_t i = 0; i < n; i += most) {
        const ptrdiff_t k = min_of(most, n - i);
        fetch_run(t, k, data + i * stride, elements);
        if (f.weighted) fetch(k, weights + i * weight, weight, per == 2 ? C128 : F64, 0, per == 2 ? C128 : F64, copied);
        add_elements(&f, g, k * per, elements, t->size, f.weighted ? copied : NULL);
    }
}

/* Along an axis of runs that are short: many of them are copied, and added at once. */
static void add_short_runs(Task *t, Group *g, int axis, const char *data) {
    const Addends *a = &t->a;
    const ptrdiff_t n = a->shape[t->inner], each = t->pairs ? 2 * n : n;
    _Alignas(64) char elements[RUN * sizeof(double)];
    ptrdiff_t filled = 0;
    for (ptrdiff_t i = 0; i < a->shape[axis]; i++) {
        if (filled + each > RUN) {
            add_elements(&t->form, g, filled, elements, t->size, NULL);
            filled = 0;
        }
        fetch_run(t, n, data + i * a->stride[axis], elements + filled * t->size);
        filled += each;
    }
    add_elements(&t->form, g, filled, elements, t->size, NULL);
}

/* ---- the walk ---- */

void walk_summed(Task *t, int k, Group *g, ptrdiff_t columns, const char *data, const char *weights) {
    if (k == t->summeds) {
        if (columns) add_strip(t, columns, data, weights);
        else add_run(t, g, data, weights);
        return;
    }
    const int axis = t->summed[k];
    if (k == t->summeds - 1 && !columns && t->layout != ADJACENT && !t->form.weighted &&
        t->a.shape[t->inner] <= (t->layout == CONVERTED ? RUN / 4 : MANY)) {
        add_short_runs(t, g, axis, data);
        return;
    }
    for (ptrdiff_t i = 0; i < t->a.shape[axis]; i++)
        walk_summed(t, k + 1, g, columns, data + i * t->a.stride[axis],
                    t->form.weighted ? weights + i * t->a.weight[axis] : NULL);
}

static void sum_run(Task *t, Group *g, const char *data, const char *weights, char *results) {
    begin_sums(t, g);
    walk_summed(t, 0, g, 0, data, weights);
    deliver(t, g, 0, results);
    if (g->tallies == 2) deliver(t, g, 1, results + t->pair_result);
    clear_group(g);
}

/* Whether runs are so short that to read the flags takes as long as to add them up. */
static int is_short(const Task *t) {
    const ptrdiff_t n = t->a.shape[t->inner] * (t->pairs ? 2 : 1);
    return t->dtype != STATES && !t->summeds && n <= SHORT_RUN && !t->form.weighted && can_be_added(&t->form);
}

/* The next run, which has numbers of its own, may be added plainly again. */
static void sum_run_by_folds(Task *t, Group *g, const char *data, char *results) {
    g->plain_patience = PATIENCE;
    sum_run(t, g, data, NULL, results);
    g->plain_patience = 0;
}

/* So many runs, of which the flags are read once. If one of them rounds, those of each half of the runs are read. Returns
   how many had to be folded. `elements` is room for a run that is converted. */
static int sum_short_runs(Task *t, Group *g, ptrdiff_t count, const char *data, ptrdiff_t stride, char *results,
                          ptrdiff_t result, char *elements) {
    const ptrdiff_t n = t->a.shape[t->inner] * (t->pairs ? 2 : 1), half = count / 2;
    const Form f = form_of(t);
    Pair totals[AT_ONCE][2];
    Ends ends;
    Rows rows;
    clear_flags();
    for (ptrdiff_t i = 0; i < count; i++) {
        const char *run = data + i * stride;
        if (t->layout == CONVERTED) {
            fetch_run(t, t->a.shape[t->inner], run, elements);   /* which may round, too */
            run = elements;
        }
        if (i == 0 || n % LANES) describe_rows(&rows, &f, n, run, t->apart, NULL, &ends);
        else rows.data = run;
        Halves sums;
        sum_rows(&f, &rows, &sums);
        if (t->a.begins) {
            sums.upper += t->start.upper;
            sums.lower += t->start.lower;
        }
        sum_lanes(&sums, g->tallies, totals[i]);
    }
    const int exact = was_exact();
    if (!exact && count > 1)
        return sum_short_runs(t, g, half, data, stride, results, result, elements) +
               sum_short_runs(t, g, count - half, data + half * stride, stride, results + half * result, result,
                              elements);
    int folded = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        int done = exact;
        for (int k = 0; done && k < g->tallies; k++)
            done = round_number(totals[i][k], t->dtype, results + i * result + k * t->pair_result);
        if (!done) sum_run_by_folds(t, g, data + i * stride, results + i * result);
        folded += !done;
    }
    return folded;
}

/* Where most of some runs round, others are not tried for a while. */
static void sum_all_short_runs(Task *t, Group *g, int axis, const char *data, char *results) {
    const ptrdiff_t n = t->a.shape[axis], stride = t->a.stride[axis], result = t->a.result[axis];
    _Alignas(64) char elements[SHORT_RUN * sizeof(double)];
    int patience = 0;
    for (ptrdiff_t i = 0, count; i < n; i += count) {
        count = min_of(AT_ONCE, n - i);
        if (patience) {
            patience--;
            for (ptrdiff_t j = i; j < i + count; j++) sum_run_by_folds(t, g, data + j * stride, results + j * result);
        } else {
            const int folded =
                sum_short_runs(t, g, count, data + i * stride, stride, results + i * result, result, elements);
            patience = folded > AT_ONCE / 2 ? PATIENCE : 0;
        }
    }
}

static void walk_kept(Task *t, int k, Group *g, const char *data, const char *weights, char *results) {
    if (k == t->kepts) {
        if (g) sum_run(t, g, data, weights, results);
        else sum_strips(t, data, weights, results);
        return;
    }
    const int axis = t->kept[k];
    const ptrdiff_t n = t->a.shape[axis], stride = t->a.stride[axis], result = t->a.result[axis];
    if (g && k == t->kepts - 1 && is_short(t)) {
        sum_all_short_runs(t, g, axis, data, results);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        walk_kept(t, k + 1, g, data + i * stride, t->form.weighted ? weights + i * t->a.weight[axis] : NULL,
                  results + i * result);
}

/* ---- the choice of a walk ---- */

int best_axis(const Addends *a, int kept) {
    int best = -1;
    for (int k = a->ndim - 1; k >= 0; k--) {
        if ((a->result[k] != 0) != kept) continue;
        if (best < 0 || a->shape[k] > a->shape[best]) best = k;
        if (a->shape[k] >= LONG) return k;
    }
    return best;
}

static int is_strip(const Addends *a, int run, int strip) {
    if (strip < 0 || (a->weights && a->weight[strip])) return 0;
    return a->shape[strip] >= LONG && (run < 0 || a->shape[run] < LONG || a->stride[strip] < a->stride[run]);
}

/* Whether the last axis is that of real and imaginary parts, each of which has results of its own, or weights. */
static int has_parts(const Addends *a) {
    const int last = a->ndim - 1;
    if (last < 0 || a->shape[last] != 2 || a->stride[last] != (ptrdiff_t)size_of(a->dtype)) return 0;
    if (a->dtype != F32 && a->dtype != F64) return 0;
    return a->weights ? last > 0 && !a->result[last - 1] && a->weight[last] == sizeof(double) : a->result[last] != 0;
}

static int choose_walk(Task *t) {
    Addends *a = &t->a;
    t->pairs = has_parts(a);
    a->ndim -= t->pairs;
    const int strip = best_axis(a, 1);
    int run = best_axis(a, 0);
    const int strips = is_strip(a, run, strip) && !(t->pairs && a->weights);
    if (t->pairs) t->pair_result = a->result[a->ndim];
    if (run < 0) {   /* each element is a sum of its own */
        run = a->ndim++;
        a->shape[run] = 1;
        a->stride[run] = a->weight[run] = a->result[run] = 0;
    }
    t->inner = strips ? strip : run;
    t->rows = strips ? run : -1;
    for (int k = 0; k < a->ndim; k++) {
        if (k == t->inner || k == t->rows) continue;
        if (a->result[k]) t->kept[t->kepts++] = k;
        else t->summed[t->summeds++] = k;
    }
    return strips;
}

/* How elements lie along the run, or strip; CONVERTED where they are not aligned numbers of the form's type. */
static int layout_of(const Task *t) {
    const Addends *a = &t->a;
    const ptrdiff_t stride = a->stride[t->inner], item = (1 + t->pairs) * t->size;
    const ptrdiff_t weights = (1 + t->pairs) * (ptrdiff_t)sizeof(double);
    ptrdiff_t strides = 0;
    for (int k = 0; k < a->ndim; k++) strides |= a->stride[k];
    if (a->dtype != t->form.type || a->swapped || !is_aligned(a->data, strides, 0, a->dtype)) return CONVERTED;
    if (stride == item && (!a->weights || t->rows >= 0 || a->weight[t->inner] == weights)) return ADJACENT;
    if (a->weights) return CONVERTED;
    return (stride == 2 * item ? EVERY_OTHER : APART) + t->pairs;
}

/* Of so many neighbouring lanes, by turns real and imaginary parts. */
static Halves start_of(const double initial[2], int lanes) {
    Halves start = {{0}, {0}};
    for (int j = 0; j < lanes; j++) {
        const double x = initial[j % 2];
        const int has_halves = x - x == 0;   /* which infinities and NaN have not */
        double upper = x;
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits &= UPPER_BITS;
        if (has_halves) memcpy(&upper, &bits, sizeof upper);
        start.upper[j] = upper;
        start.lower[j] = has_halves ? x - upper : 0;
    }
    return start;
}

static void sum_floats(Task *t, char *results) {
    const int strips = choose_walk(t);
    t->form.one_weight = strips;
    if (HAS_HALVES && t->a.dtype == F16 && !t->form.weighted) t->form.type = F16;
    t->size = (ptrdiff_t)size_of(t->form.type);
    t->layout = layout_of(t);
    t->apart = t->layout > ADJACENT ? t->a.stride[t->inner] : t->size;
    if (t->a.begins) t->start = start_of(t->a.initial, strips ? LANES : 1 + (t->pair_result != 0));
    if (strips) {
        begin_strips(t);
        walk_kept(t, 0, NULL, t->a.data, t->a.weights, results);
        return;
    }
    Digits digits[2];
    Tally tally[2];
    Group g;
    begin_group(&g, t->pair_result ? 2 : 1, tally, digits, bias_of(t));
    walk_kept(t, 0, &g, t->a.data, t->a.weights, results);
}

/* Without the axes that there are not: to clear and copy room for all of them takes as long as a short sum. */
static void begin_task(Task *t, const Addends *a, int dtype, void *room) {
    const size_t axes = (size_t)a->ndim;
    t->a.data = a->data;
    t->a.weights = a->weights;
    t->a.ndim = a->ndim;
    t->a.dtype = a->dtype;
    t->a.swapped = a->swapped;
    t->a.loop = a->loop;
    t->a.begins = a->begins;
    memcpy(t->a.initial, a->initial, sizeof a->initial);
    memcpy(t->a.shape, a->shape, axes * sizeof *a->shape);
    memcpy(t->a.stride, a->stride, axes * sizeof *a->stride);
    memcpy(t->a.weight, a->weight, axes * sizeof *a->weight);
    memcpy(t->a.result, a->result, axes * sizeof *a->result);
    t->form = (Form){.type = a->loop, .weighted = a->weights != NULL};
    t->dtype = dtype;
    t->strips = room;
    t->flags = t->kepts = t->summeds = t->pairs = 0;
    t->pair_result = 0;
}

int block_sum(const Addends *a, int dtype, char *results, void *room) {
    const Environment saved = enter_exactness();
    Task t;
    begin_task(&t, a, dtype, room);
    simplify(&t.a, &results);
    if (a->loop == U64) sum_integers(&t.a, results);
    else sum_floats(&t, results);
    leave_exactness(saved);
    return t.flags;
}
