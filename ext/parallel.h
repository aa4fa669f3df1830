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

/* As few leading axes as possible: those that step on where the next one ends are one, and matrices that lie one below
   the other and are multiplied by the same vector are one matrix. */
void product_simplify(Product *p);

enum { SPLIT_BATCH, SPLIT_ROWS, SPLIT_COLUMNS };

enum { MOST_THREADS = 1024 };

/* Work is cut into more parts than there are threads. Each takes those of its own share first, which lie together and
   may still be in its cache, and then what others have left: one whose processor is busy with other work does less. */
typedef struct { _Alignas(64) ptrdiff_t next; } Share;

typedef struct {
    const int64_t *edges;       /* part i is edges[i] .. edges[i + 1] of the axis that is split */
    ptrdiff_t first, parts;     /* those of this region */
    int threads;
    Share *shares;              /* one for each thread */
} Work;

/* Begins a region; `shares` has room for `threads` of them. */
Work work_of(const int64_t *edges, ptrdiff_t first, ptrdiff_t parts, int threads, Share *shares);

/* Whether it is of one matrix and vectors that are multiplied at once; see `Kernels.panels`. */
int product_suits_panels(const Kernels *k, const Product *p);

/* All of a product, on this thread. */
void product_at_once(const Kernels *k, const Product *p);

/* What one thread does of a product. Of a split by columns, part i adds to the accumulators sums + i * bytes, which are
   of the whole result and zero at first; otherwise y is written. */
void product_work(const Kernels *k, const Product *p, int split, Work *work, int thread, char *sums, ptrdiff_t bytes);

/* y = the sum of `parts` partial results, in their order; they lie one after another and are overwritten. */
void product_combine(const Kernels *k, const Product *p, ptrdiff_t parts, void *sums);

/* What one thread does of a sum: `results` are all results, as of Kernels.sum; along an axis that is kept each part has
   its own of them. Returns what Kernels.sum does. */
int sum_work(const Kernels *k, const Addends *a, int axis, Work *work, int thread, int dtype, char *results, void *room);

/* Normalises n states of this length; those of integers, of length 1, are so already. */
void normalise_states(ptrdiff_t n, int length, int64_t *states);
/* states += part, n of them, which are normalised then. */
void merge_states(ptrdiff_t n, int length, const int64_t *part, int64_t *states);

/* "4.5" of the OpenMP that this was built with; "" without. */
const char *openmp_version(void);

/* libgomp keeps the threads of a parallel region for the next one, but fork does not copy them: a region in the child
   would wait for them for ever. So they are ended before a fork; a child of a fork made by C code, where nobody
   could end them, runs regions on one thread. */
void install_fork_guard(void);
void before_fork(void);
void after_fork_in_parent(void);
/* How many threads a region of this thread may use if it wants `wanted`; call right before the region. */
int threads_allowed(int wanted);

/* Of a call on threads with so many elements: whether one of them came so late that other programs must be keeping the
   processors busy. Then threads_are_late() for a while, which doubles each time. */
void note_call(double seconds, ptrdiff_t elements);
int threads_are_late(void);

#endif
