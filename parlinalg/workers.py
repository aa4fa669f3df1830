"""How many workers: what this process may use, and what was asked for."""

from __future__ import annotations

import math
import operator
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import SupportsIndex

from . import _kernels, _small

__all__ = [
    "MOST_THREADS",
    "check_threads",
    "cpu_count",
    "cpu_quota",
    "default_workers",
    "limits_of_host",
    "ranks_of_job",
    "resolve_workers",
]

# Set by Open MPI, MPICH, PMI, MVAPICH2 and Slurm: the ranks of this job on this node.
RANKS_ON_NODE = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "PMI_LOCAL_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_NTASKS_PER_NODE",
)

# Set by Open MPI, MPICH and MVAPICH2: the ranks of this job on all nodes.
RANKS_OF_JOB = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")

# Set by pytest-xdist: processes that run tests side by side.
TEST_WORKERS = ("PYTEST_XDIST_WORKER_COUNT",)

_INTEGER = re.compile(r"-?[1-9][0-9]{0,8}")
_THREADS = re.compile(r"\s*0*([1-9][0-9]{0,8})\s*(,\s*0*[1-9][0-9]{0,8}\s*)*")  # one per level of nesting
_GROUP = re.compile(r"^\d+:([^:\n]*):(.*)$", re.MULTILINE)
_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .*- (cgroup2?) \S* (\S*)$", re.MULTILINE)


def cpu_count() -> int:
    """Number of CPUs that this process may run on: its affinity mask, where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


MOST_THREADS = max(64, 4 * cpu_count())  # beyond, OpenMP may end the process instead of raising


def default_workers() -> int:
    """Number of workers of a call that does not say.

    The environment variable ``PARLINALG_WORKERS`` if it is set: a positive number, or a negative one that is counted
    from the number of CPUs. Otherwise the least of

    - the CPUs in the affinity mask of this process, divided by the workers of pytest-xdist, or by those that
      multiprocessing started beside this one, if it is one of them,
    - the CPU quota of its container (control groups, version 1 and 2), rounded up,
    - ``OMP_NUM_THREADS``, its first number; ignored if malformed, as by OpenMP itself,
    - what OpenMP was told in this process, for example by threadpoolctl,
    - the CPUs of this node, or the quota, divided by the MPI ranks of this job on this node,

    and at least 1.

    Raises
    ------
    ValueError
        If ``PARLINALG_WORKERS`` is set to anything else.

    Notes
    -----
    ``PARLINALG_WORKERS`` and the affinity mask are read each time, so that a change takes effect with the next call.
    Calls that compiled code serves know the mask as of a millisecond ago at most. The others are read once per process,
    as OpenMP does.

    Examples
    --------
    >>> import parlinalg
    >>> parlinalg.default_workers() >= 1
    True
    """
    asked = _small.setting(b"PARLINALG_WORKERS")
    if asked is not None:
        return _parse(asked)
    limit = min(max(1, cpu_count() // (_test_workers() * _siblings())), _fixed_limit())
    return min(limit, _kernels.limit_of_openmp() or MOST_THREADS)


def limits_of_host() -> tuple[int, int]:
    """Processes that share the affinity mask, or 0 where their number may change; the most threads otherwise."""
    return 0 if _has_siblings() else _test_workers(), _fixed_limit()


def resolve_workers(workers: SupportsIndex, capacity: int | None) -> int:
    """The number of workers that `workers` stands for, as in SciPy: negative numbers count from the number of CPUs.

    Parameters
    ----------
    workers : int, not 0
        -1: all CPUs that this process may use, -2: one less, and so on.
    capacity : int or None
        The most workers that the backend can use; None: any number.

    Raises
    ------
    TypeError
        If it is not an integer; bool is not.
    ValueError
        If it is 0, too negative, or more than `capacity`.
    """
    if isinstance(workers, bool):
        raise TypeError(f"workers is {workers!r}; it must be an int or None")
    try:
        given = operator.index(workers)
    except TypeError:
        raise TypeError(f"workers is {workers!r}; it must be an int or None") from None
    count = _wrap("workers", given)
    if capacity is not None and count > capacity:
        total = f"{given}" if given > 0 else f"{given}, that is {count}"
        raise ValueError(f"workers is {total}; this backend can use {capacity} at most, so pass 1 to {capacity}")
    return count


def _parse(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"PARLINALG_WORKERS is {text!r}; {_accepted(cpu_count())}")
    return _wrap("PARLINALG_WORKERS", int(text))


def _wrap(name: str, given: int) -> int:
    if given > 0:
        return given
    cpus = cpu_count()
    if given == 0 or given < -cpus:
        raise ValueError(f"{name} is {given}; {_accepted(cpus)}")
    return cpus + 1 + given


def _accepted(cpus: int) -> str:
    return f"it must be 1 or more, or count from the number of CPUs: -1 (all {cpus} of them) to -{cpus} (one)"


@cache
def _fixed_limit() -> int:
    """The least of what does not change while a process runs."""
    cpus = math.ceil(min(os.cpu_count() or 1, cpu_quota()))
    return max(1, min(cpus // _ranks_on_node(), _openmp_threads(cpus)))


@cache
def _test_workers() -> int:
    return _first_count(TEST_WORKERS)


def _has_siblings() -> bool:
    """Whether multiprocessing has started this process."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


