/* The table of one instruction set. */
#include "folds.h"

static uint64_t read_words(ptrdiff_t n, const uint64_t *w) {
    typedef uint64_t V __attribute__((vector_size(VECTOR_BYTES), aligned(8)));
    enum { W = VECTOR_BYTES / 8 };
    V s[4] = {{0}};
    ptrdiff_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W)
        for (int k = 0; k < 4; k++) {
            __builtin_prefetch((const char *)(w + i + k * W) + 1024);
            s[k] |= *(const V *)(w + i + k * W);
        }
    V v = (s[0] | s[1]) | (s[2] | s[3]);
    uint64_t r = 0;
    for (int k = 0; k < W; k++) r |= v[k];
    for (; i < n; i++) r |= w[i];
    return r;
}

const Kernels JOIN(kernels, PARLINALG_ISA) = {
    .name = STRING(PARLINALG_ISA),
    .matvec = block_matvec,
    .accumulate = block_accumulate,
    .store = block_store,
    .dots = block_dots,
    .panels = block_panels,
    .suits_panels = block_suits_panels,
    .sum = block_sum,
    .check = check_folds,
    .read = read_words,
};
