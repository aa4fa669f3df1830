/* What a sum over some axes is about. */
#ifndef PARLINALG_TASK_H
#define PARLINALG_TASK_H

#include "folds.h"

enum { STRIP = 512, STRIP_ROWS = 32 };   /* neighbouring sums worked on at a time */

/* The room of strips. */
typedef struct {
    _Alignas(64) Group group[STRIP / LANES];
    _Alignas(64) char tile[STRIP_ROWS * STRIP * sizeof(double)];   /* converted rows */
    Tally tally[STRIP];
    Digits digits[STRIP];
} Strips;
_Static_assert(sizeof(Strips) <= ROOM_BYTES, "a strip needs more room");

/* How the axes are walked: over the kept ones, inside those over the summed ones, innermost over the elements of one
   sum (a run), or over rows of neighbouring sums (a strip). */
typedef struct {
    Addends a;
    Form form;              /* of what is converted: ADJACENT */
    int dtype, flags;       /* of the results */
    Strips *strips;
    int kept[MAX_DIMS], kepts;
    int summed[MAX_DIMS], summeds;
    int inner;              /* axis of the run, or of the strip */
    int rows;               /* axis of a strip's rows */
    int layout;             /* of runs and strips, which are read where they lie unless it is CONVERTED */
    ptrdiff_t apart;        /* bytes from one element of them, or pair, to the next */
    ptrdiff_t size;         /* of an element, converted */
    int pairs;              /* an item of a run is two elements, as the last axis, which belong to so many results */
    Halves start;           /* what lanes begin with, if a.begins */
    ptrdiff_t pair_result;  /* bytes from the result of the first to that of the second */
} Task;

#define deliver JOIN(deliver, PARLINALG_ISA)
#define walk_summed JOIN(walk_summed, PARLINALG_ISA)
#define begin_strips JOIN(begin_strips, PARLINALG_ISA)
#define add_strip JOIN(add_strip, PARLINALG_ISA)
#define sum_strips JOIN(sum_strips, PARLINALG_ISA)

/* Of what is read where it lies. */
static inline Form form_of(const Task *t) {
    Form form = t->form;
    if (t->layout != CONVERTED) form.layout = t->layout;
    return form;
}

/* n items of a run, or a strip, converted. */
static inline void fetch_run(const Task *t, ptrdiff_t n, const char *data, char *elements) {
    const int from = t->pairs ? complex_of(t->a.dtype) : t->a.dtype;
    const int to = t->pairs ? complex_of(t->form.type) : t->form.type;
    fetch(n, data, t->a.stride[t->inner], from, t->a.swapped, to, elements);
}

/* Before the first elements of sums are added. */
static inline void begin_sums(const Task *t, Group *g) {
    if (t->a.begins) g->pending[g->pendings++] = t->start;
}

static inline int bias_of(const Task *t) { return t->form.weighted ? PRODUCT_BIAS : SUM_BIAS; }

/* Writes the sum in tally t, or adds its state to the result. */
void deliver(Task *task, Group *g, int t, char *result);
/* Over the summed axes from number k on; columns: of a strip, 0 for a run. */
void walk_summed(Task *t, int k, Group *g, ptrdiff_t columns, const char *data, const char *weights);
void begin_strips(Task *t);
/* Adds the rows of a strip of so many columns. */
void add_strip(Task *t, ptrdiff_t columns, const char *data, const char *weights);
/* Along the axis of strips. */
void sum_strips(Task *t, const char *data, const char *weights, char *results);

#endif
