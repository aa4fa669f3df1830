"""Conjugate gradients on distributed vectors: each rank has some rows of the matrix, and the same of each vector.

    mpiexec -n 4 python docs/examples/conjugate_gradient.py [N]

Solves the radial basis function interpolation of N scattered points, a dense symmetric positive definite system, and
compares the solution with SciPy's. Each rank makes its own rows: the matrix is never in one place. Exit status 1 if
they do not agree.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from mpi4py import MPI
from scipy.linalg import cho_factor, cho_solve

import parlinalg
from parlinalg import DistributedArray, Operator
from parlinalg.split import blocks

RIDGE = 1e-3  # added to the diagonal, as for data with noise
WIDTH = 0.2  # of the Gaussian
TOLERANCE = 1e-10  # of the residual, relative to the right-hand side
AGREEMENT = 1e-6  # of the two solutions, relative


def kernel_rows(points: Any, rows: range) -> Any:
    """Rows of the kernel matrix of these points."""
    some = points[rows.start : rows.stop]
    distances = (some**2).sum(1)[:, np.newaxis] + (points**2).sum(1) - 2 * some @ points.T
    K = np.exp(-distances / (2 * WIDTH**2))
    K[np.arange(len(some)), np.arange(rows.start, rows.stop)] += RIDGE
    return K


def conjugate_gradient(A: Operator, b: DistributedArray) -> tuple[DistributedArray, int]:
    """Solve ``A @ x = b`` (Hestenes, Stiefel 1952); nothing but two dot products and A's product communicates."""
    x = 0 * b
    residual = b.copy()
    direction = residual.copy()
    rho = residual @ residual
    goal = TOLERANCE * b.norm()
    for step in range(10 * len(b)):
        if np.sqrt(rho) <= goal:
            return x, step
        product = A @ direction
        alpha = rho / (direction @ product)
        x += alpha * direction
        residual -= alpha * product
        rho, before = residual @ residual, rho
        direction = residual + (rho / before) * direction
    raise ArithmeticError(f"no convergence: the residual is {np.sqrt(rho):.1e}, to be below {goal:.1e}")


def main(n: int = 1500) -> int:
    """Solve a system of n equations; return the exit status."""
    rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    rng = np.random.default_rng(1952)
    points, values = rng.random((n, 2)), rng.standard_normal(n)
    mine = blocks(n, size)[rank]
    start = time.perf_counter()
    with parlinalg.operator.from_local(kernel_rows(points, mine)) as A:
        x, steps = conjugate_gradient(A, DistributedArray.from_local(values[mine.start : mine.stop]))
    seconds = time.perf_counter() - start
    solution = x.gather()
    if rank != 0:
        return 0
    expected = cho_solve(cho_factor(kernel_rows(points, range(n))), values)
    far = np.linalg.norm(solution - expected) / np.linalg.norm(expected)
    print(f"{n} equations on {size} ranks: {steps} steps, {seconds:.2f} s, differs from SciPy's solution by {far:.0e}")
    return 0 if far <= AGREEMENT else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
