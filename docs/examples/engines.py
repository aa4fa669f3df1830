"""What a product on engines costs beside its computation, and beside how the lecture does it.

    python docs/examples/engines.py [--quick]

Starts two engines of IPython. The lecture's way: the matrix is pushed to the engines once, by blocks of rows; each
product pushes x, executes a line of code there, and gathers y. Contenders take turns. Medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import parlinalg
from parlinalg.backends import IPyParallel
from parlinalg.backends._cluster import OwnCluster

ENGINES = 2
ROUNDS = 21


def lecture(client: Any, A: Any) -> Callable[[Any], Any]:
    """`push`, `execute` and `gather`, with the blocks of A already on the engines."""
    view = client[:]
    view.block = True
    view.execute("import numpy as np")
    view.scatter("A", A)

    def product(x: Any) -> Any:
        view.push({"x": x})
        view.execute("y = np.dot(A, x)")
        return view.gather("y")

    return product


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, and fewer rounds")
    quick = parser.parse_args().quick
    n, rounds = (400, 5) if quick else (4000, ROUNDS)
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((n, n)), rng.standard_normal(n)
    cluster = OwnCluster(ENGINES)
    try:
        with (
            IPyParallel(client=cluster.client) as backend,
            parlinalg.operator(A, backend=backend) as engines,
            parlinalg.operator(A, backend="openmp", workers=ENGINES) as threads,
        ):
            contenders = {
                "openmp, 2 threads": threads.matvec,
                "ipyparallel, 2 engines": engines.matvec,
                "push, execute, gather": lecture(cluster.client, A),
            }
            times: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(rounds):
                for name, product in contenders.items():
                    time.sleep(0.1)
                    start = time.perf_counter()
                    y = product(x)
                    times[name].append(time.perf_counter() - start)
                    np.testing.assert_allclose(y, A @ x, atol=1e-9 * n)
            placing = engines.stats().seconds_placing
    finally:
        cluster.close()
    for name, seconds in times.items():
        print(f"{name:24} {n} x {n}: {np.median(seconds) * 1e3:8.2f} ms")
    print(f"{'placing on engines':24} {n} x {n}: {placing * 1e3:8.2f} ms")


if __name__ == "__main__":
    main()
