"""Ranks that disagree: run by mpiexec, ``ranks.py CASE``; every rank must raise, and the next call be right."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import parlinalg as pla
from parlinalg.registry import default_instance

backend: Any = default_instance("mpi")
RANK, SIZE = backend.rank, backend.ranks.size
A, X = np.arange(48.0).reshape(8, 6), np.arange(6.0)


def mine(*values: Any) -> Any:
    """What this rank passes: the last one differs."""
    return values[1] if RANK == SIZE - 1 else values[0]


DISAGREEMENTS: dict[str, Callable[[], Any]] = {
    "operation": lambda: mine(pla.psum, lambda a, backend: pla.matvec(a, X, backend=backend))(A, backend=backend),
    "shape": lambda: pla.matvec(A[: mine(8, 7)], X, backend=backend),
    "columns": lambda: pla.matvec(A[:, : mine(6, 5)], X[: mine(6, 5)], backend=backend),
    "dtype": lambda: pla.matvec(A.astype(mine("f8", "i8")), X, backend=backend),
    "dtype of the result": lambda: pla.psum(A, dtype=mine("f8", "f4"), backend=backend),
    "axis": lambda: pla.psum(A, axis=mine(0, 1), backend=backend),
    "keepdims": lambda: pla.psum(A, axis=0, keepdims=mine(False, True), backend=backend),
    "exact": lambda: pla.matvec(A, X, exact=mine(False, True), backend=backend),
    "transposed shapes": lambda: pla.matvec(mine(A[:6, :6], A[:6, :6].reshape(1, 6, 6)), X, backend=backend),
    "an argument": lambda: pla.matvec(A, mine(X, None), backend=backend),
    "an operator": lambda: pla.operator(A[: mine(8, 4)], backend=backend),
    "a product": lambda: _product_that_differs(),
    "parts": lambda: pla.operator.from_local(A[:, : mine(6, 5)], backend=backend),
}


def _product_that_differs() -> Any:
    with pla.operator(A, backend=backend) as op:
        return op @ mine(X, np.ones((6, 2)))


def main(case: str) -> None:
    """Raise where no error came, or the next call is wrong."""
    if case == "nothing":  # what a driver must see
        print("silent", flush=True)
        return
    raised = ""
    try:
        DISAGREEMENTS[case]()
    except (ValueError, TypeError) as error:
        raised = type(error).__name__
    assert pla.psum(np.full(3, 2.0), backend=backend) == 6
    assert np.allclose(pla.matvec(A, X, backend=backend), A @ X)
    os.write(1, f"rank {RANK} {'raised' if raised else 'is silent'} {raised}\n".encode())  # in one piece
    if not raised:
        os._exit(1)


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print(*DISAGREEMENTS, sep="\n")
    else:
        main(sys.argv[1])
