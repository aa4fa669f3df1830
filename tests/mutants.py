"""Break the code on purpose, one way at a time, and see that the tests fail: ``make mutants``.

``python tests/mutants.py NAME...`` runs only the mutants whose names contain one of these words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tree import ROOT, copy_tree

# All but the test of the table below: it would find every mutant by its text.
TESTS = ("tests", "--ignore=tests/test_mutants.py", "-m", "not slow", "-x", "-q", "--tb=line", "-p", "no:cacheprovider")
LONGEST = 900  # seconds; a mutant that makes the tests hang is caught by their own timeout before


@dataclass(frozen=True)
class Mutant:
    name: str
    path: str
    old: str  # occurs exactly once
    new: str

    def patched(self, tree: Path) -> str:
        """The text of the broken file."""
        text = (tree / self.path).read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name!r}: its old text occurs {text.count(self.old)} times in {self.path}; it must occur "
                f"once, so write it anew in tests/mutants.py"
            )
        return text.replace(self.old, self.new)


TEMPLATE = "ext/product_template.h"
ROWS = "ext/row_template.h"
SEAM = "ext/_kernels.pyx"

MUTANTS = (
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
    Mutant("last worker's sums skipped", SEAM, "for i in range(1, sets):", "for i in range(1, sets - 1):"),
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
    Mutant("singles: numbers beyond the window ignored", "ext/singles.c", "(over & 0xff800000ff800000) | ", ""),
    Mutant("singles: what is left ignored", "ext/singles.c", " | (rest & 0x7fffffff7fffffff)", ""),
    Mutant("singles: the last row lost", "ext/singles.c", "rows->count + (rows->last != NULL)", "rows->count"),
    Mutant("singles: integers overflow", "ext/singles.c", "BLOCK = 128, ", "BLOCK = 4096,"),
    Mutant("folds: windows too low for an error", "ext/groups.c", "-969 + 46", "-1074 + 46"),
    Mutant("folds: integers overflow", "ext/folds.h", "MOST_CHAINS = 1 << 11", "MOST_CHAINS = 1 << 15"),
    Mutant("folds: the last row lost", "ext/sums.c", "        rows.last = (const char *)last;\n", ""),
    Mutant(
        "strips: columns beyond whole vectors lost",
        "ext/sums.c",
        "    if (done == columns) return;",
        "    if (done) return;",
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
    Mutant("lanes: overflow not reported", "ext/folds.h", "return !any((Words)(wide - wide != 0.0));", "return 1;"),
    Mutant("few rows: what errors have lost ignored", "ext/brief.h", "        wrong |= (Words)(lost != 0.0);\n", ""),
    Mutant("few rows: float32 rounded twice", "ext/brief.h", "if (dtype == F32) wrong |=", "if (0) wrong |="),
    Mutant(
        "few rows: what float32 lose ignored",
        "ext/brief.h",
        "        lost = note_difference(lost, added, x);\n",
        "",
    ),
    Mutant(
        "few rows: what is lost to a larger float32 ignored",
        "ext/brief.h",
        "        lost = note_difference(lost, sum - added, before);\n",
        "",
    ),
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
        "masks: what is masked counts",
        "parlinalg/operands.py",
        "bits = np.negative(mask.astype(",
        "bits = np.negative((mask | True).astype(",
    ),
    Mutant(
        "masks: the imaginary part kept",
        "parlinalg/operands.py",
        "((kept.real, a.real), (kept.imag, a.imag))",
        "((kept.real, a.real), (kept.imag, a.real))",
    ),
    Mutant(
        "sums with an initial number: it is left out of pieces",
        "parlinalg/sums.py",
        "            part = np.concatenate([flat, last], axis=-1)\n",
        "",
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
    Mutant(
        "children of multiprocessing take all processors",
        "parlinalg/workers.py",
        "return 0 if _has_siblings() else _test_workers(), _fixed_limit()",
        "return _test_workers(), _fixed_limit()",
    ),
    Mutant("every other pair: the wrong ones", "ext/lanes.h", "10, 11, 14, 15", "8, 9, 12, 13"),
    Mutant("every other pair: the rest ends too early", "ext/sums.c", "rest * (size_t)step - (size_t)skip", "rest - 1"),
    Mutant("weights of one element not broadcast", SEAM, "if cnp.PyArray_DIM(weights, axis) > 1:", "if True:"),
    Mutant("BLAS for rows from memory", "parlinalg/model.py", "order = _numpy_last if", "order = _numpy_first if"),
    Mutant(
        "remainder rows dropped, as in the lecture", "parlinalg/split.py", "i * short + min(i, longer)", "i * short"
    ),
    Mutant(
        "numpy: first rows skipped",
        "parlinalg/backends/_numpy.py",
        "range(0, A.shape[-2], most)",
        "range(most, A.shape[-2], most)",
    ),
    Mutant(
        "numpy: first columns skipped",
        "parlinalg/backends/_numpy.py",
        "range(0, A.shape[-1], most)",
        "range(most, A.shape[-1], most)",
    ),
    Mutant(
        "process: first worker's sums only",
        "parlinalg/backends/_separate.py",
        "np.add.reduce(parts, axis=0)",
        "parts[0]",
    ),
    Mutant(
        "process: x not cut to a worker's rows",
        "parlinalg/backends/_separate.py",
        "_kernels.matvec(A.T, x[rows.start : rows.stop]",
        "_kernels.matvec(A.T, x[: len(rows)]",
    ),
    Mutant(
        "process: x of an exact product not cut to a worker's rows",
        "parlinalg/backends/_separate.py",
        "product_states(A.T, x[rows.start : rows.stop]",
        "product_states(A.T, x[: len(rows)]",
    ),
    Mutant("dot: a row with x as it is", "ext/complex_template.h", "&& conjugated ? -1", "&& 0 ? -1"),
    Mutant("dot: x as it is", "ext/matvec.c", "if (x->conjugated) conjugate(n, acc, converted);", ";"),
    Mutant(
        "opencl: last share of the columns only",
        "parlinalg/backends/opencl/products.cl",
        "s = ADD(s, parts[",
        "s = (parts[",
    ),
    Mutant(
        "opencl: state of the last part only",
        "parlinalg/backends/opencl/states.cl",
        "total += of_parts",
        "total = of_parts",
    ),
    Mutant("sum: rounded twice", "parlinalg/sums.py", 'return out.dtype.newbyteorder("=")', "return plan.dtype"),
    Mutant("sum: where ignored", "parlinalg/states.py", "a if mask is None else masked(a, mask)", "a"),
    Mutant("sum: initial ignored", "parlinalg/sums.py", "states += states_of(choice, addend, 0)", "pass"),
    Mutant("overlap of out and x ignored", "parlinalg/api.py", "not may_overlap(out, A, x)", "True"),
)


def main(words: list[str]) -> int:
    mutants = [one for one in MUTANTS if not words or any(word in one.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="parlinalg-mutants-") as folder:
        whole = copy_tree(Path(folder, "whole"))
        verdicts = [run("(nothing broken)", whole, build=True)]
        if verdicts != ["survived"]:
            print("the tests fail although nothing is broken: mend that first")
            return 1
        for mutant in mutants:
            tree = Path(folder, "broken")
            shutil.copytree(whole, tree)
            (tree / mutant.path).write_text(mutant.patched(tree))
            verdicts.append(run(mutant.name, tree, build=mutant.path.startswith("ext/")))
            shutil.rmtree(tree)
    caught = verdicts.count("caught")
    print(f"{caught} of {len(mutants)} mutants caught")
    return 0 if caught == len(mutants) else 1


def run(name: str, tree: Path, build: bool) -> str:
    """Build and test one tree, print a line, and say what became of it."""
    started = time.monotonic()
    verdict, detail = judge(tree, build)
    print(f"{verdict:10} {time.monotonic() - started:5.0f} s  {name:45} {detail}", flush=True)
    return verdict


def judge(tree: Path, build: bool) -> tuple[str, str]:
    if build:
        built = command(tree, "setup.py", "-q", "build_ext", "--inplace")
        if built.returncode:
            return "not built", last_line(built.stderr)
    try:
        tested = command(tree, "-m", "pytest", *TESTS)
    except subprocess.TimeoutExpired:
        return "caught", f"the tests hang for more than {LONGEST} s"
    if tested.returncode == 0:
        return "survived", last_line(tested.stdout)
    failures = [line for line in tested.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if tested.returncode == 1 and failures:
        return "caught", failures[0].partition(" - ")[0]
    if tested.returncode < 0:
        return "caught", f"the process ended by signal {-tested.returncode}"
    return "error", last_line(tested.stdout) or last_line(tested.stderr)


def command(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The path comes first, so that an installed parlinalg is not the one that is tested.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PARLINALG_REQUIRE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )


def last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")


if __name__ == "__main__":
    for each in MUTANTS:
        each.patched(ROOT)
    sys.exit(main(sys.argv[1:]))
