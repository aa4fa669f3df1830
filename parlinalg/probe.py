"""A look at this host of some milliseconds, where there is no profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _kernels
from .model import Candidate, Curve, Model

__all__ = ["scaled_to_this_host", "seconds_of_probe"]

SHAPE = 256, 512  # of float64: 1 MiB, which threads pay for everywhere
ONE_THREAD = Candidate("openmp", 1)
PAUSE = 0.003  # seconds, before what is different is looked at again
DIFFERENT = 1.4  # ratio of factors from which on it is taken
SECONDS = 0.006  # of tries for each; the fastest counts, since threads must find their processors, and others disturb


def scaled_to_this_host(model: Model, workers: int) -> Model:
    """The curves of a model as this host would have them: each by the factor of its candidate in one product.

    Where that hardly differs from the factor of one thread, this is taken: the probe is too short to tell more. Where
    it differs, also at a second look, it is taken, but the model is `doubted`.
    """
    factors = _factors(model, workers)
    doubted = _differ(factors)
    if doubted:
        time.sleep(PAUSE)  # threads may not have found processors of their own
        factors = {one: min(factors[one], again) for one, again in _factors(model, workers).items()}
        doubted = _differ(factors)
    if not doubted:
        factors = dict.fromkeys(factors, factors[ONE_THREAD])
    curves: dict[str, dict[Candidate, Curve]] = {kind: {} for kind in model.curves}
    for one, factor in factors.items():
        for kind, of_kind in model.curves.items():
            if _like(one) in of_kind:
                curves[kind][one] = of_kind[_like(one)].scaled(factor)
    return Model(curves, "built in, scaled by a probe of this host", doubted=doubted)


def _differ(factors: dict[Candidate, float]) -> bool:
    return not all(1 / DIFFERENT < one / factors[ONE_THREAD] < DIFFERENT for one in factors.values())


def _factors(model: Model, workers: int) -> dict[Candidate, float]:
    return {one: seconds / model.probe[_like(one)] for one, seconds in seconds_of_probe(workers).items()}


def _like(one: Candidate) -> Candidate:
    """What the model knows, of hosts with two processors."""
    return Candidate(one.backend, min(one.workers, 2))


def seconds_of_probe(workers: int) -> dict[Candidate, float]:
    """Of the fastest of a few products, by each candidate that needs no set-up."""
    A, x, out = np.ones(SHAPE), np.ones(SHAPE[1]), np.empty(SHAPE[0])
    calls: dict[Candidate, Callable[[], Any]] = {ONE_THREAD: lambda: _kernels.matvec(A, x, out, 1)}
    if workers > 1:
        calls[Candidate("openmp", workers)] = lambda: _kernels.matvec(A, x, out, workers)
    calls[Candidate("numpy", 1)] = lambda: np.matvec(A, x, out=out)
    return {one: _fastest(call) for one, call in calls.items()}


def _fastest(call: Callable[[], Any]) -> float:
    begin = end = time.perf_counter()
    least = float("inf")
    while end - begin < SECONDS:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        least = min(least, end - start)
    return least
