/* Vectors picked from the lanes of one or two others, by bytes of a lane, 4 or 8. */
#ifndef PARLINALG_LANES_H
#define PARLINALG_LANES_H

#include "isa.h"

#define LOW_EVENS_2 0
#define HIGH_EVENS_2 2
#define LOW_ODDS_2 1
#define HIGH_ODDS_2 3
#define LOW_PAIRS_2 0
#define HIGH_PAIRS_2 1
#define LOW_SWAPS_2 1
#define HIGH_SWAPS_2 0
#define LOW_EVENS_4 0, 2
#define HIGH_EVENS_4 4, 6
#define LOW_ODDS_4 1, 3
#define HIGH_ODDS_4 5, 7
#define LOW_PAIRS_4 0, 1
#define HIGH_PAIRS_4 6, 7
#define LOW_SWAPS_4 1, 0
#define HIGH_SWAPS_4 3, 2
#define LOW_EVENS_8 0, 2, 4, 6
#define HIGH_EVENS_8 8, 10, 12, 14
#define LOW_ODDS_8 1, 3, 5, 7
#define HIGH_ODDS_8 9, 11, 13, 15
#define LOW_PAIRS_8 0, 1, 4, 5
#define HIGH_PAIRS_8 10, 11, 14, 15
#define LOW_SWAPS_8 1, 0, 3, 2
#define HIGH_SWAPS_8 5, 4, 7, 6
#define LOW_EVENS_16 0, 2, 4, 6, 8, 10, 12, 14
#define HIGH_EVENS_16 16, 18, 20, 22, 24, 26, 28, 30
#define LOW_ODDS_16 1, 3, 5, 7, 9, 11, 13, 15
#define HIGH_ODDS_16 17, 19, 21, 23, 25, 27, 29, 31
#define LOW_SWAPS_16 1, 0, 3, 2, 5, 4, 7, 6
#define HIGH_SWAPS_16 9, 8, 11, 10, 13, 12, 15, 14

#if VECTOR_BYTES == 64
#define LANES_OF_4(half) half##_16
#define LANES_OF_8(half) half##_8
#elif VECTOR_BYTES == 32
#define LANES_OF_4(half) half##_8
#define LANES_OF_8(half) half##_4
#else
#define LANES_OF_4(half) half##_4
#define LANES_OF_8(half) half##_2
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define PICK(size, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
typedef uint32_t LaneNumbers_4 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t LaneNumbers_8 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t LaneNumbers_floats __attribute__((vector_size(VECTOR_BYTES / 2)));
#ifndef PICK   /* GCC before 12 */
#define PICK(size, a, b, ...) __builtin_shuffle(a, b, (JOIN(LaneNumbers, size)){__VA_ARGS__})
#endif

/* The lanes of v at these places, which may be known only when the program runs. */
#ifdef __clang__
#define PERMUTED(v, places) ({ \
    __typeof__((v) + (v)) lanes_ = {0}; \
    for (size_t lane_ = 0; lane_ < sizeof lanes_ / sizeof lanes_[0]; lane_++) lanes_[lane_] = (v)[(places)[lane_]]; \
    lanes_; })
#else
#define PERMUTED(v, places) __builtin_shuffle(v, places)
#endif

#define PICK_EVENS(size, a, b) PICK(size, a, b, JOIN(LANES_OF, size)(LOW_EVENS), JOIN(LANES_OF, size)(HIGH_EVENS))
#define PICK_ODDS(size, a, b) PICK(size, a, b, JOIN(LANES_OF, size)(LOW_ODDS), JOIN(LANES_OF, size)(HIGH_ODDS))
/* Of b, which begins with the last lane of a, the odd ones: together every other one of both. */
#define PICK_OVERLAPPING(size, a, b) PICK(size, a, b, JOIN(LANES_OF, size)(LOW_EVENS), JOIN(LANES_OF, size)(HIGH_ODDS))
/* The same of floats in half a vector. */
#define PICK_FLOATS(a, b) PICK(floats, a, b, LANES_OF_8(LOW_EVENS), LANES_OF_8(HIGH_ODDS))
/* Of b, which begins with the last two lanes of a, every other pair of neighbours, as of a. */
#define PICK_PAIRS(a, b) PICK(8, a, b, LANES_OF_8(LOW_PAIRS), LANES_OF_8(HIGH_PAIRS))

/* Neighbours in each other's place. */
#define PICK_SWAPPED(size, v) PICK(size, v, v, JOIN(LANES_OF, size)(LOW_SWAPS), JOIN(LANES_OF, size)(HIGH_SWAPS))

#endif
