/* Sums of integers and bool, modulo 2^64. */
#include "vectors.h"

enum {
    SPAN = 1 << 17,   /* bytes from the first to the last row, or column, of a tile, so that it stays in the cache */
    STRIP = 1024,     /* neighbouring sums worked on at a time: 8 KiB */
    NARROW = 64,      /* fewer columns are worth it to be added by several rows side by side */
    WIDE = 256,       /* columns of these together, at most */
    AHEAD = 4096,     /* bytes: how far before its use memory is asked for */
    AHEAD_OF_ROWS = 16384,
    LARGE = 2 << 20,  /* bytes of an array that is hardly in the cache of one processor */
    LINE = 64,        /* bytes of a column from which on it is worth to go along it by vectors */
};
_Static_assert(SPAN / sizeof(int16_t) <= 1 << 16, "sums of 16 bits must fit into 32");

/* Columns, each of which belongs to one sum: `columns` of them, `column` bytes apart, and their sums `step`. All belong
   to the same sum if that is 0. */
typedef struct {
    ptrdiff_t rows, row, columns, column, step;
    int asked_for;   /* whether memory is asked for before its use */
} Tile;

/* ---- totals ---- */

/* Vectors, since gcc keeps arrays of lanes in memory here. */
typedef uint64_t UnalignedWords __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
/* Of wider loads, memory gives less. */
#define LOAD_BYTES (VECTOR_BYTES < 32 ? VECTOR_BYTES : 32)
typedef uint64_t Load __attribute__((vector_size(LOAD_BYTES)));
typedef uint64_t UnalignedLoad __attribute__((vector_size(LOAD_BYTES), aligned(1), may_alias));
typedef uint32_t UnalignedHalf __attribute__((aligned(1), may_alias));
typedef uint64_t UnalignedWord __attribute__((aligned(1), may_alias));

enum { CHAINS = 4 };   /* sums that do not wait for each other */

static uint64_t total_of_chains(const Words *v) { return total_of(v[0] + v[1] + v[2] + v[3]); }

static uint64_t total_64(ptrdiff_t n, const void *data) {
    enum { EACH = LOAD_BYTES / 8 };
    const UnalignedWord *v = data;
    Load sums[CHAINS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + CHAINS * EACH <= n; i += CHAINS * EACH)
        for (int k = 0; k < CHAINS; k++) sums[k] += *(const UnalignedLoad *)(v + i + k * EACH);
    const Load lanes = sums[0] + sums[1] + sums[2] + sums[3];
    uint64_t total = 0;
    for (int k = 0; k < EACH; k++) total += lanes[k];
    for (; i < n; i++) total += v[i];
    return total;
}

/* Two neighbours make a word. The sums of words and of their upper halves give the sum of the lower halves, modulo
   2^64: no element has to be widened. `bias` makes signed elements unsigned. */
static uint64_t total_of_halves(ptrdiff_t n, const UnalignedHalf *v, uint32_t bias) {
    const Words biases = ((uint64_t)bias << 32 | bias) + (Words){0};
    Words sums[CHAINS] = {{0}}, upper_sums[CHAINS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + 2 * CHAINS * LANES <= n; i += 2 * CHAINS * LANES)
        for (int k = 0; k < CHAINS; k++) {
            const Words w = *(const UnalignedWords *)(v + i + 2 * k * LANES) ^ biases;
            __builtin_prefetch((const char *)(v + i + 2 * k * LANES) + AHEAD);
            sums[k] += w;
            upper_sums[k] += w >> 32;
        }
    const uint64_t upper = total_of_chains(upper_sums);
    uint64_t total = total_of_chains(sums) - (upper << 32) + upper;
    for (; i < n; i++) total += v[i] ^ bias;
    return total - (uint64_t)n * bias;
}

static uint64_t total_i32(ptrdiff_t n, const void *v) { return total_of_halves(n, v, UINT32_C(1) << 31); }
static uint64_t total_u32(ptrdiff_t n, const void *v) { return total_of_halves(n, v, 0); }

