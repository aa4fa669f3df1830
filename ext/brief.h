/* Sums of few rows: by additions whose errors are added up, too (Ogita, Rump, Oishi 2005, Accurate sum and dot product,
   section 4). Where these additions have no errors, both sums hold all, and one more addition rounds it. */
#ifndef PARLINALG_BRIEF_H
#define PARLINALG_BRIEF_H

#include "folds.h"

static inline Doubles two_sum(Doubles a, Doubles b, Doubles *error) {
    const Doubles sum = a + b, of_b = sum - a;
    *error = (a - (sum - of_b)) + (b - of_b);
    return sum;
}

/* The sums of the lanes of these rows, as write_lanes does; 0 where they need more. */
static inline int round_doubles(const Rows *rows, int dtype, double *rounded) {
    Doubles sum = {0}, errors = {0}, error, lost;
    Words wrong = {0};
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        sum = two_sum(sum, load(F64, 0, rows->data + i * rows->stride), &error);
        errors = two_sum(errors, error, &lost);
        wrong |= (Words)(lost != 0.0);
    }
    if (dtype == F32) wrong |= (Words)(errors != 0.0);   /* lest it be rounded twice */
    return !any(wrong) && write_lanes(sum + errors, dtype, rounded);
}

/* Of float32, which rarely have errors in float64: there is none where both addends can be had back from the sum. */
static inline int round_floats(const Rows *rows, int dtype, double *rounded) {
    Doubles sum = {0}, one = 1.0 - (Doubles){0};
    Words lost = {0};
    __asm__("" : "+x"(one));   /* lest the compiler know that it multiplies by one */
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const Doubles x = load(F32, 0, rows->data + i * rows->stride), before = sum;
        sum += x;
        const Doubles added = difference(sum, before, one);
        lost = note_difference(lost, added, x);
        lost = note_difference(lost, sum - added, before);
    }
    lost <<= 1;   /* zeros of either sign are the same */
    return !any(lost | (Words)(sum - sum != 0.0)) && write_lanes(sum, dtype, rounded);
}

#endif