def _siblings() -> int:
    """Worker processes, this one included, that multiprocessing has started beside each other; 1 elsewhere."""
    if not _has_siblings():
        return 1
    parent = os.getppid()
    children = _read(Path(f"/proc/{parent}/task/{parent}/children")).split()
    own = _server(os.getpid())  # a worker of the fork server looks like that itself
    return max(1, sum(_server(child) in ("", own) for child in children))


def _server(process: int | str) -> str:
    """What a process serves multiprocessing as, if it is no worker."""
    command = _read(Path("/proc", str(process), "cmdline"))
    return next((name for name in ("resource_tracker", "forkserver") if name in command), "")


def _ranks_on_node() -> int:
    return _first_count(RANKS_ON_NODE)


def check_threads(name: str, threads: SupportsIndex) -> int:
    """The number of threads that a backend called `name` was given.

    Raises
    ------
    ValueError
        If it is not an int from 1 to MOST_THREADS.
    """
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or not 1 <= int(threads) <= MOST_THREADS:
        raise ValueError(f"{name}: threads is {threads!r}; it must be an int from 1 to {MOST_THREADS}")
    return int(threads)


def ranks_of_job() -> int:
    """Number of MPI ranks of this job; 1 outside of one. MPI is not initialised for it."""
    return _first_count(RANKS_OF_JOB)


def _first_count(names: tuple[str, ...]) -> int:
    given = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in given if _INTEGER.fullmatch(text) and int(text) > 0), 1)


def _openmp_threads(otherwise: int) -> int:
    match = _THREADS.fullmatch(os.environ.get("OMP_NUM_THREADS", ""))
    return int(match[1]) if match else otherwise


def cpu_quota(process: Path = Path("/proc/self")) -> float:
    """CPUs' worth of time that the control groups of a process grant it; infinity if they set no limit.

    A group cannot have more than any of its parents, so it is the least of all of them.
    """
    return min(map(_quota, _groups(process)), default=math.inf)


def _groups(process: Path) -> Iterator[Path]:
    """The folders of the groups that a process is in, version 2 or controller "cpu", with all their parents."""
    paths = {"": "", "cpu": ""}
    for controllers, path in _GROUP.findall(_read(process / "cgroup")):
        paths |= {name: path for name in controllers.split(",") if name in paths}
    for root, mount, kind, options in _MOUNT.findall(_read(process / "mountinfo")):
        path = PurePosixPath(paths["" if kind == "cgroup2" else "cpu"])
        if kind == "cgroup2" or "cpu" in options.split(","):
            # A container sees only a part of the host's tree: its mount begins at the group called `root`.
            inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
            yield Path(mount)
            yield from (Path(mount, *inside.parts[: depth + 1]) for depth in range(len(inside.parts)))


def _quota(group: Path) -> float:
    """The limit that one group sets itself: version 2 keeps it in one file, version 1 in two."""
    words = (_read(group / "cpu.max") or _read(group / "cpu.cfs_quota_us") + _read(group / "cpu.cfs_period_us")).split()
    if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
        return int(words[0]) / int(words[1])
    return math.inf  # "max", -1, or no file


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:  # not Linux, or hidden from this process
        return ""