/* ---- kernels, by type of elements ---- */

#define N bool
#define T uint8_t
#define PART uint16_t
#define LANE uint32_t
#define VALUE(x) ((x) != 0)
#include "integers_template.h"

#define N i8
#define T int8_t
#define PART int16_t
#define LANE int32_t
#define VALUE(x) (x)
#include "integers_template.h"

#define N u8
#define T uint8_t
#define PART uint16_t
#define LANE uint32_t
#define VALUE(x) (x)
#include "integers_template.h"

#define N i16
#define T int16_t
#define PART int32_t
#define LANE int32_t
#define VALUE(x) (x)
#include "integers_template.h"

#define N u16
#define T uint16_t
#define PART uint32_t
#define LANE uint32_t
#define VALUE(x) (x)
#include "integers_template.h"

#define N i32
#define T int32_t
#define PART int64_t
#define TOTAL total_i32
#define VALUE(x) (x)
#include "integers_template.h"

#define N u32
#define T uint32_t
#define PART uint64_t
#define TOTAL total_u32
#define VALUE(x) (x)
#include "integers_template.h"

#define N 64
#define T uint64_t
#define PART uint64_t
#define TOTAL total_64
#define VALUE(x) (x)
#include "integers_template.h"

#define N swapped_i16
#define T int16_t
#define PART int32_t
#define LANE int32_t
#define VALUE(x) ((int16_t)__builtin_bswap16((uint16_t)(x)))
#include "integers_template.h"

#define N swapped_u16
#define T uint16_t
#define PART uint32_t
#define LANE uint32_t
#define VALUE(x) __builtin_bswap16(x)
#include "integers_template.h"

#define N swapped_i32
#define SWAPS_WORDS
#define T int32_t
#define PART int64_t
#define LANE int64_t
#define VALUE(x) ((int32_t)__builtin_bswap32((uint32_t)(x)))
#include "integers_template.h"

#define N swapped_u32
#define SWAPS_WORDS
#define T uint32_t
#define PART uint64_t
#define LANE uint64_t
#define VALUE(x) __builtin_bswap32(x)
#include "integers_template.h"

#define N swapped_64
#define SWAPS_WORDS
#define T uint64_t
#define PART uint64_t
#define LANE uint64_t
#define VALUE(x) __builtin_bswap64(x)
#include "integers_template.h"

typedef struct {
    void (*add_columns)(const Tile *t, const char *data, char *sums);
    void (*add_rows)(ptrdiff_t rows, ptrdiff_t columns, const char *data, ptrdiff_t row, int asked_for, uint64_t *sums);
} Adder;

#define ADDER(n) {JOIN(add_columns, n), JOIN(add_rows, n)}
static const Adder adders[2][U64 + 1] = {
    {[BOOL] = ADDER(bool), [I8] = ADDER(i8), [U8] = ADDER(u8), [I16] = ADDER(i16), [U16] = ADDER(u16),
     [I32] = ADDER(i32), [U32] = ADDER(u32), [I64] = ADDER(64), [U64] = ADDER(64)},
    {[BOOL] = ADDER(bool), [I8] = ADDER(i8), [U8] = ADDER(u8), [I16] = ADDER(swapped_i16), [U16] = ADDER(swapped_u16),
     [I32] = ADDER(swapped_i32), [U32] = ADDER(swapped_u32), [I64] = ADDER(swapped_64), [U64] = ADDER(swapped_64)},
};

/* ---- tiles ---- */

static void add_rows(const Adder *adder, const Tile *t, const char *data, char *sums) {
    if (t->step == sizeof(uint64_t)) {
        adder->add_rows(t->rows, t->columns, data, t->row, t->asked_for, (uint64_t *)sums);
        return;
    }
    uint64_t strip[STRIP];
    memset(strip, 0, (size_t)t->columns * sizeof *strip);
    adder->add_rows(t->rows, t->columns, data, t->row, t->asked_for, strip);
    for (ptrdiff_t j = 0; j < t->columns; j++) *(uint64_t *)(sums + j * t->step) += strip[j];
}

