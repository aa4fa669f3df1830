/* A run of elements as rows, the last of which is filled with zeros. */
#ifndef PARLINALG_RUNS_H
#define PARLINALG_RUNS_H

#include "rows.h"

enum { AHEAD = 8192 };   /* bytes of a run: how far before its use memory is asked for */

/* Of n elements v, which lie as the form says, and of their weights, if there are any; `ends` has room for those beyond
   whole rows. */
typedef struct { double elements[LANES], weights[LANES]; } Ends;

static inline void copy_items(ptrdiff_t count, ptrdiff_t size, const char *v, ptrdiff_t apart, char *copies) {
#define COPY(SIZE) case SIZE: for (ptrdiff_t i = 0; i < count; i++) memcpy(copies + i * SIZE, v + i * apart, SIZE); break;
    switch (size) { COPY(2) COPY(4) COPY(8) COPY(16) }
#undef COPY
}

static const uint64_t zeros_and_ones[2 * LANES] = {[LANES ... 2 * LANES - 1] = UINT64_MAX};

/* The last `count` of at least LANES neighbours, behind zeros, as one vector: of what is written in pieces, a vector can
   be loaded only when all of them have reached the cache. */
static inline void copy_last(ptrdiff_t count, ptrdiff_t size, const char *end, double *copies) {
    const char *const mask = (const char *)&zeros_and_ones[LANES] - (LANES - count) * size;
#define COPY(PART) {                                                                \
        typedef uint8_t Bytes __attribute__((vector_size(VECTOR_BYTES / (PART)))); \
        Bytes v, kept;                                                              \
        memcpy(&v, end - sizeof v, sizeof v);                                       \
        memcpy(&kept, mask, sizeof kept);                                           \
        v &= kept;                                                                  \
        memcpy(copies, &v, sizeof v);                                               \
    }
    if (size == 8) COPY(1)
    else if (size == 4) COPY(2)
    else COPY(4)
#undef COPY
}

static inline void copy_rest(ptrdiff_t count, ptrdiff_t rest, ptrdiff_t size, const char *v, double *copies) {
    if (count) {
        copy_last(rest, size, v + (count * LANES + rest) * size, copies);
        return;
    }
    memset(copies, 0, sizeof(Doubles));
    memcpy(copies, v, (size_t)(rest * size));
}

static inline void copy_apart(int layout, ptrdiff_t rest, ptrdiff_t size, const char *v, ptrdiff_t apart, double *copies) {
    memset(copies, 0, sizeof(Doubles));
    if (are_pairs(layout)) copy_items(rest / 2, 2 * size, v, apart, (char *)copies);
    else copy_items(rest, size, v, apart, (char *)copies);
}

/* In place: a copy would have to wait, too. */
static inline void describe_rows(Rows *rows, const Form *f, ptrdiff_t n, const char *v, ptrdiff_t apart, const char *w,
                                 Ends *ends) {
    const ptrdiff_t row = bytes_to(f->layout, apart, LANES), count = n / LANES, rest = n % LANES;
    const ptrdiff_t size = bytes_of(f->type);
    rows->data = v;
    rows->weights = w;
    rows->stride = row;
    rows->weight_stride = sizeof(Doubles);
    rows->apart = apart;
    rows->count = count;
    rows->ahead = AHEAD;
    rows->last = rows->last_weights = NULL;
    if (!rest) return;
    if (f->layout == ADJACENT) copy_rest(count, rest, size, v, ends->elements);
    else copy_apart(f->layout, rest, size, v + count * row, apart, ends->elements);
    if (w) copy_rest(count, rest, sizeof *ends->weights, w, ends->weights);
    rows->last = (const char *)ends->elements;
    rows->last_weights = (const char *)ends->weights;
}

#endif
