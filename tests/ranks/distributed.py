"""Distributed arrays, operators of rows that ranks have already, and messages in chunks; on every rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mpi4py import MPI as mpi4py_MPI
from numpy.typing import NDArray

import parlinalg as pla
from parlinalg import DistributedArray
from parlinalg.backends import MPI
from parlinalg.backends._ranks import Ranks
from parlinalg.testing import strategies as draw
from parlinalg.testing.checks import require_close, require_same_bits
from parlinalg.testing.oracle import exact_matvec, exact_sum

Array = NDArray[Any]

COMM = mpi4py_MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
GRIDS = [None, *((SIZE // q, q) for q in range(2, SIZE + 1) if SIZE % q == 0)]
BACKENDS = [MPI(grid=grid) for grid in GRIDS]

backends = st.sampled_from(BACKENDS)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.dtype(name) for name in ("f8", "f4", "c16", "i8", "i2")])


@st.composite
def deals(draw: st.DrawFn, most: int = 20) -> tuple[int, ...]:
    """How many rows each rank has; also none."""
    return tuple(draw(st.lists(st.integers(0, most), min_size=SIZE, max_size=SIZE)))


def mine(a: Array, counts: tuple[int, ...]) -> Array:
    first = sum(counts[:RANK])
    return a[first : first + counts[RANK]]


def numbers(seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return draw.fill(np.random.default_rng(seed), shape, dtype, draw.normal)


@given(counts=deals(), dtype=dtypes, seed=seeds, backend=backends)
def test_gathering_gives_what_was_dealt_out(counts: tuple[int, ...], dtype: Any, seed: int, backend: MPI) -> None:
    whole = numbers(seed, (sum(counts), 3), dtype)
    dealt = DistributedArray.of(whole, counts=counts, backend=backend)
    local = DistributedArray.from_local(mine(whole, counts), backend=backend)
    for one in (dealt, local):
        assert (one.shape, one.dtype, one.counts) == (whole.shape, whole.dtype, counts)
        require_same_bits(one.local, mine(whole, counts))
        require_same_bits(one.gather(), whole)


@given(counts=deals(), dtype=dtypes, seed=seeds)
def test_arithmetic_is_that_of_numpy(counts: tuple[int, ...], dtype: Any, seed: int) -> None:
    x, y = numbers(seed, (sum(counts),), dtype), numbers(seed + 1, (sum(counts),), dtype)
    v: Any
    w: Any
    v, w = (DistributedArray.of(one, counts=counts) for one in (x, y))
    with np.errstate(all="ignore"):
        require_same_bits((2 * v - w / 3 + v.conj()).gather(), 2 * x - y / 3 + x.conj())
        require_same_bits(np.abs(v).gather(), np.abs(x))
        quotient, remainder = np.divmod(v, 7) if dtype.kind == "i" else (v, w)
        v += w
        require_same_bits(v.gather(), x + y)
        if dtype.kind == "i":
            require_same_bits(quotient.gather(), x // 7)
            require_same_bits(remainder.gather(), x % 7)


@given(counts=deals(), dtype=dtypes, seed=seeds)
def test_reductions(counts: tuple[int, ...], dtype: Any, seed: int) -> None:
    x, y = numbers(seed, (sum(counts),), dtype), numbers(seed + 1, (sum(counts),), dtype)
    v, w = (DistributedArray.of(one, counts=counts) for one in (x, y))
    with np.errstate(all="ignore"):
        require_same_bits(pla.psum(v), exact_sum(x).value)
        require_same_bits(v.sum(), pla.psum(x))
        require_same_bits(v.dot(w, exact=True), pla.vecdot(x, y, exact=True))
        require_close(np.atleast_1d(v.dot(w)), exact_matvec(y[np.newaxis], x.conj()), "dot")
        require_close(np.atleast_1d(v @ w), exact_matvec(y[np.newaxis], x), "@")
        if dtype.kind in "fc":
            np.testing.assert_allclose(v.norm(), np.sqrt(v.dot(v).real), rtol=1e-6)
        np.testing.assert_allclose(v.norm(), np.linalg.norm(x), rtol=1e-4)


@given(rows=deals(), columns=deals(), dtype=dtypes, seed=seeds, backend=backends, exact=st.booleans())
def test_products_of_distributed_operands(
    rows: tuple[int, ...], columns: tuple[int, ...], dtype: Any, seed: int, backend: MPI, exact: bool
) -> None:
    m, n = sum(rows), sum(columns)
    A, x, z = (numbers(seed + i, shape, dtype) for i, shape in enumerate(((m, n), (n,), (m,))))
    with np.errstate(all="ignore"), pla.operator(A, backend=backend, exact=exact) as op:
        v, w = DistributedArray.of(x, backend=backend), DistributedArray.of(z, backend=backend)
        products = [(op @ v, A, x), (op.H @ w, A.conj().T, z), (op.rmatvec(w), A.conj().T, z), (op.T @ w, A.T, z)]
        for product, B, y in products:
            require_close(product.gather(), exact_matvec(B, y), "product")
            if exact:
                require_same_bits(product.gather(), pla.matvec(B, y, exact=True))
        X = np.stack([x, x[::-1]], axis=1)
        Y = op @ DistributedArray.of(X, backend=backend)
        for column in range(2):
            require_close(Y.gather()[:, column], exact_matvec(A, X[:, column]), "matrix")


@given(rows=deals(), n=st.integers(0, 20), dtype=dtypes, seed=seeds, square=st.booleans())
def test_operators_of_rows_that_ranks_have(rows: tuple[int, ...], n: int, dtype: Any, seed: int, square: bool) -> None:
    m = sum(rows)
    n = m if square else n
    A, x, z = (numbers(seed + i, shape, dtype) for i, shape in enumerate(((m, n), (n,), (m,))))
    with np.errstate(all="ignore"), pla.operator.from_local(np.asfortranarray(mine(A, rows))) as op:
        assert op.shape == (m, n)
        require_close(op @ x, exact_matvec(A, x), "replicated")
        require_close(op.rmatvec(z), exact_matvec(A.conj().T, z), "replicated, adjoint")
        v = DistributedArray.of(x, counts=rows) if square else DistributedArray.of(x)
        y = op @ v
        assert y.counts == rows
        require_close(y.gather(), exact_matvec(A, x), "distributed")
        require_close((op.H @ y).gather(), exact_matvec(A.conj().T, y.gather()), "back")


@given(counts=deals(), most=st.integers(8, 40), dtype=dtypes, seed=seeds)
def test_messages_in_chunks(counts: tuple[int, ...], most: int, dtype: Any, seed: int) -> None:
    """As of more than 2**31 bytes, where MPI counts with int."""
    whole = numbers(seed, (sum(counts), 2), np.dtype(np.int64))
    for ranks in (Ranks(COMM, 2 * most), Ranks(COMM)):
        require_same_bits(ranks.allgather(mine(whole, counts), counts), whole)
        total = whole.copy()
        ranks.add(total)
        require_same_bits(total, SIZE * whole)
        require_same_bits(ranks.add_scatter(whole, counts), SIZE * mine(whole, counts) if SIZE > 1 else whole)


@given(order=st.permutations(range(SIZE)), a=npst.arrays(np.float64, st.integers(0, 50), elements=st.floats(-1e9, 1e9)))
def test_any_communicator(order: list[int], a: Array) -> None:
    comm = COMM.Split(RANK % 2, order[RANK])
    backend = MPI(comm)
    require_same_bits(pla.psum(a, backend=backend), exact_sum(a).value)
    assert MPI(comm).ranks.comm == backend.ranks.comm, "duplicated twice"
    comm.Free()


def test_communicators_are_not_used_up() -> None:
    for _ in range(3000):  # an MPI library has some 2000 at a time
        comm = COMM.Split(0, RANK)
        MPI(comm)
        comm.Free()


def test_different_distributions_do_not_mix() -> None:
    v = DistributedArray.of(np.ones(SIZE))
    w = DistributedArray.of(np.ones(SIZE), counts=(SIZE, *[0] * (SIZE - 1)))
    if SIZE > 1:
        with pytest.raises(ValueError, match="distributed differently"):
            v + w
        with pytest.raises(ValueError, match="the operator takes"):
            pla.operator(np.eye(SIZE), backend="mpi") @ w
    with pytest.raises(TypeError, match="gather"):
        np.asarray(v)
    with pytest.raises(TypeError, match="Use backend='mpi'"):
        pla.operator(np.eye(SIZE), backend="openmp") @ v
    with pytest.raises(ValueError, match="pass nothing else"):
        pla.psum(v, backend="openmp")
