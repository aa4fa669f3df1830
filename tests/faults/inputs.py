"""Bad inputs: ``python inputs.py BACKEND`` prints how many raise what is documented, and those that do not."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

import parlinalg as pla

A, X = np.arange(12.0).reshape(3, 4), np.arange(4.0)
POISON = 77.0


class Input(NamedTuple):
    """What is given, and what must come of it."""

    name: str
    call: Callable[[str, np.ndarray], Any]  # with a backend, and an array that must not be written
    kinds: tuple[type[BaseException], ...]
    words: tuple[str, ...]  # in the message: the argument, and what was given


class Pickled:
    """What must never be unpickled, or called, where arrays are expected."""

    def __reduce__(self) -> Any:
        return print, ("a pickle was run",)


class Sparse:
    """Like a matrix of SciPy."""

    def tocsr(self) -> Any:
        raise AssertionError


BOTH = (TypeError, ValueError)
ARGUMENTS = ("A", "x", "a", "out", "axis", "dtype", "workers", "where", "initial")


def operands() -> Iterator[tuple[str, Any, str]]:
    """What is no numeric array; and a word of what was given."""
    yield "None", None, "NoneType"
    yield "text", "12", "str"
    yield "bytes", b"12", "bytes"
    yield "dict", {1: 2}, "dict"
    yield "set", {1, 2}, "set"
    yield "generator", (i for i in range(3)), "generator"
    yield "object", object(), "object"
    yield "fractions", [[Fraction(1, 2)] * 4] * 3, "list"
    yield "object array", np.array([[1, 2, 3, 4]] * 3, object), "object"
    yield "pickles", np.array([Pickled()] * 4, object), "object"
    yield "dates", np.zeros((3, 4), "M8[s]"), "datetime64"
    yield "durations", np.zeros((3, 4), "m8[s]"), "timedelta64"
    yield "records", np.zeros((3, 4), [("a", "f8")]), "[('a'"
    yield "strings", np.full((3, 4), "1.0"), "<U3"
    yield "ragged", [[1.0, 2.0], [3.0]], "inhomogeneous"
    yield "masked", np.ma.masked_array(A, A > 5), "masked"
    yield "sparse", Sparse(), "sparse"


def inputs() -> Iterator[Input]:
    """All of them."""
    for name, value, word in operands():
        yield Input(f"A: {name}", lambda b, out, v=value: pla.matvec(v, X, out, backend=b), BOTH, ("A", word))
    for name, value, word in operands():
        given = value
        if isinstance(value, np.ndarray) and value.ndim == 2:
            given = value[-1]
        yield Input(f"x: {name}", lambda b, out, v=given: pla.matvec(A, v, out, backend=b), BOTH, ("x", word))
    for name, value, word in operands():
        yield Input(f"a: {name}", lambda b, out, v=value: pla.psum(v, out=out[0, ...], backend=b), BOTH, ("a", word))
    yield from shapes()
    yield from outputs()
    yield from options()


def _sum(backend: str, out: np.ndarray, a: Any = A, axis: Any = 1, **options: Any) -> Any:
    return pla.psum(a, axis, out=out, backend=backend, **options)


def _product(backend: str, out: np.ndarray, **options: Any) -> Any:
    return pla.matvec(A, X, out, backend=backend, **options)


def shapes() -> Iterator[Input]:
    """Shapes that do not fit."""
    for A_shape, x_shape in (
        ((3, 4), (3,)),
        ((3, 4), (4, 1)),
        ((4,), (4,)),
        ((), (4,)),
        ((3, 4), ()),
        ((2, 3, 4), (3, 4)),
    ):
        words = (str(x_shape) if x_shape else "x",)
        one, other = np.ones(A_shape), np.ones(x_shape)
        yield Input(
            f"{A_shape} @ {x_shape}",
            lambda b, out, p=one, q=other: pla.matvec(p, q, out, backend=b),
            (ValueError,),
            words if len(A_shape) > 1 else ("A",),
        )
    yield Input("vecmat", lambda b, out: pla.vecmat(X, A, out, backend=b), (ValueError,), ("(4,)", "(3, 4)"))
    yield Input("vecdot", lambda b, out: pla.vecdot(X, X[:3], out[0, ...], backend=b), (ValueError,), ("(4,)", "(3,)"))
    for axis in (2, -3, (0, 5)):
        words = ("axis",)
        yield Input(f"axis={axis}", lambda b, out, k=axis: _sum(b, out, axis=k), (ValueError, IndexError), words)
    yield Input("axis twice", lambda b, out: _sum(b, out, axis=(0, 0)), (ValueError,), ("axis", "twice"))
    for axis in (1.5, "0"):
        yield Input(
            f"axis={axis!r}",
            lambda b, out, k=axis: _sum(b, out, axis=k),
            (TypeError,),
            ("axis", repr(axis)),
        )
    yield Input("operator of a vector", lambda b, out: pla.operator(X, backend=b), (ValueError,), ("(4,)",))


def outputs() -> Iterator[Input]:
    """What a result cannot be written into; `out` must stay as it was."""
    read_only = np.full(3, POISON)
    read_only.flags.writeable = False
    repeated = np.lib.stride_tricks.as_strided(np.full(1, POISON), (3,), (0,))
    for name, value, kind, word in (
        ("shape", np.full(4, POISON), ValueError, "(4,)"),
        ("too many dimensions", np.full((1, 3), POISON), ValueError, "(1, 3)"),
        ("integers", np.full(3, int(POISON)), TypeError, "int64"),
        ("bool", np.full(3, True), TypeError, "bool"),
        ("objects", np.full(3, POISON, object), TypeError, "object"),
        ("list", [POISON] * 3, TypeError, "list"),
        ("text", "out", TypeError, "str"),
        ("read-only", read_only, ValueError, "read-only"),
        ("repeated", repeated, ValueError, "strides"),
        ("masked", np.ma.masked_array(np.full(3, POISON)), TypeError, "masked"),
    ):

        def call(b: str, out: np.ndarray, v: Any = value) -> Any:
            before = np.array(v, copy=True)
            try:
                return pla.matvec(A, X, v, backend=b)
            finally:
                assert np.array_equal(np.array(v), before), "out was written"

        yield Input(f"out: {name}", call, (kind,), ("out", word))


def options() -> Iterator[Input]:
    """Arguments that say how."""
    for given in ("no dtype", object, "M8[s]", "V3"):
        kinds = (TypeError,)
        yield Input(f"dtype={given!r}", lambda b, out, d=given: _product(b, out, dtype=d), kinds, ("dtype",))
    yield Input(
        "a narrower kind",
        lambda b, out: _product(b, out, dtype=int),
        (TypeError,),
        ("float64", "int64"),
    )
    yield Input(
        "psum of longdouble",
        lambda b, out: _sum(b, out, A.astype("g")),
        (TypeError,),
        ("a", "float"),
    )
    for given in (0, -99, 10**7):
        yield Input(
            f"workers={given}",
            lambda b, out, w=given: _sum(b, out, workers=w),
            (ValueError,),
            ("workers",),
        )
    for given in (True, 1.5, "2", [2]):
        yield Input(
            f"workers={given!r}",
            lambda b, out, w=given: _sum(b, out, workers=w),
            (TypeError,),
            ("workers",),
        )
    yield Input(
        "where",
        lambda b, out: _sum(b, out, where=np.ones(5, bool)),
        (ValueError,),
        ("where", "(5,)"),
    )
    yield Input(
        "where of numbers",
        lambda b, out: _sum(b, out, where=A),
        (TypeError,),
        ("where", "float64"),
    )
    yield Input("initial", lambda b, out: _sum(b, out, initial=X), (ValueError,), ("initial", "(4,)"))
    yield Input("initial of text", lambda b, out: _sum(b, out, initial="1"), (TypeError,), ("initial",))


def _is_said(word: str, message: str) -> bool:
    """Whether a message has a word; the name of an argument must come first, after that of the function."""
    if word in ARGUMENTS:  # "a" and "x" are in every message
        return re.match(rf"(\w+: )?{word}( has | is | cannot |=|: )", message) is not None
    return word in message


def main(backend: str, fault: str = "") -> None:
    """Print the failures, then n/N, then "ok"."""
    failed = []
    total = 0
    seeded = [Input("seeded", lambda b, out: pla.psum(A, backend=b), BOTH, ())] if fault else []
    for one in (*inputs(), *seeded):
        total += 1
        out = np.full(3, POISON)
        try:
            one.call(backend, out)
        except one.kinds as error:
            lost = [word for word in one.words if not _is_said(word, str(error))]
            if lost:
                failed.append(f"{one.name}: {type(error).__name__}({error}) does not say {lost}")
        except BaseException as error:  # noqa: BLE001  whatever else it is, it is told
            failed.append(f"{one.name}: {type(error).__name__}: {error}")
        else:
            failed.append(f"{one.name}: nothing was raised")
        if not (out == POISON).all():
            failed.append(f"{one.name}: out was written")
    for line in failed:
        print(line)
    print(f"{total - len(failed)}/{total}")
    print("ok" if not failed else "not all")
    assert not failed


if __name__ == "__main__":
    main(*sys.argv[1:])
