"""The kit over every backend that can run here, those of other packages included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import parlinalg
from parlinalg.registry import backend_class, names, usable
from parlinalg.testing import BackendSuite, check_backend
from parlinalg.testing.base import ALLOWED


def _class_name(backend: str) -> str:
    return f"Test_{backend.replace('-', '_')}"


# Of backends that compute with the kernels of openmp, or whose calls take milliseconds. `PARLINALG_HYPOTHESIS=thorough`
# tests them as thoroughly as the others.
FEW_EXAMPLES = {"ipyparallel": 4, "toy-threads": 10, "opencl": 12, "mpi": 15, "process": 15}

# The client's thread forgets old messages at random (jupyter_client's session), which may fall into the moment in which
# a strategy draws; hypothesis cannot tell whose thread it was. The suites of other backends have the same strategies.
MARKS = {"ipyparallel": pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")}


def _suite(backend: str) -> type[BackendSuite]:
    suite = type(_class_name(backend), (BackendSuite,), {"backend": backend})
    if backend in FEW_EXAMPLES and settings().max_examples < 1000:
        few = settings(max_examples=FEW_EXAMPLES[backend], deadline=None, suppress_health_check=ALLOWED)
        for name in (name for name in dir(suite) if hasattr(getattr(suite, name), "arguments")):
            test = getattr(suite, name)
            setattr(suite, name, few(given(**test.arguments)(test.hypothesis.inner_test)))
    return MARKS[backend](suite) if backend in MARKS else suite


# A backend that cannot run has no suite; `test_can_run` skips it with its sentence.
SUITES = {name: _suite(name) for name in names() if usable(name)}
globals().update({suite.__name__: suite for suite in SUITES.values()})


@pytest.mark.parametrize("backend", names())
def test_can_run(backend: str) -> None:
    reason = backend_class(backend).why_not()
    if reason is not None:
        pytest.skip(f"backend {backend!r} cannot run here: {reason}")
    assert SUITES[backend].backend == backend
    np.testing.assert_array_equal(parlinalg.matvec([[1, 2], [3, 4]], [1, 1], backend=backend), [3, 7])


def test_every_backend_that_can_run_has_a_suite() -> None:
    available = {name for name, info in parlinalg.backends().items() if info.available}
    assert available == set(SUITES)
    assert {"numpy", "openmp", "toy-threads"} <= available


def test_the_backend_of_a_stranger_passes_the_kit() -> None:
    check_backend("toy-threads", workers=(1, 3), max_examples=10)
