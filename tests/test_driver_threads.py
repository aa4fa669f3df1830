"""Threads of drivers for the processor, which keep to a processor each."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from opencl_devices import DEVICES
from parlinalg.backends._driver_threads import spread, threads
from parlinalg.backends._vendors import POCL

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux sets the affinity of threads")

PROGRAM = """
    import os
    from parlinalg.backends._driver_threads import threads
    import numpy, pyopencl

    before = threads()
    from parlinalg.backends import OpenCL
    OpenCL("Portable")
    print(sorted(sorted(os.sched_getaffinity(one)) for one in threads() - before))
"""


@contextmanager
def waiting(number: int) -> Iterator[set[int]]:
    """So many threads, which wait."""
    before, end = threads(), threading.Event()
    several = [threading.Thread(target=end.wait) for _ in range(number)]
    for one in several:
        one.start()
    try:
        yield threads() - before
    finally:
        end.set()
        for one in several:
            one.join()


def test_as_many_as_processors_have_one_each() -> None:
    usable = os.sched_getaffinity(0)
    with waiting(len(usable)) as started:
        spread(started)
        assert sorted(os.sched_getaffinity(one).pop() for one in started) == sorted(usable)
        assert all(len(os.sched_getaffinity(one)) == 1 for one in started)
    assert os.sched_getaffinity(0) == usable


@pytest.mark.parametrize("more", [-1, 1])
def test_others_are_left_alone(more: int) -> None:
    usable = os.sched_getaffinity(0)
    with waiting(len(usable) + more) as started:
        spread(started)
        assert all(os.sched_getaffinity(one) == usable for one in started)


def test_a_thread_that_has_ended_is_no_error() -> None:
    with waiting(len(os.sched_getaffinity(0))) as started:
        pass
    spread(started)


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.skipif(all(one.platform.name != POCL for one in DEVICES), reason="PoCL is not installed")
def test_those_of_pocl(limited: bool) -> None:
    usable = sorted(os.sched_getaffinity(0))
    environment = os.environ | ({"POCL_MAX_PTHREAD_COUNT": "1"} if limited else {})
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=environment, capture_output=True, text=True, check=True
    )
    expected = [usable] if limited and len(usable) > 1 else [[one] for one in usable]
    assert done.stdout.strip() == str(expected)
