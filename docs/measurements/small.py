"""Small calls against NumPy's: how long they take, and how many times as fast they are.

    python docs/measurements/small.py

Contenders take turns, as in grid.py; medians. Plain calls, calls that say something, and products with several columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from grid import Call, seconds_of

import parlinalg

Case = tuple[str, Call, Call]  # and its counterpart in NumPy

ROW = "{:34} {:>10} {:>10} {:>6}"


def plain() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for n in (4, 16, 64, 256):
        A, x = rng.standard_normal((n, n)), rng.standard_normal(n)
        yield f"matvec, {n} x {n}, over dot", lambda A=A, x=x: parlinalg.matvec(A, x), lambda A=A, x=x: np.dot(A, x)
    for n in (4, 16, 64, 256):
        x = rng.standard_normal(n)
        yield f"vecdot, {n}, over dot", lambda x=x: parlinalg.vecdot(x, x), lambda x=x: np.dot(x, x)
    for n in (10, 100, 1000):
        x = rng.standard_normal(n)
        yield f"psum, {n}", lambda x=x: parlinalg.psum(x), lambda x=x: np.sum(x)


def of_operators() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((16, 16)), rng.standard_normal(16)
    small = parlinalg.operator(A, backend="openmp")
    yield "operator @ x, 16 x 16", lambda: small @ x, lambda: A @ x
    for n in (100, 1000):
        B = rng.standard_normal((n, n))
        on_threads = parlinalg.operator(B, backend="openmp")
        for columns in (2, 8, 64):
            X = rng.standard_normal((n, columns))
            name = f"operator @ X, {n} x {n}, {columns} columns"
            yield name, lambda f=on_threads, X=X: f @ X, lambda B=B, X=X: B @ X


def that_say_something() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    A, x, out = rng.standard_normal((16, 16)), rng.standard_normal(16), np.empty(16)
    lists = A.tolist()
    integers, many, vectors = np.arange(16), rng.standard_normal((100, 16, 16)), rng.standard_normal((100, 3))
    yield "matvec, out=", lambda: parlinalg.matvec(A, x, out=out), lambda: np.matvec(A, x, out=out)
    yield "matvec, x of int64", lambda: parlinalg.matvec(A, integers), lambda: np.matvec(A, integers)
    yield "matvec, backend='openmp'", lambda: parlinalg.matvec(A, x, backend="openmp"), lambda: np.matvec(A, x)
    yield "matvec, 100 matrices", lambda: parlinalg.matvec(many, x), lambda: np.matvec(many, x)
    yield "vecmat", lambda: parlinalg.vecmat(x, A), lambda: np.vecmat(x, A)
    yield "vecdot, 100 vectors of 3", lambda: parlinalg.vecdot(vectors, vectors), lambda: np.vecdot(vectors, vectors)
    yield "psum, backend='openmp'", lambda: parlinalg.psum(A, backend="openmp"), lambda: np.sum(A)
    yield "psum, axis=0", lambda: parlinalg.psum(A, axis=0), lambda: np.sum(A, axis=0)
    yield "psum, keepdims=True", lambda: parlinalg.psum(A, keepdims=True), lambda: np.sum(A, keepdims=True)
    yield "psum, axis=0, out=", lambda: parlinalg.psum(A, axis=0, out=out), lambda: np.sum(A, axis=0, out=out)
    yield "matvec, dtype='f4'", lambda: parlinalg.matvec(A, x, dtype="f4"), lambda: np.matvec(A, x, dtype="f4")
    yield "matvec, exact=True", lambda: parlinalg.matvec(A, x, exact=True), lambda: np.matvec(A, x)
    yield "psum, dtype='f4'", lambda: parlinalg.psum(A, dtype="f4"), lambda: np.sum(A, dtype="f4")
    yield "matvec of lists", lambda: parlinalg.matvec(lists, x), lambda: np.matvec(lists, x)


def main() -> None:
    print(ROW.format("16 x 16 where nothing else is said", "parlinalg", "numpy", "ratio"))
    for name, ours, theirs in (*plain(), *of_operators(), *that_say_something()):
        seconds = seconds_of({"parlinalg": ours, "numpy": theirs})
        ratio = seconds["numpy"] / seconds["parlinalg"]
        print(ROW.format(name, *(f"{one * 1e6:.2f} us" for one in seconds.values()), f"{ratio:.2f}"), flush=True)


if __name__ == "__main__":
    main()
