"""Calls that are drawn at random, against NumPy's: the slower ones first, then geometric means.

    python docs/measurements/drawn.py [--calls 400] [--seed 0] [--most 3000000]

Functions, options, dtypes, layouts, dimensions and sizes that no one has chosen. Contenders take turns, as in grid.py;
a call that seems slower is measured again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from statistics import geometric_mean
from typing import Any, NamedTuple

import numpy as np
from grid import Call, seconds_of

import parlinalg

DTYPES = ("f8", "f4", "c16", "c8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u1", "?")
LAYOUTS = ("C", "C", "C", "F", "sliced", "flipped", "permuted")
SLOWER = 0.95


class Pair(NamedTuple):
    """A call, and its counterpart in NumPy."""

    name: str
    ours: Call
    theirs: Call


class Draw:
    """What a call is made of, at random."""

    def __init__(self, seed: int, most: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.most = most

    def one_of(self, *things: Any) -> Any:
        return things[self.rng.integers(len(things))]

    def shape(self, ndim: int) -> tuple[int, ...]:
        """Of 1 to `most` elements, all orders of magnitude alike; how they are shared out is drawn, too."""
        shares = self.rng.random(ndim)
        size = 10 ** self.rng.uniform(0, math.log10(self.most))
        return tuple(max(1, round(size**share)) for share in shares / shares.sum())

    def array(self, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, str]:
        """Of small numbers, and how it lies."""
        layout = self.one_of(*LAYOUTS)
        order = self.rng.permutation(len(shape))
        if layout == "F":
            order = np.arange(len(shape))[::-1]
        elif layout != "permuted":
            order = np.arange(len(shape))
        step = 2 if layout == "sliced" else 1
        numbers = self._numbers(tuple(step * shape[k] for k in order), np.dtype(dtype))
        array = numbers.transpose(np.argsort(order))[(slice(None, None, step),) * len(shape)]
        return array[(slice(None, None, -1),) * len(shape)] if layout == "flipped" else array, layout

    def _numbers(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if dtype.kind in "biu":
            return self.rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
        drawn = self.rng.standard_normal(shape)
        return (drawn + 1j * drawn[::-1] if dtype.kind == "c" else drawn).astype(dtype)


def a_sum(draw: Draw) -> Pair:
    dtype, ndim = draw.one_of(*DTYPES), draw.one_of(1, 1, 2, 2, 3, 4)
    a, layout = draw.array(draw.shape(ndim), dtype)
    options: dict[str, Any] = {}
    if draw.one_of(True, False):
        axes = [int(k) for k in draw.rng.permutation(ndim)[: draw.rng.integers(1, ndim + 1)]]
        options["axis"] = axes[0] if len(axes) == 1 else tuple(axes)
        options["keepdims"] = draw.one_of(True, False)
    said = draw.one_of("nothing", "nothing", "dtype", "where", "initial")
    if said == "dtype":
        options["dtype"] = "c16" if dtype[0] == "c" else draw.one_of("f8", "f4")
    elif said == "where":
        options["where"] = draw.rng.random(a.shape) < 0.5
    elif said == "initial":
        options["initial"] = 3
    told = " ".join(f"{key}={'mask' if key == 'where' else value}" for key, value in options.items())
    return Pair(
        f"psum {dtype} {a.shape} {layout} {told}", lambda: parlinalg.psum(a, **options), lambda: np.sum(a, **options)
    )


def a_matvec(draw: Draw) -> Pair:
    dtype, ndim = draw.one_of(*DTYPES), draw.one_of(2, 2, 2, 3)
    shape = draw.shape(ndim)
    A, layout = draw.array(shape, dtype)
    x, of_x = draw.array(draw.one_of(shape[-1:], (*shape[:-2], shape[-1])), draw.one_of(dtype, dtype, *DTYPES))
    options: dict[str, Any] = {}
    said = draw.one_of("nothing", "nothing", "dtype", "out")
    wider = np.result_type(A, x)
    if said == "out":
        options["out"] = np.empty(np.matvec(A, x).shape, wider)
    elif said == "dtype":
        options["dtype"] = np.result_type(wider, np.int64 if wider.kind in "biu" else np.float64)
    name = f"matvec {dtype} {A.shape} {layout} by {x.dtype} {x.shape} {of_x} {' '.join(options)}"
    return Pair(name, lambda: parlinalg.matvec(A, x, **options), lambda: np.matvec(A, x, **options))


def a_vecdot(draw: Draw) -> Pair:
    dtype, shape = draw.one_of(*DTYPES), draw.shape(draw.one_of(1, 2, 2))
    x, of_x = draw.array(shape, dtype)
    y, of_y = draw.array(draw.one_of(shape, shape[-1:]), dtype)
    name = f"vecdot {dtype} {x.shape} {of_x} by {y.shape} {of_y}"
    return Pair(name, lambda: parlinalg.vecdot(x, y), lambda: np.vecdot(x, y))


def a_vecmat(draw: Draw) -> Pair:
    dtype, shape = draw.one_of(*DTYPES), draw.shape(2)
    A, layout = draw.array(shape, dtype)
    x, of_x = draw.array(shape[:1], dtype)
    name = f"vecmat {dtype} {A.shape} {layout} by {of_x}"
    return Pair(name, lambda: parlinalg.vecmat(x, A), lambda: np.vecmat(x, A))


def an_operator(draw: Draw) -> Pair:
    dtype, shape = draw.one_of(*DTYPES), draw.shape(2)
    A, layout = draw.array(shape, dtype)
    X, of_X = draw.array((shape[1], draw.one_of(2, 8, 64)), dtype)
    op = parlinalg.operator(A)
    return Pair(f"operator {dtype} {A.shape} {layout} @ {X.shape} {of_X}", lambda: op @ X, lambda: A @ X)


def pairs(number: int, seed: int, most: float) -> Iterator[Pair]:
    draw = Draw(seed, most)
    for _ in range(number):
        yield draw.one_of(a_sum, a_sum, a_sum, a_matvec, a_matvec, a_vecdot, a_vecmat, an_operator)(draw)


def ratio_of(pair: Pair) -> tuple[float, float]:
    """How many times as fast it is as NumPy, and its seconds."""
    for _ in range(2):
        seconds = seconds_of({"ours": pair.ours, "theirs": pair.theirs})
        ratio = seconds["theirs"] / seconds["ours"]
        if ratio >= SLOWER:
            break
    return ratio, seconds["ours"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=3e6, help="elements of an array")
    arguments = parser.parse_args()
    with np.errstate(all="ignore"):
        drawn = pairs(arguments.calls, arguments.seed, arguments.most)
        found = sorted((*ratio_of(pair), pair.name) for pair in drawn)
    slower = [one for one in found if one[0] < SLOWER]
    for ratio, seconds, name in slower:
        print(f"{ratio:5.2f} {seconds * 1e6:10.2f} us  {name}")
    print(f"{len(slower)} of {len(found)} calls are more than 5 % slower than NumPy's")
    for kind in sorted({name.split()[0] for _, _, name in found}):
        ratios = [ratio for ratio, _, name in found if name.split()[0] == kind]
        print(f"{kind:8} {len(ratios):4} calls, {geometric_mean(ratios):.2f} times as fast")


if __name__ == "__main__":
    main()
