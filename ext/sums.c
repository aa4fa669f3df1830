/* Exact sums: every element is added to an integer of thousands of bits, its state (docs: exact sums). */
#include "isa.h"

#include <string.h>

enum {
    RUN = 512,                    /* elements converted at a time */
    STRIP = 64,                   /* neighbouring states worked on at a time: 37 KiB */
    ADDENDS_PER_DIGIT = 1 << 30,  /* of less than 2^32 each, that a digit holds */
};

/* An element is an integer of 53 bits times a power of two: shifted to the digit where it begins, it touches three. */
static inline void add_one(double value, int64_t *d) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t field = (bits >> 52) & 0x7ff, fraction = bits & 0xfffffffffffff;
    if (field == 0x7ff) {
        d[fraction ? DIGITS : bits >> 63 ? DIGITS + 2 : DIGITS + 1] += 1;
        return;
    }
    const uint64_t significand = field ? fraction | 1ull << 52 : fraction;
    const int position = (int)(field ? field : 1) + (1088 - 1075), shift = position & 31;
    const int64_t sign = (int64_t)bits >> 63;   /* 0 or -1: (v ^ sign) - sign is v or -v */
    d += position >> 5;
    d[0] += ((int64_t)(uint32_t)(significand << shift) ^ sign) - sign;
    d[1] += ((int64_t)(uint32_t)(significand >> 1 >> (31 - shift)) ^ sign) - sign;
    d[2] += ((int64_t)(significand >> 1 >> (63 - shift)) ^ sign) - sign;
}

static void add_doubles(ptrdiff_t n, const double *v, int64_t *state) {
    for (ptrdiff_t i = 0; i < n; i++) add_one(v[i], state);
}

static uint64_t total_of(ptrdiff_t n, const uint64_t *v) {
    uint64_t s = 0;
    for (ptrdiff_t i = 0; i < n; i++) s += v[i];
    return s;
}

/* The loops over one array. `pending` counts what has been added to the fullest state since the last normalising. */
typedef struct {
    Addends a;
    int width;                /* int64s of a state */
    int64_t *first;           /* state of the first element */
    int64_t pending;
} Task;

/* The states of a part do not lie one after another: between them may lie those of another thread. */
static void normalise_along(const Addends *a, int axis, int64_t *state) {
    while (axis < a->ndim && !a->state[axis]) axis++;
    if (axis == a->ndim) {
        normalise_state(state);
        return;
    }
    for (ptrdiff_t i = 0; i < a->shape[axis]; i++) normalise_along(a, axis + 1, state + i * a->state[axis]);
}

static void normalise_all(Task *t) {
    normalise_along(&t->a, 0, t->first);
    t->pending = 0;
}

static void add_run(Task *t, ptrdiff_t n, const char *data, ptrdiff_t stride, int64_t *state) {
    union { double d[RUN]; uint64_t u[RUN]; } run;
    for (ptrdiff_t i = 0; i < n; i += RUN) {
        const ptrdiff_t k = min_of(RUN, n - i);
        fetch(k, data + i * stride, stride, t->a.dtype, t->a.swapped, t->width == 1 ? U64 : F64, &run);
        if (t->width == 1) *state = (int64_t)((uint64_t)*state + total_of(k, run.u));
        else add_doubles(k, run.d, state);
    }
}

/* Neighbouring elements that belong to neighbouring states. */
static void add_strip(Task *t, ptrdiff_t n, const char *data, ptrdiff_t stride, int64_t *state, ptrdiff_t step) {
    union { double d[STRIP]; uint64_t u[STRIP]; } strip;
    fetch(n, data, stride, t->a.dtype, t->a.swapped, t->width == 1 ? U64 : F64, &strip);
    for (ptrdiff_t i = 0; i < n; i++) {
        if (t->width == 1) state[i * step] = (int64_t)((uint64_t)state[i * step] + strip.u[i]);
        else add_one(strip.d[i], state + i * step);
    }
}

static void count_pending(Task *t, ptrdiff_t n) {
    if (t->width == 1) return;
    if (t->pending + n > ADDENDS_PER_DIGIT) normalise_all(t);
    t->pending += n;
}

