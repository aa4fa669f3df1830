"""Arrays as users have them: every dtype, shape, memory layout and range of values, for hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = [
    "INEXACT_DTYPES",
    "INTEGER_DTYPES",
    "LAYOUTS",
    "PRODUCT_DTYPES",
    "SUM_DTYPES",
    "SUM_VALUES",
    "Product",
    "Sum",
    "arrays",
    "fill",
    "garbage",
    "lay_out",
    "normal",
    "products",
    "seeds",
    "small_integers",
    "special",
    "sums",
]

Array = NDArray[Any]
DType = np.dtype[Any]
Shape = tuple[int, ...]

INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float64", "float32", "float16")
COMPLEX = ("complex128", "complex64")
SUM_DTYPES = tuple(map(np.dtype, (*FLOATS, *INTEGERS, *COMPLEX)))
PRODUCT_DTYPES = (*SUM_DTYPES, np.dtype(np.longdouble), np.dtype(np.clongdouble))
INEXACT_DTYPES = tuple(dtype for dtype in PRODUCT_DTYPES if dtype.kind in "fc")
INTEGER_DTYPES = tuple(map(np.dtype, INTEGERS))


# Layouts: each returns an array of the given values that lies in memory in another way.


def _sliced(a: Array) -> Array:
    space = garbage(tuple(2 * length + 1 for length in a.shape), a.dtype)
    view = space[(slice(1, None, 2),) * a.ndim]
    view[...] = a
    return view


def _padded(a: Array) -> Array:
    """Rows, or what the last axis is, longer than they need be: a leading dimension above n."""
    space = garbage((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
    view = space[..., 2:-1]
    view[...] = a
    return view


def _flipped(a: Array) -> Array:
    every = (slice(None, None, -1),) * a.ndim
    return a[every].copy()[every]


def _half_flipped(a: Array) -> Array:
    return a[..., ::-1].copy()[..., ::-1]


def _unaligned(a: Array) -> Array:
    space = np.full(a.nbytes + 1, 0xFF, np.uint8)
    view = space[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _swapped(a: Array) -> Array:
    return a.astype(a.dtype.newbyteorder())


def _read_only(a: Array) -> Array:
    view = a.copy()
    view.flags.writeable = False
    return view


def _rolled(a: Array) -> Array:
    """Axes in another order in memory; neither C nor Fortran from three axes on."""
    return np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0)


def garbage(shape: Shape, dtype: DType) -> Array:
    """Memory that shows when it is read by mistake: NaN in floats, the largest value in integers."""
    a = np.empty(shape, dtype)
    a.view(np.ndarray).reshape(-1).view(np.uint8)[...] = 0xFF if dtype.kind != "b" else 1
    return a


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "sliced": _sliced,
    "padded": _padded,
    "flipped": _flipped,
    "half flipped": _half_flipped,
    "rolled": _rolled,
    "unaligned": _unaligned,
    "byte-swapped": _swapped,
    "read-only": _read_only,
}


def lay_out(a: Array, layout: str) -> Array:
    """The values of `a` in another memory layout, one of `LAYOUTS`."""
    return LAYOUTS[layout](a) if a.ndim else a.copy()


def _broadcast(a: Array, axis: int) -> Array:
    """The first element along `axis` again and again, with stride zero."""
    if a.ndim == 0 or a.size == 0:
        return a
    axis %= a.ndim
    return np.broadcast_to(a.take([0], axis), a.shape)


# Values: from a seed, because thousands of drawn elements would make each example slow.


def small_integers(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Values whose products are exact in every dtype."""
    return rng.integers(-3, 4, size).astype(np.float64)


