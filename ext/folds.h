/* Exact sums at the speed of floating-point additions: windowed integer folds (docs: exact sums). */
#ifndef PARLINALG_FOLDS_H
#define PARLINALG_FOLDS_H

#include "environment.h"
#include "tally.h"
#include "vectors.h"

enum {
    MOST_FOLDS = 6,
    MOST_CHAINS = 1 << 11, /* whose sums cannot overflow: each adds at most 2^51 */
    SPACING = 47,          /* binades from one fold to the next */
    CHAINS = 2,            /* of additions that wait for each other: one alone would wait for its own results */
    CHAIN_ROWS = 16,       /* that are added to M, which has room for 16 numbers below 2^(E + 1) */
    PENDING = 8,           /* sums of blocks that wait to be folded */
    BLOCK = 256,           /* rows of a run that are added, and if need be added again, at a time */
};

/* What is summed: elements of a type, alone, or times a weight: one for each, or one for a row of them. */
typedef struct {
    int type;       /* F16, F32 or F64; F16 without weights, and only if HAS_HALVES */
    int weighted;
    int one_weight; /* of a row */
    int skip;       /* 1: elements, without weights, lie two apart; 2: so do pairs of them */
} Form;

/* Rows of LANES elements, and perhaps one more that lies elsewhere. */
typedef struct {
    const char *data, *weights;
    ptrdiff_t stride, weight_stride;   /* bytes from one row to the next */
    ptrdiff_t count;
    ptrdiff_t ahead;                   /* bytes: how far before its use memory is asked for */
    const char *last, *last_weights;   /* NULL: no such row */
} Rows;

/* The sums of lanes. Lane j belongs to tally j % tallies. What `sums` hold of fold k weighs 2^(E - 46 - 47 k). Numbers
   of a few blocks are pending: as sums of plain additions, of upper and of lower halves. */
typedef struct {
    Doubles pending[PENDING][2];
    int pendings;
    int plain_patience;   /* blocks before plain additions are tried again */
    Doubles M[MOST_FOLDS];
    Words sums[MOST_FOLDS];   /* nothing if there are no chains in them */
    int E[LANES];         /* of each tally: window exponents */
    int folds;            /* 0: no window has been chosen yet */
    ptrdiff_t chains;     /* in the sums; MOST_CHAINS at most */
    int patience;         /* blocks before fewer folds are tried again, or, of a hopeless group, any */
    int hopeless;         /* values spread too far for folds */
    int spilled;          /* whether the tallies are in use, which are empty at first */
    int tallies, bias;
    Tally *tally;
    Digits *digits;
} Group;

#define fold_rows JOIN(fold_rows, PARLINALG_ISA)
#define begin_group JOIN(begin_group, PARLINALG_ISA)
#define add_rows JOIN(add_rows, PARLINALG_ISA)
#define flush_group JOIN(flush_group, PARLINALG_ISA)
#define round_tally JOIN(round_tally, PARLINALG_ISA)
#define round_lanes JOIN(round_lanes, PARLINALG_ISA)
#define follow_windows JOIN(follow_windows, PARLINALG_ISA)
#define trusted JOIN(trusted, PARLINALG_ISA)
#define can_be_added JOIN(can_be_added, PARLINALG_ISA)
#define sum_columns JOIN(sum_columns, PARLINALG_ISA)
#define sum_rows JOIN(sum_rows, PARLINALG_ISA)
#define sum_with_errors JOIN(sum_with_errors, PARLINALG_ISA)
#define add_tallies JOIN(add_tallies, PARLINALG_ISA)
#define settle JOIN(settle, PARLINALG_ISA)
#define round_parts JOIN(round_parts, PARLINALG_ISA)
#define noticed JOIN(noticed, PARLINALG_ISA)
#define notices JOIN(notices, PARLINALG_ISA)
#define check_folds JOIN(check_folds, PARLINALG_ISA)

/* Whether floating-point arithmetic has passed check_folds(). */
extern int trusted;
/* Whether the processor's flags have passed notices(). */
extern int noticed;
/* Whether all floating-point operations since clear_flags() are known to have been exact. */
static inline int was_exact(void) { return noticed && !has_rounded(); }

static inline ptrdiff_t rows_in(const Rows *rows) { return rows->count + (rows->last != NULL); }
static inline const char *row_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->data + i * rows->stride : rows->last;
}
static inline const char *weights_of(const Rows *rows, ptrdiff_t i) {
    return i < rows->count ? rows->weights + i * rows->weight_stride : rows->last_weights;
}

