/* Products of a matrix and many vectors at once, of integers and bool, whose sums have no order to keep. */
#include "isa.h"

#define INLINE static inline __attribute__((always_inline))

/* Some rows of the matrix that is read by vectors: they stay in the first-level cache. */
enum { WIDE = 2 /* vectors */, PANEL_ROWS = 64, TOGETHER = 4 /* rows of the other matrix */ };
typedef struct { _Alignas(64) char bytes[PANEL_ROWS * WIDE * VECTOR_BYTES]; } Panel;

#define BITS 8   /* which processors do not multiply: in lanes of 16 */
#define T uint8_t
#define LANE uint16_t
#include "panel_template.h"

#define BITS 16
#define T uint16_t
#include "panel_template.h"

#define BITS 32
#define T uint32_t
#include "panel_template.h"

#define BITS 64
#define T uint64_t
#include "panel_template.h"

/* Or of ands. Rows whose results are all true already are left. */
#define BITS 1
#define T uint8_t
#define VALUE(x) ((x) != 0)
#define ADD_TIMES(s, v, x) ((s) | ((v) & (uint8_t)-VALUE(x)))
#define ADD(s, t) ((s) | (t))
#define ENDS_EARLY 1
#include "panel_template.h"

/* Whether vectors are filled well enough, and panels used often enough. Of bool, also whether rows are short: of long ones
   most of x is never looked at by a matvec. */
static int is_worth_it(const Matrix *A, const Matrix *x, int acc) {
    enum { VERY_FEW = 64, FEW = 1024, FEW_ROWS = 8, SHORT = 64 };
    const ptrdiff_t elements = A->m * A->n, lanes = VECTOR_BYTES / (acc == U8 ? 2 : (ptrdiff_t)size_of(acc));
    if (elements <= VERY_FEW) return 1;
    if (acc == BOOL && A->n > SHORT) return 0;
    if (A->m < FEW_ROWS) return 0;
    return x->n >= (acc == BOOL ? lanes / 4 : lanes / 2) || (x->n >= 8 && elements <= FEW);
}

int block_panel(const Matrix *A, const Matrix *x, const Matrix *y) {
    const int acc = accumulator(y->dtype);
    if (!is_worth_it(A, x, acc)) return 0;
    switch (acc) {
    case BOOL: multiply_1(A, x, y); return 1;
    case U8: multiply_8(A, x, y); return 1;
    case U16: multiply_16(A, x, y); return 1;
    case U32: multiply_32(A, x, y); return 1;
    case U64: multiply_64(A, x, y); return 1;
    default: return 0;
    }
}
