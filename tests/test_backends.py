"""The kit over every backend that can run here, those of other packages included."""

from __future__ import annotations

import numpy as np
import pytest

import parlinalg
from parlinalg.registry import backend_class, names, usable
from parlinalg.testing import BackendSuite, check_backend


def _class_name(backend: str) -> str:
    return f"Test_{backend.replace('-', '_')}"


# A backend that cannot run has no suite; `test_can_run` skips it with its sentence.
SUITES: dict[str, type[BackendSuite]] = {
    name: type(_class_name(name), (BackendSuite,), {"backend": name}) for name in names() if usable(name)
}
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
