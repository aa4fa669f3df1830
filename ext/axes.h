/* The axes of addends in an order of their own: of smaller stride further in, and as few as possible. */
#ifndef PARLINALG_AXES_H
#define PARLINALG_AXES_H

#include "kernels.h"

/* Those of smaller stride further in, and none negative. */
static void order_axes(Addends *a, char **results) {
    int ndim = 0;
    for (int k = 0; k < a->ndim; k++) {
        ptrdiff_t shape = a->shape[k], stride = a->stride[k], weight = a->weight[k], result = a->result[k];
        if (shape == 1) continue;
        if (stride < 0) {
            a->data += (shape - 1) * stride;
            if (a->weights) a->weights += (shape - 1) * weight;
            *results += (shape - 1) * result;
            stride = -stride;
            weight = -weight;
            result = -result;
        }
        int at = ndim++;
        for (; at > 0 && a->stride[at - 1] < stride; at--) {
            a->shape[at] = a->shape[at - 1];
            a->stride[at] = a->stride[at - 1];
            a->weight[at] = a->weight[at - 1];
            a->result[at] = a->result[at - 1];
        }
        a->shape[at] = shape;
        a->stride[at] = stride;
        a->weight[at] = weight;
        a->result[at] = result;
    }
    a->ndim = ndim;
}

/* Axes that step on where the next one ends are one; but not that of parts which begin with different numbers. */
static void merge_axes(Addends *a) {
    const int apart = a->begins && a->initial[0] != a->initial[1] ? a->ndim - 1 : -1;
    int kept = 0;
    for (int k = 1; k < a->ndim; k++) {
        const ptrdiff_t n = a->shape[k];
        if (k != apart && a->stride[kept] == a->stride[k] * n && a->weight[kept] == a->weight[k] * n &&
            a->result[kept] == a->result[k] * n) {
            a->shape[kept] *= n;
        } else {
            kept++;
            a->shape[kept] = n;
        }
        a->stride[kept] = a->stride[k];
        a->weight[kept] = a->weight[k];
        a->result[kept] = a->result[k];
    }
    a->ndim = a->ndim ? kept + 1 : 0;
}

static void simplify(Addends *a, char **results) {
    order_axes(a, results);
    merge_axes(a);
    if (a->ndim) return;
    a->ndim = 1;   /* a single element */
    a->shape[0] = 1;
    a->stride[0] = (ptrdiff_t)size_of(a->dtype);
    a->weight[0] = sizeof(double);
    a->result[0] = 0;
}

#endif