static void add_innermost(Task *t, const char *data, int64_t *state) {
    const Addends *a = &t->a;
    const int last = a->ndim - 1;
    const ptrdiff_t n = a->shape[last], stride = a->stride[last], step = a->state[last];
    if (!step) {
        for (ptrdiff_t i = 0; i < n; i += ADDENDS_PER_DIGIT) {
            const ptrdiff_t k = min_of(ADDENDS_PER_DIGIT, n - i);
            count_pending(t, k);
            add_run(t, k, data + i * stride, stride, state);
        }
        return;
    }
    /* The next axis out runs inside each strip, so that the strip's states stay in the cache. */
    const ptrdiff_t outer = last ? a->shape[last - 1] : 1, outer_stride = last ? a->stride[last - 1] : 0;
    const ptrdiff_t outer_step = last ? a->state[last - 1] : 0;
    for (ptrdiff_t i = 0; i < n; i += STRIP)
        for (ptrdiff_t k = 0; k < outer; k++) {
            count_pending(t, 1);
            add_strip(t, min_of(STRIP, n - i), data + i * stride + k * outer_stride, stride,
                      state + i * step + k * outer_step, step);
        }
}

static void walk(Task *t, int axis, const char *data, int64_t *state) {
    const int inside = t->a.state[t->a.ndim - 1] ? 2 : 1;   /* axes that add_innermost runs over */
    if (axis >= t->a.ndim - inside) {
        add_innermost(t, data, state);
        return;
    }
    for (ptrdiff_t i = 0; i < t->a.shape[axis]; i++)
        walk(t, axis + 1, data + i * t->a.stride[axis], state + i * t->a.state[axis]);
}

/* Axes in order of stride, the smallest last, and those merged that step on where the next one ends. */
static void simplify(Addends *a, int64_t **states) {
    int ndim = 0;
    for (int k = 0; k < a->ndim; k++) {
        ptrdiff_t shape = a->shape[k], stride = a->stride[k], state = a->state[k];
        if (shape == 1) continue;
        if (stride < 0) {
            a->data += (shape - 1) * stride;
            *states += (shape - 1) * state;
            stride = -stride;
            state = -state;
        }
        int at = ndim++;
        for (; at > 0 && a->stride[at - 1] < stride; at--) {
            a->shape[at] = a->shape[at - 1];
            a->stride[at] = a->stride[at - 1];
            a->state[at] = a->state[at - 1];
        }
        a->shape[at] = shape;
        a->stride[at] = stride;
        a->state[at] = state;
    }
    int kept = 0;
    for (int k = 1; k < ndim; k++) {
        if (a->stride[kept] == a->stride[k] * a->shape[k] && a->state[kept] == a->state[k] * a->shape[k]) {
            a->shape[kept] *= a->shape[k];
        } else {
            kept++;
            a->shape[kept] = a->shape[k];
        }
        a->stride[kept] = a->stride[k];
        a->state[kept] = a->state[k];
    }
    a->ndim = ndim ? kept + 1 : 0;
    if (!a->ndim) {   /* a single element */
        a->ndim = 1;
        a->shape[0] = 1;
        a->stride[0] = a->state[0] = 0;
    }
}

/* Other libraries leave flush-to-zero behind, or another rounding mode: elements would change as they are widened. */
#if defined(__SSE__)
#include <xmmintrin.h>
typedef unsigned Environment;
static Environment enter_exactness(void) {
    const Environment saved = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return saved;
}
static void leave_exactness(Environment saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__)
typedef uint64_t Environment;
static Environment enter_exactness(void) {
    Environment saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((Environment)0));
    return saved;
}
static void leave_exactness(Environment saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
#else
typedef int Environment;
static Environment enter_exactness(void) { return 0; }
static void leave_exactness(Environment saved) { (void)saved; }
#endif

void block_sum(const Addends *a, int64_t *states) {
    const Environment saved = enter_exactness();
    Task t = {.a = *a, .width = a->dtype < F16 ? 1 : FLOAT_STATE, .first = states, .pending = 0};
    int empty = 0;
    for (int k = 0; k < a->ndim; k++) empty |= a->shape[k] == 0;
    if (!empty) {
        simplify(&t.a, &t.first);
        walk(&t, 0, t.a.data, t.first);
        if (t.width > 1) normalise_all(&t);
    }
    leave_exactness(saved);
}
