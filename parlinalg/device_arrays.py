"""Calls with arrays that are in the memory of a device already: those of pyopencl."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .backends._base import Backend, DeviceResident
from .dispatch import asked_for, count_workers
from .errors import BackendUnavailable
from .exact import round_states
from .operands import as_operand, check_out, is_there
from .plan import MatvecPlan, plan_sum
from .registry import backend_class

__all__ = ["backend_of", "multiply_there", "sum_there"]


def backend_of(function: str, backend: str | Backend | None, *operands: Any) -> Backend:
    """The backend for a call with such an array: the one that was asked for, if it is in the same context.

    Raises
    ------
    TypeError
        If another backend was asked for, or the array has no queue.
    ValueError
        If the array belongs to another context.
    """
    there = next(one for one in operands if is_there(one))
    if there.queue is None:
        raise TypeError(f"{function}: an array of pyopencl has no queue; give it one by with_queue")
    backend = asked_for(backend)
    if isinstance(backend, str) and backend in ("auto", "opencl"):
        return _backend_of_queue(there.queue)
    if isinstance(backend, str) or backend.name != "opencl":
        name = backend if isinstance(backend, str) else backend.name
        raise TypeError(f"{function}: an array of pyopencl is given to backend {name!r}; pass what its get() returns")
    if there.context != backend.device.context:  # type: ignore[attr-defined]
        raise ValueError(
            f"{function}: an array of pyopencl belongs to another context than the backend; make that with "
            f"OpenCL(queue=array.queue)"
        )
    return backend


@lru_cache(maxsize=4)
def _backend_of_queue(queue: Any) -> Backend:
    return backend_class("opencl")(queue=queue)  # type: ignore[call-arg]


def multiply_there(
    function: str,
    plan: MatvecPlan,
    A: Any,
    x: Any,
    backend: str | Backend | None,
    workers: int | None,
    *,
    out: Any,
) -> Any:
    """The product; where x is on a device the result is, too.

    Parameters
    ----------
    function : {"matvec", "vecmat", "vecdot"}
    plan : MatvecPlan
    A, x : ndarray or pyopencl.array.Array, of a matrix and of a vector
    backend, workers
        As in `matvec`.
    out : ndarray, optional
        Where x is on the host.
    """
    if len(A.shape) != 2 or len(x.shape) != 1:
        raise ValueError(
            f"{function}: arrays of pyopencl of shapes {A.shape} and {x.shape}; they must be one matrix and one vector"
        )
    used = backend_of(function, backend, A, x)
    count_workers(used, workers)
    refusal = used.refusal(plan)
    if refusal is not None:
        raise BackendUnavailable(f"backend {used.name!r} cannot run this call: {refusal}")
    transposed = function == "vecmat"
    conjugates = function != "matvec" and x.dtype.kind == "c"
    if is_there(x) and (out is not None or plan.exact or conjugates or x.dtype != plan.dtype):
        raise TypeError(
            f"{function}: arrays of pyopencl are multiplied as they are; for another dtype than {x.dtype}, a "
            f"conjugate, out or exact=True, pass what their get() returns"
        )
    if out is not None:
        check_out(function, out, plan.shape, plan.dtype)
    with used.place(A if is_there(A) else as_operand(function, "A", A), 1) as resident:
        if isinstance(resident, DeviceResident) and resident.takes(x):
            return resident.multiply_there(x, transposed)
        result = np.empty(plan.shape, plan.dtype)
        options = {"exact": True} if plan.exact else {}
        if transposed:
            resident.vecmat(x, result, **options)
        else:
            resident.matvec(x.conj() if conjugates else x, result, **options)
    if out is None:
        return result
    np.copyto(out, result, casting="same_kind")
    return out


def sum_there(
    a: Any,
    axis: int | tuple[int, ...] | None,
    dtype: np.dtype | None,
    backend: str | Backend | None,
    workers: int | None,
    *,
    others: bool,
) -> Any:
    """The sums of an array of pyopencl, which come back as NumPy's."""
    plan = plan_sum(a.shape, a.dtype, axis, dtype)
    used = backend_of("psum", backend, a)
    count_workers(used, workers)
    if others or plan.cast is not None or plan.order != tuple(range(len(a.shape))) or not a.flags.c_contiguous:
        raise TypeError(
            "psum: a is an array of pyopencl, whose last axes are summed where it is contiguous; for all else, pass "
            "a.get()"
        )
    states = used.sum_states(a, plan.kept, 1)
    if a.dtype.kind != "c":
        return round_states(states, plan.dtype)[()]
    sums = np.empty(plan.shape, plan.dtype)
    sums.real, sums.imag = np.moveaxis(round_states(states, sums.real.dtype), -1, 0)
    return sums[()]
