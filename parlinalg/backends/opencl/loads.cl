// Loads of AT_ONCE elements, some of them on their way at a time. Where AT_ONCE is not 1, it is so many as 16 bytes hold,
// and they lie at multiples of these. STORED is a type of their size that variables can have: half is none without an
// extension.
#if AT_ONCE == 1
#define UNROLLED 4
#define FETCH(to, from) (to)[0] = *(__global const STORED *)(from)
#else
#define UNROLLED 2
#define FETCH(to, from) *(uint4 *)(to) = *(__global const uint4 *)(from)
#endif
#define FETCHED(name) STORED name[UNROLLED][AT_ONCE] __attribute__((aligned(16)))
