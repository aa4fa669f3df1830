"""Names to classes: the table, entry points of others whole and broken, and the life of shared instances."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

import parlinalg
from parlinalg import registry
from parlinalg.backends import Backend, NumPy
from parlinalg.registry import GROUP, OURS, backend_class, backends, close_all, default_instance, names


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, EntryPoint]]:
    """Entry points as if packages were installed that have them."""
    found = {
        name: EntryPoint(name, value, GROUP)
        for name, value in {
            "good": "toy_backend:ToyThreads",
            "absent": "no_such_module:Backend",
            "missing": "toy_backend:NoSuchClass",
            "function": "toy_backend:blocks",
            "class": "fractions:Fraction",
            "numpy": "toy_backend:ToyThreads",
        }.items()
    }
    monkeypatch.setattr(registry, "_entry_points", lambda: found)
    backend_class.cache_clear()
    yield found
    backend_class.cache_clear()


def test_the_names_of_ours_come_first() -> None:
    assert names()[:6] == ("numpy", "openmp", "process", "mpi", "ipyparallel", "opencl")


@pytest.mark.parametrize("name", OURS)
def test_a_class_has_the_name_that_the_table_gives_it(name: str) -> None:
    assert backend_class(name).name == name
    assert issubclass(backend_class(name), Backend)


def test_the_classes_are_public() -> None:
    assert backend_class("numpy") is NumPy
    package = sys.modules["parlinalg.backends"]  # as an attribute of parlinalg it is the function
    assert package.OpenMP is backend_class("openmp")
    with pytest.raises(AttributeError, match="has no attribute 'NoSuch'"):
        _ = package.NoSuch


def test_the_backend_of_a_stranger_is_found_by_its_entry_point() -> None:
    kind = backend_class("toy-threads")
    assert (kind.name, kind.__module__) == ("toy-threads", "toy_backend")
    assert "toy-threads" in names()
    info = backends()["toy-threads"]
    assert info.available
    assert info.workers == parlinalg.default_workers()
    assert parlinalg.matvec([[1, 2]], [3, 4], backend="toy-threads").tolist() == [11]
    assert parlinalg.psum([1, 2], backend="toy-threads") == 3


def test_an_entry_point_cannot_replace_one_of_ours(points: dict[str, EntryPoint]) -> None:
    assert backend_class("numpy") is NumPy
    assert names().count("numpy") == 1


def test_entry_points_that_are_no_backend_are_an_error_when_they_are_asked_for(points: dict[str, EntryPoint]) -> None:
    assert backend_class("good").name == "toy-threads"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        backend_class("absent")
    with pytest.raises(AttributeError, match="NoSuchClass"):
        backend_class("missing")
    for name in ("function", "class"):
        with pytest.raises(TypeError, match=f"the entry point '{name}' of the group '{GROUP}' is .*, not a subclass"):
            backend_class(name)


def test_broken_entry_points_of_others_leave_the_rest_alone(points: dict[str, EntryPoint]) -> None:
    """Someone else's broken package must not take ``backends()`` or a call away from all users."""
    assert parlinalg.matvec([[1, 2]], [3, 4], backend="numpy").tolist() == [11]
    found = backends()
    assert found["good"].available
    for name in ("absent", "missing", "function", "class"):
        assert not found[name].available
        assert name in str(found[name])


def test_info() -> None:
    info = backends()["numpy"]
    assert (info.name, info.why_not, info.workers, info.devices) == ("numpy", None, 1, ())
    assert str(info).startswith("numpy: available, NumPy 2")
    absent = backends()["toy-absent"]
    assert str(absent) == f"toy-absent: not available: {absent.why_not}"
    assert (absent.workers, absent.version) == (0, "")


class Counting(NumPy):
    name = "counting"
    made = 0
    closed = 0

    def __init__(self) -> None:
        type(self).made += 1

    def close(self) -> None:
        type(self).closed += 1
        super().close()


def test_the_shared_instance_is_made_once_and_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_instances", {})
    monkeypatch.setattr(registry, "backend_class", lambda name: Counting)
    first = default_instance("counting")
    assert default_instance("counting") is first
    assert (Counting.made, Counting.closed) == (1, 0)
    close_all()
    assert (Counting.made, Counting.closed) == (1, 1)
    close_all()
    assert Counting.closed == 1
    assert default_instance("counting") is not first


def test_a_child_of_a_fork_forgets_the_instances_and_does_not_close_them() -> None:
    before = default_instance("numpy")
    child = os.fork()
    if child == 0:
        os._exit(0 if default_instance("numpy") is not before and not registry._lock.locked() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert default_instance("numpy") is before


def test_instances_are_closed_at_exit() -> None:
    program = """
from parlinalg import registry
from parlinalg.backends import NumPy
class Mine(NumPy):
    def close(self): print("closed")
registry.backend_class = lambda name: Mine
registry.default_instance("mine")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_listing_starts_and_imports_nothing_heavy() -> None:
    program = """
import sys, threading, parlinalg
parlinalg.backends()
heavy = {"mpi4py", "pyopencl", "ipyparallel", "matplotlib", "scipy", "hypothesis"} & set(sys.modules)
print(sorted(heavy), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[] 1\n"), done.stderr