def normal(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Values of one magnitude."""
    return rng.standard_normal(size)


def _ill_scaled(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Over all the exponents of which products, and sums of a few thousand products, stay finite."""
    reach = max(3, _exponents(dtype) // 2 - 12)
    return np.ldexp(rng.standard_normal(size), rng.integers(-reach, reach, size))


def _tiny(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Subnormal numbers, and some that are not."""
    exponents = np.where(rng.random(size) < 0.8, -_exponents(dtype) - 3, 0)
    return np.ldexp(rng.standard_normal(size), exponents)


def _cancelling(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    half = np.ldexp(rng.standard_normal((size + 1) // 2), rng.integers(-9, 9, (size + 1) // 2))
    return rng.permutation(np.concatenate([half, -half]))[:size]


def _zeros(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    return rng.choice([0.0, -0.0], size)


VALUES = (small_integers, normal, _ill_scaled, _cancelling, _tiny, _zeros)


def _huge(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Up to the largest finite number, down to the smallest subnormal; for sums only."""
    reach = _exponents(dtype)
    values = np.ldexp(rng.uniform(-1, 1, size), rng.integers(-reach - 20, reach, size, endpoint=True))
    largest = float(np.finfo(_real(dtype)).max)
    extremes = rng.choice([largest, -largest, float(np.finfo(_real(dtype)).smallest_subnormal)], size)
    return np.where(rng.random(size) < 0.1, extremes, values)


def _ties(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Halfway between two numbers, but for something far below."""
    info = np.finfo(_real(dtype))
    half, least = 2.0 ** (-info.nmant - 1), float(info.smallest_subnormal)
    values = np.zeros(size)
    values[:3] = np.array([1.0, half, rng.choice([least, -least, 0.0])])[:size]
    return np.asarray(rng.permutation(values) * rng.choice([-1.0, 1.0]))


def special(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    """Small integers, infinities and NaN; not among the finite values that others draw."""
    values = rng.integers(-3, 4, size).astype(np.float64)
    strange = rng.random(size) < rng.choice([0.02, 0.2])
    return np.where(strange, rng.choice([np.inf, -np.inf, np.nan], size, p=[0.45, 0.45, 0.1]), values)


SUM_VALUES = (*VALUES, _huge, _ties)
Values = Callable[[np.random.Generator, int, DType], Array]


def _exponents(dtype: DType) -> int:
    """Of the largest number; the same for longdouble as for float64, where the values come from."""
    return min(int(np.finfo(_real(dtype)).maxexp), 1023)


def _real(dtype: DType) -> DType:
    return np.dtype(dtype.char.lower()) if dtype.kind == "c" else dtype


def fill(rng: np.random.Generator, shape: Shape, dtype: DType, values: Values) -> Array:
    """A contiguous array with what `values` makes; of bool and integers, random ones with extremes among them."""
    size = int(np.prod(shape))
    if dtype.kind == "b":
        return np.asarray(rng.random(size) < rng.choice([0.1, 0.5, 1.0])).reshape(shape)
    if dtype.kind in "iu":
        return _fill_integers(rng, size, dtype).reshape(shape)
    with np.errstate(over="ignore", under="ignore"):
        if dtype.kind == "f":
            return _within(values(rng, size, dtype), dtype).astype(dtype).reshape(shape)
        parts = np.stack([_within(values(rng, size, dtype), dtype) for _ in range(2)], axis=-1)
        return parts.astype(_real(dtype)).view(dtype).reshape(shape)


def _within(values: Array, dtype: DType) -> Array:
    """Without finite values that `dtype` would make infinite."""
    largest = float(min(np.finfo(_real(dtype)).max, np.finfo(np.float64).max))
    return np.where(np.isfinite(values), np.clip(values, -largest, largest), values)


def _fill_integers(rng: np.random.Generator, size: int, dtype: DType) -> Array:
    info = np.iinfo(dtype)
    if rng.random() < 0.5:
        return rng.integers(max(info.min, -3), 4, size).astype(dtype)
    extremes = rng.choice(np.array([info.min, info.max, 1], dtype), size)
    return np.where(rng.random(size) < 0.1, extremes, rng.integers(info.min, info.max, size, dtype, endpoint=True))


def seeds() -> st.SearchStrategy[np.random.Generator]:
    """Generators of random numbers that hypothesis can reproduce."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape,
    dtype: DType,
    values: Sequence[Values] = VALUES,
    layouts: Sequence[str] = (*LAYOUTS, "broadcast"),
) -> Array:
    """An array of `shape` and `dtype` in some layout, with some values.

    Parameters
    ----------
    values : functions (rng, size, dtype) -> float64 array, one of which makes the values of floats
    layouts : names in `LAYOUTS`, or ``"broadcast"``, which repeats the values along one axis with stride zero
    """
    a = fill(draw(seeds()), shape, dtype, draw(st.sampled_from(values)))
    layout = draw(st.sampled_from(layouts))
    if layout == "broadcast":
        return _broadcast(a, draw(st.integers(0, 3)))
    return lay_out(a, layout)


class _Shown:
    """What hypothesis prints of an example: the layout of its arrays, and of the small ones the values."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        fields = ", ".join(f"{name}={_described(value)}" for name, value in vars(self).items())
        printer.text(f"{type(self).__name__}({fields})")


@dataclass(frozen=True)
class Product(_Shown):
    """Operands of a matvec that fit together."""

    A: Array
    x: Array


@dataclass(frozen=True)
class Sum(_Shown):
    """Arguments of a psum that fit together."""

    a: Array
    axis: int | tuple[int, ...] | None
    keepdims: bool


def _described(a: Any) -> str:
    if not isinstance(a, np.ndarray):
        return repr(a)
    text = f"<{a.dtype.str} shape={a.shape} strides={a.strides} aligned={a.flags.aligned}>"
    return f"{text} {a.tolist()}" if a.size <= 40 else text


BATCHES: tuple[tuple[Shape, Shape], ...] = (
    ((), ()),
    ((), ()),
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((2,), (2,)),
    ((2, 1), (3,)),
    ((0,), ()),
    ((1,), (2, 1)),
)


def _sizes() -> st.SearchStrategy[tuple[int, int]]:
    """Rows and columns: fewer than workers, ordinary, and beyond the blocks in which kernels work."""
    few, some = st.integers(0, 7), st.integers(1, 40)
    many = st.sampled_from([255, 513, 1030])
    return st.one_of(
        st.tuples(few, few),
        st.tuples(some, some),
        st.tuples(st.integers(1, 6), many),
        st.tuples(many, st.integers(1, 3)),
    )


@st.composite
def products(
    draw: st.DrawFn, dtypes: Sequence[DType] = PRODUCT_DTYPES, values: Sequence[Values] = VALUES, batches: bool = True
) -> Product:
    """Operands of ``matvec``: any shapes that fit, and dtypes of which at least one is in `dtypes`."""
    m, n = draw(_sizes())
    A_batch, x_batch = draw(st.sampled_from(BATCHES)) if batches and m * n < 200 else ((), ())
    dtype = draw(st.sampled_from(dtypes))
    other = dtype if draw(st.booleans()) else draw(st.sampled_from(PRODUCT_DTYPES))
    A_dtype, x_dtype = (dtype, other) if draw(st.booleans()) else (other, dtype)
    A = draw(arrays((*A_batch, m, n), A_dtype, values))
    return Product(A, draw(arrays((*x_batch, n), x_dtype, values)))


def _shapes() -> st.SearchStrategy[Shape]:
    return st.one_of(
        st.lists(st.integers(0, 6), max_size=4).map(tuple),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.sampled_from([(2049,), (3, 700), (700, 3), (1, 1500)]),
    )


@st.composite
def sums(draw: st.DrawFn, dtypes: Sequence[DType] = SUM_DTYPES, values: Sequence[Values] = SUM_VALUES) -> Sum:
    """Arguments of ``psum``: any shape, dtype, layout and axes."""
    shape = draw(_shapes())
    a = draw(arrays(shape, draw(st.sampled_from(dtypes)), values))
    return Sum(a, draw(_axes(len(shape))), draw(st.booleans()))


def _axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    if ndim == 0:
        return st.sampled_from([None, ()])
    one = st.integers(-ndim, ndim - 1)
    some = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple)
    return st.one_of(st.none(), one, some)
