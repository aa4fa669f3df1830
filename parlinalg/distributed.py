"""``DistributedArray``: a vector of which each rank has a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .api import vecdot
from .backends._base import Backend
from .dispatch import collective, with_ranks
from .exact import round_states
from .operands import as_operand
from .partial import PartialSum
from .products import product_states
from .split import blocks

if TYPE_CHECKING:
    from .backends._mpi import MPI

__all__ = ["DistributedArray"]

Array = NDArray[Any]


class DistributedArray(NDArrayOperatorsMixin):
    """A vector, or a matrix with few columns, of which each rank of the mpi backend has some rows.

    Made by `from_local`, by `of`, or by a product of an `operator` with one. NumPy's elementwise functions and
    arithmetic work on the local parts, with scalars and with arrays that are distributed alike, and send nothing.

    Parameters
    ----------
    local : ndarray
        The rows of this rank, contiguous; the attribute `local`.
    counts : tuple of int
        How many rows each rank has; the attribute `counts`. Their sum is the first element of `shape`.
    backend : MPI
        Whose ranks they are.

    Examples
    --------
    >>> import parlinalg
    >>> v = parlinalg.DistributedArray.from_local([3.0, 4.0])  # on one rank, so that this is all of it
    >>> float((2 * v).norm())
    10.0
    """

    def __init__(self, local: Array, counts: tuple[int, ...], backend: MPI) -> None:
        self.local = local
        self.counts = counts
        self.shape = (sum(counts), *local.shape[1:])
        self._backend = backend

    @classmethod
    @collective
    def from_local(cls, local: ArrayLike, *, backend: str | Backend = "mpi") -> DistributedArray:
        """The array whose rows the ranks have already. Collective.

        Parameters
        ----------
        local : array_like, shape (n of this rank,) or (n of this rank, k)
            Copied if it is not contiguous, or not in native byte order.
        backend : str or MPI

        Returns
        -------
        DistributedArray

        Raises
        ------
        ValueError
            On every rank, if dtypes or numbers of columns differ.
        """
        function = "DistributedArray.from_local"
        rows = as_operand(function, "local", local)
        if rows.ndim not in (1, 2):
            raise ValueError(
                f"DistributedArray.from_local: local has shape {rows.shape}; it must have 1 or 2 dimensions"
            )
        rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))
        ranks = with_ranks(function, backend)
        ranks.agree(f"{function}: {rows.dtype}, shape (..., {rows.shape[1:]})")
        return cls(rows, ranks.counts_of(len(rows)), ranks)

    @classmethod
    @collective
    def of(
        cls, a: ArrayLike, *, counts: tuple[int, ...] | None = None, backend: str | Backend = "mpi"
    ) -> DistributedArray:
        """An array that every rank has, of which each keeps some rows. Collective.

        Parameters
        ----------
        a : array_like, shape (n,) or (n, k)
            Of a memory map, each rank reads its own rows only.
        counts : sequence of int, optional
            How many rows each rank keeps. None: blocks whose lengths differ by at most one.
        backend : str or MPI

        Returns
        -------
        DistributedArray
        """
        function = "DistributedArray.of"
        array = a if type(a) is np.memmap else as_operand(function, "a", a)
        if array.ndim not in (1, 2):
            raise ValueError(f"{function}: a has shape {array.shape}; it must have 1 or 2 dimensions")
        as_operand(function, "a", array)
        ranks = with_ranks(function, backend)
        if counts is None:
            counts = tuple(len(block) for block in blocks(len(array), ranks.ranks.size))
        size = ranks.ranks.size
        if len(counts) != size or min(counts) < 0 or sum(counts) != len(array):
            raise ValueError(
                f"{function}: counts is {tuple(counts)}; it must have {size} numbers, whose sum is {len(array)}"
            )
        ranks.agree(f"{function}: {array.dtype}, shape {array.shape}, counts {tuple(counts)}")
        first = sum(counts[: ranks.ranks.rank])
        own = array[first : first + counts[ranks.ranks.rank]]
        return cls(np.array(own, own.dtype.newbyteorder("="), order="C", subok=False), tuple(counts), ranks)

    @property
    def dtype(self) -> np.dtype:
        """That of the elements."""
        return self.local.dtype

    @property
    def ndim(self) -> int:
        """1 or 2."""
        return self.local.ndim

    def __len__(self) -> int:
        return sum(self.counts)

    def copy(self) -> DistributedArray:
        """A copy, distributed alike."""
        return self.like(self.local.copy())

    def gather(self) -> Array:
        """The whole array, on every rank. Collective."""
        with self._backend.rounds.turn():
            whole = self._backend.ranks.allgather(self.local, self.counts)
        return whole.copy() if whole is self.local else whole

    def dot(self, other: DistributedArray, *, exact: bool = False) -> Any:
        """``sum(conj(self) * other)``, on every rank. Collective.

        Parameters
        ----------
        other : DistributedArray
            Distributed alike.
        exact : bool
            Round the exact result once, so that its bits do not depend on the number of ranks.

        Returns
        -------
        scalar
        """
        self._require_vector("dot", other)
        dtype = np.result_type(self.dtype, other.dtype)
        call = f"DistributedArray.dot: {self.shape}, {self.dtype}, {other.dtype}, exact={exact}"
        if exact and dtype.kind in "fc":
            return self._exact_dot(other, dtype, call)
        threads = self._backend.threads
        wide = np.dtype(np.float32) if dtype == np.float16 else dtype
        total = self._backend.add_up(
            call, lambda: np.array([vecdot(self.local, other.local, dtype=wide, backend="auto", workers=threads)], wide)
        )
        return total.astype(dtype)[0]

    def norm(self, *, exact: bool = False) -> Any:
        """The Euclidean norm, the root of ``dot(self, self)``. Collective.

        Parameters
        ----------
        exact : bool
            As in `dot`.

        Returns
        -------
        scalar
            In float64 of integers.
        """
        x = self if self.dtype.kind in "fc" else self.like(self.local.astype(np.float64))
        return np.sqrt(x.dot(x, exact=exact).real)

    def sum(self, dtype: DTypeLike | None = None) -> Any:
        """The sum of all elements, rounded once: the same bits as `psum` of the whole array. Collective.

        Parameters
        ----------
        dtype : dtype, optional
            As in `psum`.

        Returns
        -------
        scalar
        """
        partial: list[PartialSum] = []

        def state() -> NDArray[np.int64]:
            threads = self._backend.threads
            partial.append(PartialSum.of(self.local, dtype, backend="auto", workers=threads))
            return partial[0].state.copy()

        total = self._backend.add_up(f"DistributedArray.sum: {self.shape}, {self.dtype}, dtype={dtype}", state)
        return PartialSum(total, partial[0].dtype).round()

    def __matmul__(self, other: Any) -> Any:
        """``sum(self * other)`` of two vectors, as NumPy: without conjugation."""
        if not isinstance(other, DistributedArray):
            return NotImplemented
        return (self.conj() if self.dtype.kind == "c" else self).dot(other)

    def conj(self) -> DistributedArray:
        """The complex conjugate."""
        return self.like(self.local.conj())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", ())
        if method != "__call__" or ufunc.signature is not None or options.keys() & {"where", "axis", "axes"}:
            return NotImplemented
        if not all(self._fits(one) for one in (*inputs, *out)):
            return NotImplemented
        if out:
            options["out"] = tuple(one.local for one in out)
        results = ufunc(*(one.local if isinstance(one, DistributedArray) else one for one in inputs), **options)
        if out:
            return out[0] if len(out) == 1 else out
        return tuple(map(self.like, results)) if isinstance(results, tuple) else self.like(results)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise TypeError(
            "a DistributedArray is not converted to an array by itself, as all ranks must do it: call gather()"
        )

    def __repr__(self) -> str:
        return f"<DistributedArray, shape {self.shape}, {self.dtype}, {len(self.local)} rows of it on this rank>"

    def like(self, local: Array, counts: tuple[int, ...] | None = None) -> DistributedArray:
        """Another array on the same ranks.

        Parameters
        ----------
        local : ndarray
            The rows of this rank.
        counts : tuple of int, optional
            How many rows each rank has. None: as many as of this array.

        Returns
        -------
        DistributedArray
        """
        return DistributedArray(local, self.counts if counts is None else counts, self._backend)

    def require(self, function: str, ndim: int, counts: tuple[int, ...]) -> None:
        """Raise unless this array is distributed as an operator wants its operand.

        Parameters
        ----------
        function : str
            That the error names.
        ndim : int
        counts : tuple of int

        Raises
        ------
        ValueError
            If it has another number of dimensions, or other rows on the ranks.
        """
        if self.ndim != ndim:
            raise ValueError(f"{function}: x has shape {self.shape}; it must have {ndim} dimensions")
        if self.counts != counts:
            raise ValueError(
                f"{function}: the ranks have {self.counts} rows of x; the operator takes {counts}. Make it so: "
                f"DistributedArray.of(x.gather(), counts={counts})"
            )

    def _fits(self, other: Any) -> bool:
        if not isinstance(other, DistributedArray):
            return np.ndim(other) == 0
        self._require_alike(other)
        return True

    def _require_alike(self, other: DistributedArray) -> None:
        if other.counts != self.counts or other._backend.ranks is not self._backend.ranks:
            raise ValueError(
                f"arrays are distributed differently: ranks have {self.counts} rows of one and {other.counts} rows of "
                "the other. Make one like the other: DistributedArray.of(other.gather(), counts=one.counts)"
            )

    def _require_vector(self, name: str, other: DistributedArray) -> None:
        if not isinstance(other, DistributedArray):
            raise TypeError(f"{name}: other is a {type(other).__name__}; it must be a DistributedArray")
        if self.ndim != 1 or other.ndim != 1:
            raise ValueError(f"{name}: the shapes are {self.shape} and {other.shape}; both must have 1 dimension")
        self._require_alike(other)

    def _exact_dot(self, other: DistributedArray, dtype: np.dtype, call: str) -> Any:
        x, y, threads = self.local.conj(), other.local, self._backend.threads
        states = self._backend.add_up(call, lambda: product_states(y[np.newaxis], x, dtype, threads)[0])
        return round_states(states, dtype.type(0).real.dtype).view(dtype)[0]
