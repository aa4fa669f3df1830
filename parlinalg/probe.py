"""A look at this host of some milliseconds, where there is no profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _kernels
from .model import Candidate, Model

__all__ = ["scaled_to_this_host", "seconds_of_probe"]

SHAPE = 256, 512  # of float64: 1 MiB, which threads pay for everywhere
TRIES = 12  # of each; the fastest counts, since others may disturb


def scaled_to_this_host(model: Model, workers: int) -> Model:
    """The curves of a model as this host would have them: each by the factor of its candidate in one product."""
    here = seconds_of_probe(workers)
    curves = {
        kind: {
            one: of_kind[like].scaled(seconds / model.probe[like])
            for one, seconds in here.items()
            if (like := Candidate(one.backend, min(one.workers, 2))) in of_kind
        }
        for kind, of_kind in model.curves.items()
    }
    return Model(curves, "built in, scaled by a probe of this host")


def seconds_of_probe(workers: int) -> dict[Candidate, float]:
    """Of the fastest of a few products, by each candidate that needs no set-up."""
    A, x, out = np.ones(SHAPE), np.ones(SHAPE[1]), np.empty(SHAPE[0])
    calls: dict[Candidate, Callable[[], Any]] = {Candidate("openmp", 1): lambda: _kernels.matvec(A, x, out, 1)}
    if workers > 1:
        calls[Candidate("openmp", workers)] = lambda: _kernels.matvec(A, x, out, workers)
    calls[Candidate("numpy", 1)] = lambda: np.matvec(A, x, out=out)
    return {one: min(_seconds(call) for _ in range(TRIES)) for one, call in calls.items()}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
