/* Products of a matrix and many vectors at once, of integers and bool, whose sums have no order to keep. */
#include "isa.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Some rows of the matrix that is read by vectors: they stay in the first-level cache. */
enum { WIDE = 2 /* vectors */, PANEL_ROWS = 64, TOGETHER = 4 /* rows of the other matrix */, PAGE = 4096 /* bytes */ };
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
int block_suits_panels(ptrdiff_t m, ptrdiff_t n, ptrdiff_t columns, int loop) {
    enum { VERY_FEW = 64, FEW = 1024, FEW_COLUMNS = 8, FEW_ROWS = 8, SHORT = 64, LONG_ROW = 256 };
    const int acc = accumulator(loop);
    const ptrdiff_t lanes = VECTOR_BYTES / (acc == U8 ? 2 : (ptrdiff_t)size_of(acc));
    if (acc > U64) return 0;
    if (m * n <= VERY_FEW) return 1;
    if (m < FEW_ROWS || (acc == BOOL && n > SHORT)) return 0;
    if (m * n <= FEW && columns >= FEW_COLUMNS) return 1;
    return columns >= (acc == BOOL ? lanes / 4 : acc == U8 || n > LONG_ROW ? lanes : lanes / 2);
}

void block_panels(const Matrix *A, const Matrix *x, const Matrix *y) {
    switch (accumulator(y->dtype)) {
    case BOOL: multiply_1(A, x, y); break;
    case U8: multiply_8(A, x, y); break;
    case U16: multiply_16(A, x, y); break;
    case U32: multiply_32(A, x, y); break;
    default: multiply_64(A, x, y);
    }
}
