/* Products of two matrices of one type T, a part of panels.c: names end in BITS. Sums are kept in lanes of type LANE, T
   unless it is said. ADD_TIMES(s, v, x) is s + v x of vectors s and v, ADD(s, t) their sum, VALUE(x) what an element
   stands for. With ENDS_EARLY a sum of only ones cannot change any more. */
#ifndef LANE
#define LANE T
#endif
#ifndef VALUE
#define VALUE(x) (x)
#define ADD_TIMES(s, v, x) ((s) + (v) * (LANE)(x))
#define ADD(s, t) ((s) + (t))
#define ENDS_EARLY 0
#endif
#define V JOIN(Lanes, BITS)
#define ELEMENT JOIN(Element, BITS)
#define W (VECTOR_BYTES / (ptrdiff_t)sizeof(LANE))
typedef LANE V __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef T ELEMENT __attribute__((aligned(1), may_alias));

/* Rows of some columns, each as whole vectors; what these have beyond the columns is ones. */
static void JOIN(fill, BITS)(const Matrix *x, ptrdiff_t width, Panel *panel) {
    for (ptrdiff_t j = 0; j < x->m; j++) {
        const char *row = x->data + j * x->rs;
        LANE *to = (LANE *)panel->bytes + j * width;
        if (x->cs == sizeof(T)) for (ptrdiff_t k = 0; k < x->n; k++) to[k] = VALUE(((const ELEMENT *)row)[k]);
        else for (ptrdiff_t k = 0; k < x->n; k++) to[k] = VALUE(*(const ELEMENT *)(row + k * x->cs));
        for (ptrdiff_t k = x->n; k < width; k++) to[k] = 1;
    }
}

/* Of some rows of A, and a panel of `count` vectors. */
INLINE void JOIN(multiply_rows, BITS)(const int rows, const int count, ptrdiff_t n, const char *a, ptrdiff_t rs,
                                      ptrdiff_t cs, const Panel *panel, V *sums) {
    V s[TOGETHER * WIDE];
    for (int k = 0; k < rows * count; k++) s[k] = (V){0};
    const V *v = (const V *)panel->bytes;
    for (ptrdiff_t j = 0; j < n; j++, a += cs, v += count)
        for (int r = 0; r < rows; r++) {
            const T x = *(const ELEMENT *)(a + r * rs);
            for (int k = 0; k < count; k++) s[r * count + k] = ADD_TIMES(s[r * count + k], v[k], x);
        }
    for (int k = 0; k < rows * count; k++) sums[k] = s[k];
}

static void JOIN(add_rows, BITS)(int rows, int count, const Matrix *A, const Panel *panel, int first, ptrdiff_t columns,
                                 char *y, ptrdiff_t step) {
    V sums[TOGETHER * WIDE];
    if (rows == 1 && count == 1) JOIN(multiply_rows, BITS)(1, 1, A->n, A->data, A->rs, A->cs, panel, sums);
    else if (rows == 1) JOIN(multiply_rows, BITS)(1, WIDE, A->n, A->data, A->rs, A->cs, panel, sums);
    else if (count == 1) JOIN(multiply_rows, BITS)(TOGETHER, 1, A->n, A->data, A->rs, A->cs, panel, sums);
    else JOIN(multiply_rows, BITS)(TOGETHER, WIDE, A->n, A->data, A->rs, A->cs, panel, sums);
    for (int r = 0; r < rows; r++) {
        const LANE *s = (const LANE *)(sums + r * count);
        ELEMENT *results = (ELEMENT *)(y + r * step);
        if (first) for (ptrdiff_t k = 0; k < columns; k++) results[k] = (T)s[k];
        else for (ptrdiff_t k = 0; k < columns; k++) results[k] = (T)ADD(results[k], s[k]);
    }
}

static int JOIN(are_complete, BITS)(ptrdiff_t rows, ptrdiff_t columns, const char *y, ptrdiff_t step) {
    int all = ENDS_EARLY;
    for (ptrdiff_t r = 0; r < rows && all; r++)
        for (ptrdiff_t k = 0; k < columns; k++) all &= ((const ELEMENT *)(y + r * step))[k] == 1;
    return all;
}

/* Some rows of a matrix whose columns lie in different pages, brought together: few streams of memory are foreseen. */
static Matrix JOIN(gathered, BITS)(const Matrix *A, Panel *tile) {
    const ptrdiff_t bytes = A->m * (ptrdiff_t)sizeof(T);
    for (ptrdiff_t j = 0; j < A->n; j++) memcpy(tile->bytes + j * bytes, A->data + j * A->cs, (size_t)bytes);
    return (Matrix){tile->bytes, A->m, A->n, sizeof(T), bytes, A->dtype, 0, 0};
}

/* Of all rows of A, and of x those that the panel holds; whether no result can change any more. */
static int JOIN(multiply_part, BITS)(const Matrix *A, const Panel *panel, int count, ptrdiff_t columns, int first, char *y,
                                     ptrdiff_t step) {
    int complete = ENDS_EARLY;
    for (ptrdiff_t i = 0, rows; i < A->m; i += rows, y += rows * step) {
        rows = A->m - i < TOGETHER ? 1 : TOGETHER;
        if (!first && JOIN(are_complete, BITS)(rows, columns, y, step)) continue;
        complete = 0;
        const Matrix some = {A->data + i * A->rs, rows, A->n, A->rs, A->cs, A->dtype, 0, 0};
        JOIN(add_rows, BITS)((int)rows, count, &some, panel, first, columns, y, step);
    }
    return complete;
}

/* y = A x, where the columns of y are neighbours. */
static void JOIN(multiply, BITS)(const Matrix *A, const Matrix *x, const Matrix *y) {
    Panel panel, tile;
    const int by_columns = A->rs == sizeof(T) && (A->cs >= PAGE || A->cs <= -PAGE);
    const ptrdiff_t most = by_columns ? (ptrdiff_t)(sizeof tile / (PANEL_ROWS * sizeof(T))) : A->m;
    for (ptrdiff_t column = 0; column < x->n; column += WIDE * W) {
        const ptrdiff_t columns = min_of(WIDE * W, x->n - column);
        const int count = columns > W ? WIDE : 1;
        int complete = 0;
        for (ptrdiff_t j = 0, n; j < A->n && !complete; j += n) {
            n = min_of(ENDS_EARLY && j == 0 ? PANEL_ROWS / 4 : PANEL_ROWS, A->n - j);
            const Matrix some = {x->data + j * x->rs + column * x->cs, n, columns, x->rs, x->cs, x->dtype, 0, 0};
            JOIN(fill, BITS)(&some, count * W, &panel);
            complete = 1;
            for (ptrdiff_t i = 0; i < A->m; i += most) {
                Matrix part = {A->data + i * A->rs + j * A->cs, min_of(most, A->m - i), n, A->rs, A->cs, A->dtype, 0, 0};
                if (by_columns) part = JOIN(gathered, BITS)(&part, &tile);
                char *results = (char *)y->data + i * y->rs + column * (ptrdiff_t)sizeof(T);
                complete &= JOIN(multiply_part, BITS)(&part, &panel, count, columns, j == 0, results, y->rs);
            }
        }
    }
}

#undef V
#undef ELEMENT
#undef W
#undef T
#undef BITS
#undef LANE
#undef VALUE
#undef ADD_TIMES
#undef ADD
#undef ENDS_EARLY
