/* Groups of exact sums: plain additions, and windowed integer folds for what these do not hold (docs: exact sums). */
#ifndef PARLINALG_FOLDS_H
#define PARLINALG_FOLDS_H

#include "additions.h"
#include "tally.h"

enum {
    MOST_FOLDS = 6,
    MOST_CHAINS = 1 << 11, /* whose sums cannot overflow: each adds at most 2^51 */
    SPACING = 47,          /* binades from one fold to the next */
    CHAINS = 2,            /* of additions that wait for each other: one alone would wait for its own results */
    CHAIN_ROWS = 16,       /* that are added to M, which has room for 16 numbers below 2^(E + 1) */
    PENDING = 8,           /* sums of blocks that wait to be folded */
    PATIENCE = 16,         /* blocks before fewer folds, or plain additions, are tried again */
    BLOCK = 256,           /* rows of a run that are added, and if need be added again, at a time */
};

/* The sums of lanes. Lane j belongs to tally j % tallies. What `sums` hold of fold k weighs 2^(E - 46 - 47 k). The sums of
   a few blocks, by plain additions, are pending. */
typedef struct {
    Halves pending[PENDING];
    int pendings;
    int plain_patience;   /* blocks before plain additions are tried again */
    int plain_fits;       /* whether they were exact when they were tried last */
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
#define settle JOIN(settle, PARLINALG_ISA)
#define check_folds JOIN(check_folds, PARLINALG_ISA)

/* Whether floating-point arithmetic has passed check_folds(). */
extern int trusted;
/* Adds the rows, not of float16 and without gaps, to the sums of a group that has windows, and returns 1, if they fit
   into these; otherwise 0. */
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
/* Kernels.check */
int check_folds(void);

#endif
