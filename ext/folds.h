/* Exact sums at the speed of floating-point additions: windowed integer folds (docs: exact sums). */
#ifndef PARLINALG_FOLDS_H
#define PARLINALG_FOLDS_H

#include "tally.h"

enum {
    LANES = VECTOR_BYTES / 8,
    MOST_FOLDS = 6,
    MOST_ROWS = 1 << 15,   /* whose sums cannot overflow: each adds at most 2^47 */
    SPACING = 47,          /* binades from one fold to the next */
};

typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Words __attribute__((vector_size(VECTOR_BYTES)));

/* What is summed: elements of a type, alone, or times a weight: one for each, or one for a row of them. */
typedef struct {
    int type;       /* F32 or F64 */
    int weighted;
    int one_weight; /* of a row */
} Form;

/* Rows of LANES elements, and perhaps one more that lies elsewhere. */
typedef struct {
    const char *data, *weights;
    ptrdiff_t stride, weight_stride;   /* bytes from one row to the next */
    ptrdiff_t count;
    ptrdiff_t ahead;                   /* bytes: how far before its use memory is asked for */
    const char *last, *last_weights;   /* NULL: no such row */
} Rows;

/* The sums of lanes. Lane j belongs to tally j % tallies. What `sums` hold of fold k weighs 2^(E - 46 - 47 k). */
typedef struct {
    Doubles M[MOST_FOLDS];
    Words sums[MOST_FOLDS];
    int E[LANES];         /* of each tally: window exponents */
    int folds;            /* 0: no window has been chosen yet */
    ptrdiff_t rows;       /* in the sums; MOST_ROWS at most */
    int patience;         /* blocks before fewer folds are tried again, or, of a hopeless group, any */
    int hopeless;         /* values spread too far for folds */
    int tallies;
    Tally *tally;
} Group;

#define begin_group JOIN(begin_group, PARLINALG_ISA)
#define add_rows JOIN(add_rows, PARLINALG_ISA)
#define flush_group JOIN(flush_group, PARLINALG_ISA)
#define clear_group JOIN(clear_group, PARLINALG_ISA)
#define round_tally JOIN(round_tally, PARLINALG_ISA)
#define check_folds JOIN(check_folds, PARLINALG_ISA)

void begin_group(Group *g, int tallies, Tally *tally);
/* Adds MOST_ROWS rows at most. */
void add_rows(const Form *form, Group *g, const Rows *rows);
/* Empties the sums into the tallies. */
void flush_group(Group *g);
/* Forgets sums and tallies, but not the windows. */
void clear_group(Group *g);
/* Rounds what belongs to tally t; see round_state. */
int round_tally(Group *g, int t, int dtype, void *out);
/* Kernels.check */
int check_folds(void);

#endif
