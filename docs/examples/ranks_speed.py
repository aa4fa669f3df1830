"""How fast products and sums are on ranks, where each has its part.

    mpiexec -n 2 python docs/examples/ranks_speed.py [--quick]

Without mpiexec, and with ``--threads 2``, the same on the threads of one process. Medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

import parlinalg
from parlinalg import DistributedArray
from parlinalg.backends import MPI as Ranks
from parlinalg.split import blocks


def median(call: Callable[[], object], calls: int) -> float:
    """Seconds of one call, in which all ranks begin together."""
    times = []
    for _ in range(calls):
        MPI.COMM_WORLD.Barrier()
        start = MPI.Wtime()
        call()
        times.append(MPI.Wtime() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="of each rank; default: its share of the processors")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    arguments = parser.parse_args()
    backend = Ranks(threads=arguments.threads)
    rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    n = 800 if arguments.quick else 8000
    rng = np.random.default_rng(rank)
    x = np.random.default_rng(1).standard_normal(n)
    results = {}
    with parlinalg.operator.from_local(rng.standard_normal((len(blocks(n, size)[rank]), n)), backend=backend) as A:
        v = DistributedArray.of(x, backend=backend)
        results[f"{n} x {n}, whole vectors"] = median(lambda: A @ x, 15)
        results[f"{n} x {n}, distributed vectors"] = median(lambda: A @ v, 15)
    length = 6250 * n // size
    a = DistributedArray.from_local(rng.standard_normal(length), backend=backend)
    results[f"psum of {size * length:,}"] = median(lambda: parlinalg.psum(a), 15)
    small, few = np.ones((8, 8)), DistributedArray.of(np.ones(8), backend=backend)
    with parlinalg.operator(small, backend=backend) as S:
        results["8 x 8, resident"] = median(lambda: S @ small[0], 300)
    results["8 x 8, matvec"] = median(lambda: parlinalg.matvec(small, small[0], backend=backend), 300)
    results["dot of 8"] = median(lambda: few @ few, 300)
    if rank == 0:
        for name, seconds in results.items():
            print(f"{name:32} {size} ranks x {backend.threads} threads: {seconds * 1e6:10.1f} us")


if __name__ == "__main__":
    main()
