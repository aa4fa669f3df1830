/* Sums of integers and bool, modulo 2^64. */
#include "isa.h"

enum {
    RUN = 512,     /* elements widened at a time */
    STRIP = 1024,  /* neighbouring sums worked on at a time: 8 KiB */
};

static uint64_t total_of(ptrdiff_t n, const uint64_t *v) {
    uint64_t s = 0;
    for (ptrdiff_t i = 0; i < n; i++) s += v[i];
    return s;
}

static void add_run(const Addends *a, ptrdiff_t n, const char *data, ptrdiff_t stride, uint64_t *sum) {
    uint64_t run[RUN];
    for (ptrdiff_t i = 0; i < n; i += RUN) {
        const ptrdiff_t k = min_of(RUN, n - i);
        fetch(k, data + i * stride, stride, a->dtype, a->swapped, U64, run);
        *sum += total_of(k, run);
    }
}

/* Neighbouring elements that belong to neighbouring sums. */
static void add_strip(const Addends *a, ptrdiff_t n, const char *data, ptrdiff_t stride, char *sums, ptrdiff_t step) {
    uint64_t strip[STRIP];
    fetch(n, data, stride, a->dtype, a->swapped, U64, strip);
    if (step == sizeof(uint64_t))
        for (ptrdiff_t i = 0; i < n; i++) ((uint64_t *)sums)[i] += strip[i];
    else
        for (ptrdiff_t i = 0; i < n; i++) *(uint64_t *)(sums + i * step) += strip[i];
}

static void add_innermost(const Addends *a, const char *data, char *sums) {
    const int last = a->ndim - 1;
    const ptrdiff_t n = a->shape[last], stride = a->stride[last], step = a->result[last];
    if (!step) {
        add_run(a, n, data, stride, (uint64_t *)sums);
        return;
    }
    /* The next axis out runs inside each strip, so that the strip's sums stay in the cache. */
    const ptrdiff_t outer = last ? a->shape[last - 1] : 1, outer_stride = last ? a->stride[last - 1] : 0;
    const ptrdiff_t outer_step = last ? a->result[last - 1] : 0;
    for (ptrdiff_t i = 0; i < n; i += STRIP)
        for (ptrdiff_t k = 0; k < outer; k++)
            add_strip(a, min_of(STRIP, n - i), data + i * stride + k * outer_stride, stride,
                      sums + i * step + k * outer_step, step);
}

static void walk(const Addends *a, int axis, const char *data, char *sums) {
    const int inside = a->result[a->ndim - 1] ? 2 : 1;   /* axes that add_innermost runs over */
    if (axis >= a->ndim - inside) {
        add_innermost(a, data, sums);
        return;
    }
    for (ptrdiff_t i = 0; i < a->shape[axis]; i++)
        walk(a, axis + 1, data + i * a->stride[axis], sums + i * a->result[axis]);
}

void sum_integers(const Addends *a, char *results) { walk(a, 0, a->data, results); }
