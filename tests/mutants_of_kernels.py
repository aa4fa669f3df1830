"""Ways to break what is compiled."""

from __future__ import annotations

from mutant import Mutant

__all__ = ["OF_KERNELS"]

TEMPLATE = "ext/product_template.h"
ROWS = "ext/row_template.h"
SHARED_SUMS = "ext/shared_sums.pxi"

OF_KERNELS = (
    Mutant("last row dropped", ROWS, "for (; i < m; i += ROWS) {", "for (; i < m - 1; i += ROWS) {"),
    Mutant(
        "last row dropped, few columns",
        ROWS,
        "for (ptrdiff_t i = 0; i < m; i++) {\n        T s",
        "for (ptrdiff_t i = 0; i < m - 1; i++) {\n        T s",
    ),
    Mutant("sign flipped", ROWS, "t3 += TIMES(JOIN(load_end, N)(d", "t3 -= TIMES(JOIN(load_end, N)(d"),
    Mutant("remainder of a row ignored", ROWS, "if (end->count) s1 +=", "if (0) s1 +="),
    Mutant("elements before the remainder counted too", ROWS, "step) & end->mask)", "step))"),
    Mutant("short rows: a vector of x used twice", ROWS, "u[l] = LOAD(x + l * W)", "u[l] = LOAD(x)"),
    Mutant(
        "short rows: the first ones read what lies before the array",
        ROWS,
        "return m - first < ROWS ? m : first;",
        "return 0;",
    ),
    Mutant(
        "remainder of a strided row ignored", TEMPLATE, "for (; j < n; j++, a += cs)", "for (; j < n - 1; j++, a += cs)"
    ),
    Mutant(
        "remainder of the columns ignored",
        TEMPLATE,
        "for (; j < n; j++) {\n        const T *a = A + j * lda;\n        const T x0 = x[j];",
        "for (; j < n - 1; j++) {\n        const T *a = A + j * lda;\n        const T x0 = x[j];",
    ),
    Mutant(
        "two products by columns: the second's remainder is the first's",
        TEMPLATE,
        "LOAD(w + i) + a0 * z0",
        "LOAD(w + i) + a0 * x0",
    ),
    Mutant("rows of three: the last element ignored", ROWS, "if (n > 2) s +=", "if (0) s +="),
    Mutant("real A: infinities of x make no NaN", "ext/matvec.c", "special[1] ? (T)NAN", "0 ? (T)NAN"),
    Mutant("real A: imaginary parts of x ignored", "ext/matvec.c", "by_rows(A, real, xi,", "by_rows(A, real, x,"),
    Mutant(
        "remainder of the strided columns ignored",
        TEMPLATE,
        "for (; j < n; j++) {\n        const T *a = (",
        "for (; j < n - 1; j++) {\n        const T *a = (",
    ),
    Mutant(
        "one vector of x used twice",
        ROWS,
        "t3 += TIMES(JOIN(load, N)(d + l, step), v)",
        "t3 += TIMES(JOIN(load, N)(d + l, step), u)",
    ),
    Mutant(
        "steps of two: the last element twice",
        "ext/lanes.h",
        "JOIN(LANES_OF, size)(LOW_EVENS), JOIN(LANES_OF, size)(HIGH_ODDS))",
        "JOIN(LANES_OF, size)(LOW_EVENS), JOIN(LANES_OF, size)(HIGH_EVENS))",
    ),
    Mutant("bytes: the upper ones lost", "ext/products.c", "(Bytes)((lower & 0xff) | upper)", "(Bytes)(lower & 0xff)"),
    Mutant(
        "plain blocks: x of another dtype is taken as it lies",
        "ext/matvec.c",
        "A->dtype == y->dtype && x->dtype == y->dtype &&",
        "A->dtype == y->dtype &&",
    ),
    Mutant("complex: a row's imaginary part lost", "ext/complex_template.h", "(s3, t3, conj", "(s3, s3, conj"),
    Mutant(
        "table entry swapped: u16 and u32",
        "ext/products.c",
        "[U16] = form##_u16, [U32] = form##_u32",
        "[U16] = form##_u32, [U32] = form##_u16",
    ),
    Mutant(
        "table entry swapped: int16 read as uint16",
        "ext/convert.c",
        "case I16: CONVERT(int16_t, D)",
        "case I16: CONVERT(uint16_t, D)",
    ),
    Mutant(
        "bool: last byte ignored",
        "ext/products.c",
        "for (; j < n; j++)\n        if",
        "for (; j < n - 1; j++)\n        if",
    ),
    Mutant(
        "first part of each worker skipped",
        "ext/parallel.c",
        "shares[t].next = share_of(&work, t);",
        "shares[t].next = share_of(&work, t) + 1;",
    ),
    Mutant(
        "last worker's parts skipped",
        "ext/parallel.c",
        "(part < share_of(w, owner + 1))",
        "(part < share_of(w, owner + 1) && (w->threads == 1 || owner < w->threads - 1))",
    ),
    Mutant(
        "last worker's columns skipped",
        "ext/parallel.c",
        "part = 1; part < parts; part++",
        "part = 1; part < parts - 1; part++",
    ),
    Mutant("last worker's sums skipped", SHARED_SUMS, "for i in range(1, sets):", "for i in range(1, sets - 1):"),
    Mutant(
        "sum of all: last worker's skipped", SHARED_SUMS, "for i in range(1, workers):", "for i in range(2, workers):"
    ),
    Mutant(
        "float16: elements before the last are added twice",
        "ext/half_rows.c",
        "*(const Bits *)(edge + rest)",
        "~(Bits){0}",
    ),
    Mutant(
        "float16: chains of a row but the first",
        "ext/half_rows.c",
        "for (int c = 1; c < chains; c++) sums",
        "for (int c = 2; c < chains; c++) sums",
    ),
    Mutant("out not zeroed", "ext/matvec.c", "        memset(sums, 0, (size_t)(block.m * size));\n", ""),
    Mutant("byte order ignored", "ext/convert.c", "size_of(real_of(from)), out);", "1, out);"),
    Mutant("sum: negative addends are positive", "ext/tally.h", ".sign = (int64_t)bits >> 63,", ".sign = 0,"),
    Mutant(
        "sum: subnormal addends are normal",
        "ext/tally.h",
        "field ? fraction | 1ull << 52 : fraction",
        "fraction | 1ull << 52",
    ),
    Mutant("sum: -inf counts as +inf", "ext/tally.h", "special == NOT_A_NUMBER ? 0 : sign ? 2 : 1", "special - 1"),
    Mutant("rounding: ties away from zero", "ext/round.c", "half && ((q & 1) || any_bit_below(m, last - 1))", "half"),
    Mutant("rounding: digits below a tie ignored", "ext/round.c", "(q & 1) || any_bit_below(m, last - 1)", "q & 1"),
    Mutant("rounding: bits below a tie ignored", "ext/round.c", "half && ((q & 1) || rest)", "half && (q & 1)"),
    Mutant("rounding: what is cut off ignored", "ext/groups.c", "(rest & ((1 << CUT) - 1)) != 0", "0"),
    Mutant("folds: numbers beyond the window ignored", "ext/folds.c", "(f.over >> 52) | ", ""),
    Mutant("folds: what is left ignored", "ext/folds.c", "(f.over >> 52) | f.rest << 1", "f.over >> 52"),
    Mutant("folds: a second chain lost", "ext/folds.c", " + ((Words)S[1][k] - (Words)M[k])", ""),
    Mutant(
        "folds: errors of products lost",
        "ext/folds.c",
        "fold_number(multiply_subtract(x, y, p), 1,",
        "fold_number(p - p, 1,",
    ),
    Mutant(
        "folds: products that underflow accepted", "ext/folds.c", " || (any(f.zero) && underflows(&form, rows))", ""
    ),
    Mutant("folds: windows too low for an error", "ext/groups.c", "-969 + 46", "-1074 + 46"),
    Mutant("folds: integers overflow", "ext/folds.h", "MOST_CHAINS = 1 << 11", "MOST_CHAINS = 1 << 15"),
    Mutant("additions: the last row lost", "ext/sums.c", "    rows.last = (const char *)ends->elements;\n", ""),
    Mutant(
        "additions: those that round accepted",
        "ext/groups.c",
        "return was_exact() && is_finite(sums[0]);",
        "return is_finite(sums[0]);",
    ),
    Mutant(
        "additions: infinities as others",
        "ext/groups.c",
        "return was_exact() && is_finite(sums[0]);",
        "return was_exact();",
    ),
    Mutant(
        "additions: those of blocks that round accepted",
        "ext/sums.c",
        "return was_exact() && !any(wrong);",
        "return !any(wrong);",
    ),
    Mutant(
        "additions: infinities in blocks as others",
        "ext/sums.c",
        "return was_exact() && !any(wrong);",
        "return was_exact();",
    ),
    Mutant("additions: short rows that round accepted", "ext/sums.c", "exact = was_exact();", "exact = 1;"),
    Mutant(
        "additions: columns that round accepted", "ext/strips.c", ", g) || !was_exact()) return 0;", ", g)) return 0;"
    ),
    Mutant("additions: totals of columns that round accepted", "ext/strips.c", "    if (!was_exact()) return 0;\n", ""),
    Mutant(
        "additions: totals that round accepted",
        "ext/groups.c",
        "total_of_pending(g, sums);\n    return was_exact();",
        "total_of_pending(g, sums);\n    return 1;",
    ),
    Mutant(
        "additions: sums of lanes that round accepted",
        "ext/groups.c",
        "return was_exact() && round_parts(total[t][0]",
        "return round_parts(total[t][0]",
    ),
    Mutant("additions: lower halves lost", "ext/additions.c", "    *lower += difference(x, half, one);\n", ""),
    Mutant(
        "additions: tallies of another bias",
        "ext/tally.h",
        "p.exponent - 1075 + t->bias",
        "p.exponent - 1075 + SUM_BIAS",
    ),
    Mutant(
        "few rows: what errors have lost ignored",
        "ext/additions.c",
        "        wrong |= (Words)(lost != 0.0);\n    }\n    sums",
        "    }\n    sums",
    ),
    Mutant(
        "lanes: two parts rounded to float32 twice",
        "ext/folds.h",
        "    if (dtype != F64 && any((Words)(sums[1] != 0.0))) return 0;\n",
        "",
    ),
    Mutant(
        "lanes: float16 rounded twice", "ext/folds.h", "(Words)((bits & beyond) != 0) & (beyond + 1)", "bits & beyond"
    ),
    Mutant("strips: lanes of two groups added twice", "ext/strips.c", "(int)(begin - first), ", "0, "),
    Mutant(
        "strips: columns beyond whole vectors lost",
        "ext/additions.c",
        "min_of(j, columns - LANES) * bytes_of(type);",
        "(j / LANES * LANES) * bytes_of(type) * (j + LANES <= columns);",
    ),
    Mutant("runs: imaginary parts among the real ones", "ext/sums.c", "t->pair_result ? 2 : 1", "1"),
    Mutant("environment not set", "ext/environment.h", "    _mm_setcsr(0x1f80);\n", ""),
    Mutant("environment not restored", "ext/environment.h", "{ _mm_setcsr(saved); }", "{ (void)saved; }"),
    Mutant(
        "short cut: whatever a sum begins with",
        "ext/small_sums.pxi",
        "initial is not zero and not can_begin(initial, number)",
        "False",
    ),
    Mutant("short cut: float64 not cast to float32", "ext/small_sums.pxi", "(given == F64 and wanted == F32) or ", ""),
    Mutant("short cut: axes twice", "ext/small_sums.pxi", "if summed[0] & bit:", "if False:"),
    Mutant("lanes: rounded twice", "ext/groups.c", "any((first + most) >> 54 | ", "any("),
    Mutant("lanes: overflow not reported", "ext/folds.h", "return is_finite(doubles_of(narrower));", "return 1;"),
    Mutant(
        "short columns: the column before counted",
        TEMPLATE,
        "for (ptrdiff_t i = (count - 1) * W; i < m; i++)",
        "for (ptrdiff_t i = (count - 1) * W; i < m; i += 2)",
    ),
    Mutant(
        "packed columns: one left out",
        TEMPLATE,
        "for (; j + W <= n; j += W, A +=",
        "for (; j + W < n; j += W + 1, A +=",
    ),
    Mutant(
        "packed complex rows: parts in a wrong place",
        "ext/complex_template.h",
        "+ k / 2 % (W / n) + k % 2",
        "+ k / 2 % (W / n) + (k + 1) % 2",
    ),
    Mutant(
        "small sums along axes: the initial number left out",
        "ext/small_sums.pxi",
        "longer[:, -1] = np.asarray(initial)",
        "longer[:, -1] = 0 * np.asarray(initial)",
    ),
    Mutant("lanes: units that are no normal numbers", "ext/groups.c", " | small >> 63)", ")"),
    Mutant("many small matrices: first rows only", "ext/parallel.c", "    rows.data += row * rows.rs;\n", ""),
    Mutant("dots: not conjugated", "ext/dots.c", "conjugated ? -1 : 1", "1"),
    Mutant("dots: beyond the inner axis", "ext/parallel.c", "count = end - b < inner - b % inner", "count = 1"),
    Mutant("batch: axes merged that lie apart", "ext/parallel.c", " || !axes_are_one(p, p->x_stride, k)", ""),
    Mutant("batch: matrices merged that lie apart", "ext/parallel.c", "p->A_stride[last] != p->A.m * p->A.rs || ", ""),
    Mutant(
        "short cut: out that overlaps",
        "ext/small_products.pxi",
        "    return lie_apart(y, a) and lie_apart(y, b)",
        "    return True",
    ),
    Mutant("short cut: batch of A counts only", "ext/small_products.pxi", "of_b if of_a == 1 else of_a", "of_a"),
    Mutant(
        "short cut: vecmat not conjugated",
        "ext/small_products.pxi",
        "vector = PyArray_Conjugate(x, NULL) if cnp.PyArray_ISCOMPLEX(x) else x",
        "vector = x",
    ),
    Mutant(
        "short cut: vecdot of batches not conjugated",
        "ext/small_products.pxi",
        "product(b[..., None, :], a, None, None, backend, workers, cnp.PyArray_ISCOMPLEX(a))",
        "product(b[..., None, :], a, None, None, backend, workers, False)",
    ),
    Mutant(
        "short cut: number of workers ignored",
        "ext/_small.pyx",
        "type(workers) is int and 1 <= workers <= MOST_ASKED",
        "True",
    ),
    Mutant("every other pair: the wrong ones", "ext/lanes.h", "10, 11, 14, 15", "8, 9, 12, 13"),
    Mutant(
        "every other pair: the rest ends too early", "ext/sums.c", "rest * (size_t)step - (size_t)f->skip", "rest - 1"
    ),
    Mutant("weights of one element not broadcast", SHARED_SUMS, "if cnp.PyArray_DIM(weights, axis) > 1:", "if True:"),
    Mutant("dot: a row with x as it is", "ext/complex_template.h", "&& conjugated ? -1", "&& 0 ? -1"),
    Mutant(
        "dot: the other one conjugated",
        "ext/small_products.pxi",
        " and not cnp.PyArray_ISCOMPLEX(a):\n        a, b = b, a   # a row",
        ":\n        a, b = b, a   # a row",
    ),
    Mutant("dot: x as it is", "ext/matvec.c", "if (x->conjugated) conjugate(n, acc, converted);", ";"),
)
