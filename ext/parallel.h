/* A product over batches, and what one task of it does; OpenMP and fork. */
#ifndef PARLINALG_PARALLEL_H
#define PARLINALG_PARALLEL_H

#include "kernels.h"

typedef struct {
    Matrix A, x, y;      /* of the first product of the batch */
    int ndim;            /* leading axes */
    ptrdiff_t shape[MAX_DIMS], A_stride[MAX_DIMS], x_stride[MAX_DIMS], y_stride[MAX_DIMS];   /* bytes */
    ptrdiff_t batch;     /* product of shape */
} Product;

enum { SPLIT_BATCH, SPLIT_ROWS, SPLIT_COLUMNS };

/* The part lo..hi of the axis that is split. Columns are summed into `sums`, contiguous accumulators of the whole
   result, zero at first; otherwise `sums` is not used and y is written. */
void product_task(const Kernels *k, const Product *p, int split, ptrdiff_t lo, ptrdiff_t hi, void *sums);

/* y = the sum of `parts` partial results, in their order; they lie one after another and are overwritten. */
void product_combine(const Kernels *k, const Product *p, ptrdiff_t parts, void *sums);

/* Adds the part lo..hi of one axis to the states of its first element and those that follow. */
void sum_part(const Kernels *k, const Addends *a, int axis, ptrdiff_t lo, ptrdiff_t hi, int64_t *states);

/* states += part, n of them; float states are then normalised. */
void merge_states(ptrdiff_t n, int width, const int64_t *part, int64_t *states);

/* "4.5" of the OpenMP that this was built with; "" without. */
const char *openmp_version(void);

/* libgomp keeps the threads of a parallel region for the next one, but fork does not copy them: a region in the child
   would wait for them for ever. So they are ended before a fork; a child of a fork made by C code, where nobody
   could end them, runs regions on one thread. */
void install_fork_guard(void);
void before_fork(void);
void after_fork_in_parent(void);
/* Linux likes to wake a thread where its waker runs; that one then waits for it, spinning, in its way: regions of 20 us
   took 5 ms. So each thread of a region calls this first, with where the caller ran just before, and stays off that
   processor (docs: measurements, "threads that wake in each other's way"). */
void stay_off(int processor);
int current_processor(void);
/* How many threads a region of this thread may use if it wants `wanted`; call right before the region. */
int threads_allowed(int wanted);

#endif