static inline int is_double_product(const Form *f) { return f->weighted && f->type == F64; }

static inline int is_finite(Doubles v) { return !any((Words)(v - v != 0.0)); }

/* Rounded to float32 in such a way that float16 come out as if they had been rounded at once: to odd. */
static inline Floats rounded_to_odd(Doubles v) {
    const Words beyond = 0x1fffffff - (Words){0}, bits = (Words)v;
    return __builtin_convertvector((Doubles)((bits & ~beyond) | ((Words)((bits & beyond) != 0) & (beyond + 1))), Floats);
}

/* Sums as numbers of this dtype, side by side; 0 where one of them overflows, or it is none of these dtypes. */
static inline int write_lanes(Doubles sums, int dtype, void *out) {
    if (dtype == F64) {
        memcpy(out, &sums, sizeof sums);
        return is_finite(sums);
    }
    if (dtype == F32) {
        const Floats narrower = __builtin_convertvector(sums, Floats);
        memcpy(out, &narrower, sizeof narrower);
        return is_finite(doubles_of(narrower));
    }
#if HAS_HALVES
    if (dtype == F16) {
        store_halves(rounded_to_odd(sums), out);
        return is_finite(load_halves(out));
    }
#endif
    return 0;
}

/* Adds the rows, not of float16 and without gaps, to the sums of a group that has windows, and returns 1, if they fit into these; otherwise 0. */
int fold_rows(const Form *form, const Rows *rows, Group *g);

/* With room for the tallies, and digits of this bias. */
void begin_group(Group *g, int tallies, Tally *tally, Digits *digits, int bias);
/* Begins with the windows of another group, which adds the same kind of numbers. */
void follow_windows(const Form *form, Group *g, const Group *other);
/* Forgets sums and tallies, but not the windows. */
static inline void clear_group(Group *g) {
    g->chains = 0;
    g->pendings = g->spilled = 0;
}
/* Adds rows, BLOCK at most: plainly, by folds or one element after the other. */
void add_rows(const Form *form, Group *g, const Rows *rows);
/* Folds what is pending. */
void settle(Group *g);
/* Empties the sums into the tallies. */
void flush_group(Group *g);
/* Whether nothing but what is pending is in the group. */
static inline int is_pending(const Group *g) { return g->pendings && !g->chains && !g->spilled; }
/* Rounds what belongs to tally t; see round_state. */
int round_tally(Group *g, int t, int dtype, void *out);
/* The same of all lanes, each of a tally of its own, side by side; or 0, where they must go one by one. */
int round_lanes(Group *g, int dtype, void *out);
/* Whether sum_rows knows such rows, and the processor tells whether it was exact. */
int can_be_added(const Form *f);
/* The sums of the lanes of rows, of their upper and of their lower halves: exact if they are finite and no flag says
   otherwise. */
void sum_rows(const Form *f, const Rows *rows, Doubles *sums);
/* The same of neighbouring columns, of which LANES belong to a group, to what is pending of it; whether all are finite.
   The last group has the last LANES columns. */
int sum_columns(const Form *f, const Rows *rows, ptrdiff_t columns, Group *g);
/* The same of what is pending. */
static inline void total_of_pending(const Group *g, Doubles *total) {
    Doubles upper = g->pending[0][0], lower = g->pending[0][1];
    FIX(upper, lower);
    for (int i = 1; i < g->pendings; i++) {
        upper += g->pending[i][0];
        lower += g->pending[i][1];
    }
    FIX(upper, lower);
    total[0] = upper;
    total[1] = lower;
}
/* The same of the lanes of one or two tallies: total[t] are the two sums of tally t. */
void add_tallies(const Doubles *sums, int tallies, double (*total)[2]);
/* Sums of few rows, which have no weights, and of the errors of their additions (Ogita, Rump, Oishi 2005, Accurate sum
   and dot product, section 4); 0 where those have errors. */
int sum_with_errors(const Form *f, const Rows *rows, Doubles *sums);
/* Rounds the sum of two parts once; 0 where it must be done in another way. */
int round_parts(double upper, double lower, int dtype, void *out);
/* The same of all lanes, as write_lanes does. */
static inline int round_lanes_of_parts(const Doubles *sums, int dtype, void *out) {
    if (dtype != F64 && any((Words)(sums[1] != 0.0))) return 0;
    return write_lanes(sums[0] + sums[1], dtype, out);
}
int notices(void);
/* Kernels.check */
int check_folds(void);

#endif