/* Rows that lie one after the other: several make a wide one, whose sums are folded at the end. */
static void add_narrow_rows(const Adder *adder, const Tile *t, const char *data, char *sums) {
    uint64_t wide[WIDE] = {0};
    const ptrdiff_t each = WIDE / t->columns, row = each * t->row, whole = t->rows / each;
    adder->add_rows(whole, each * t->columns, data, row, t->asked_for, wide);
    adder->add_rows(1, t->rows % each * t->columns, data + whole * row, row, 0, wide);
    const ptrdiff_t word = sizeof *wide;
    const Tile folded = {each, t->columns * word, t->columns, word, t->step, 0};
    adders[0][U64].add_columns(&folded, (const char *)wide, sums);
}

static void add_tile(const Adder *adder, ptrdiff_t size, const Tile *t, const char *data, char *sums) {
    const int neighbours = t->column == size, is_narrow = t->columns < NARROW;
    if (neighbours && !is_narrow)
        add_rows(adder, t, data, sums);
    else if (neighbours && t->row == t->columns * size && t->rows * t->columns > 2 * WIDE)
        add_narrow_rows(adder, t, data, sums);
    else
        adder->add_columns(t, data, sums);
}

/* ---- the walk ---- */

typedef struct {
    const Addends *a;
    const Adder *adder;
    ptrdiff_t size;              /* of an element */
    int rows, columns;           /* axes of tiles */
    int asked_for;
    ptrdiff_t most[MAX_DIMS];    /* of elements along an axis that are taken at a time */
    ptrdiff_t count[MAX_DIMS];   /* of those that are */
} Walk;

static void walk(Walk *w, int axis, const char *data, char *sums) {
    const Addends *a = w->a;
    if (axis == a->ndim) {
        const Tile t = {w->count[w->rows], a->stride[w->rows], w->count[w->columns], a->stride[w->columns],
                        a->result[w->columns], w->asked_for};
        add_tile(w->adder, w->size, &t, data, sums);
        return;
    }
    const ptrdiff_t n = a->shape[axis], most = w->most[axis];
    for (ptrdiff_t i = 0; i < n; i += most) {
        w->count[axis] = min_of(most, n - i);
        walk(w, axis + 1, data + i * a->stride[axis], sums + i * a->result[axis]);
    }
}

static int single_axis(Addends *a) {
    const int axis = a->ndim++;
    a->shape[axis] = 1;
    a->stride[axis] = a->result[axis] = 0;
    return axis;
}

static void choose_tiles(Walk *w, Addends *a) {
    const int last = a->ndim - 1;
    w->rows = best_axis(a, 0);
    w->columns = best_axis(a, 1);
    if (w->rows >= 0 && w->rows == last - 1 && a->result[last] && a->shape[w->rows] >= LONG) w->columns = last;
    if (w->columns < 0) w->columns = last == 0 ? single_axis(a) : w->rows == last ? last - 1 : last;
    if (w->rows < 0) w->rows = single_axis(a);   /* each element is a sum of its own */
    ptrdiff_t bytes = w->size;
    for (int k = 0; k < a->ndim; k++) {
        w->most[k] = 1;
        bytes *= a->shape[k];
    }
    w->asked_for = bytes >= LARGE;
    const int sides[] = {w->rows, w->columns};
    for (int k = 0; k < 2; k++) {
        const ptrdiff_t most = SPAN / (a->stride[sides[k]] | 1) / 8 * 8;
        w->most[sides[k]] = most ? most : 8;
    }
    if (a->stride[w->columns] == w->size) w->most[w->columns] = STRIP;
}

void sum_integers(Addends *a, char *results) {
    Walk w;   /* to clear all of it would take as long as a short sum */
    w.a = a;
    w.adder = &adders[a->swapped][a->dtype];
    w.size = (ptrdiff_t)size_of(a->dtype);
    choose_tiles(&w, a);
    walk(&w, 0, a->data, results);
}
