/* What is summed: rows of vectors, and how their elements lie. */
#ifndef PARLINALG_ROWS_H
#define PARLINALG_ROWS_H

#include "vectors.h"

/* How elements lie that are read where they are: side by side, every other one or every other pair, or single ones or
   pairs any number of bytes apart. CONVERTED ones are not. Of single ones and of pairs the numbers are one apart, and those
   of the first two kinds are how many elements lie between: load() and layout_of() count on that. */
enum { CONVERTED = -1, ADJACENT, EVERY_OTHER, EVERY_OTHER_PAIR, APART, PAIRS_APART, LAYOUTS };

/* What is summed: elements of a type, alone, or times a weight: one for each, or one for a row of them. */
typedef struct {
    int type;       /* F16, F32 or F64; F16 without weights, and only if HAS_HALVES */
    int weighted;
    int one_weight; /* of a row */
    int layout;     /* ADJACENT of those with weights */
} Form;

/* Rows of LANES elements, and perhaps one more that lies elsewhere, whose elements are adjacent. */
typedef struct {
    const char *data, *weights;
    ptrdiff_t stride, weight_stride;   /* bytes from one row to the next */
    ptrdiff_t apart;                   /* bytes from one element, or pair, to the next */
    ptrdiff_t count;
    ptrdiff_t ahead;                   /* bytes: how far before its use memory is asked for */
    const char *last, *last_weights;   /* NULL: no such row */
} Rows;

static inline int are_pairs(int layout) { return layout == EVERY_OTHER_PAIR || layout == PAIRS_APART; }
/* Bytes from the first to element j, which is the first of its pair where there are pairs. */
static inline ptrdiff_t bytes_to(int layout, ptrdiff_t apart, ptrdiff_t j) {
    return (are_pairs(layout) ? j / 2 : j) * apart;
}

static inline ptrdiff_t rows_in(const Rows *rows) { return rows->count + (rows->last != NULL); }
static inline const char *row_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->data + i * rows->stride : rows->last;
}
static inline const char *weights_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->weights + i * rows->weight_stride : rows->last_weights;
}

static inline void pass(Rows *rows, ptrdiff_t count) {
    rows->data += count * rows->stride;
    if (rows->weights) rows->weights += count * rows->weight_stride;
}

static inline int is_double_product(const Form *f) { return f->weighted && f->type == F64; }

/* ---- loads ---- */

#if VECTOR_BYTES == 64
#define EACH_LANE(V, AT) (V){AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7)}
#elif VECTOR_BYTES == 32
#define EACH_LANE(V, AT) (V){AT(0), AT(1), AT(2), AT(3)}
#else
#define EACH_LANE(V, AT) (V){AT(0), AT(1)}
#endif

static inline double double_at(const char *p) { double v; memcpy(&v, p, sizeof v); return v; }
static inline float float_at(const char *p) { float v; memcpy(&v, p, sizeof v); return v; }

/* Elements, or pairs, so many bytes apart. */
static inline Doubles load_apart(int type, const int pairs, ptrdiff_t apart, const char *p) {
#define PLACE(lane) p + (pairs ? (lane) / 2 * apart + (lane) % 2 * bytes_of(type) : (lane) * apart)
#define DOUBLE(lane) double_at(PLACE(lane))
#define FLOAT(lane) float_at(PLACE(lane))
    if (type == F64) return EACH_LANE(Doubles, DOUBLE);
#if HAS_HALVES
    if (type == F16) {
        uint16_t halves[LANES];
        for (int j = 0; j < LANES; j++) memcpy(&halves[j], p + j * apart, sizeof *halves);
        return load_halves(halves);
    }
#endif
    return doubles_of(EACH_LANE(Floats, FLOAT));
#undef FLOAT
#undef DOUBLE
#undef PLACE
}

/* Nothing beyond the last element is read. */
static inline Doubles load(int type, int layout, ptrdiff_t apart, const char *p) {
    if (layout == ADJACENT) return load_neighbours(type, p);
    if (layout >= APART) return load_apart(type, layout == PAIRS_APART, apart, p);
    const char *end = p + bytes_of(type) * (LANES - layout);
    if (type == F32 && layout == EVERY_OTHER)
        return doubles_of(PICK_FLOATS(*(const Floats *)p, *(const Floats *)end));
    const Doubles first = load_neighbours(type, p), rest = load_neighbours(type, end);
    return layout == EVERY_OTHER ? PICK_OVERLAPPING(8, first, rest) : PICK_PAIRS(first, rest);
}

static inline Doubles load_row(const Form *f, const Rows *rows, ptrdiff_t i) {
    return load(f->type, i < rows->count ? f->layout : ADJACENT, rows->apart, row_of(rows, i));
}

#endif
