"""Counting workers: the environment, the affinity mask, containers (with faked files) and the argument."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

import parlinalg
from parlinalg import workers
from parlinalg.workers import cpu_count, cpu_quota, default_workers, resolve_workers

Host = Callable[..., None]


def clear() -> None:
    workers._fixed_limit.cache_clear()
    workers._test_workers.cache_clear()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Make this a host with so many CPUs, such an affinity mask, quota and environment."""
    for name in ("PARLINALG_WORKERS", "OMP_NUM_THREADS", *workers.RANKS_ON_NODE, *workers.TEST_WORKERS):
        monkeypatch.delenv(name, raising=False)

    def fake(cpus: int = 64, affinity: int = 64, quota: float = math.inf, **environment: str) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
        monkeypatch.setattr(workers, "cpu_quota", lambda: quota)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        clear()

    yield fake
    clear()


@dataclass(frozen=True)
class Case:
    host: dict[str, Any]
    expected: int


CASES = {
    "all CPUs": Case({}, 64),
    "affinity": Case({"affinity": 3}, 3),
    "quota rounded up": Case({"quota": 2.5}, 3),
    "quota below one CPU": Case({"quota": 0.2}, 1),
    "OMP_NUM_THREADS": Case({"OMP_NUM_THREADS": "4"}, 4),
    "OMP_NUM_THREADS of nested levels": Case({"OMP_NUM_THREADS": " 4, 2"}, 4),
    "OMP_NUM_THREADS above the CPUs": Case({"OMP_NUM_THREADS": "1000"}, 64),
    "OMP_NUM_THREADS is a word": Case({"OMP_NUM_THREADS": "abc"}, 64),
    "OMP_NUM_THREADS is empty": Case({"OMP_NUM_THREADS": ""}, 64),
    "OMP_NUM_THREADS is 0": Case({"OMP_NUM_THREADS": "0"}, 64),
    "OMP_NUM_THREADS is negative": Case({"OMP_NUM_THREADS": "-1"}, 64),
    "OMP_NUM_THREADS is a fraction": Case({"OMP_NUM_THREADS": "2.5"}, 64),
    "OMP_NUM_THREADS ends in a comma": Case({"OMP_NUM_THREADS": "4,"}, 64),
    "ranks of Open MPI": Case({"OMPI_COMM_WORLD_LOCAL_SIZE": "16"}, 4),
    "ranks of MPICH": Case({"MPI_LOCALNRANKS": "10"}, 6),
    "ranks of PMI": Case({"PMI_LOCAL_SIZE": "32"}, 2),
    "ranks of MVAPICH2": Case({"MV2_COMM_WORLD_LOCAL_SIZE": "2"}, 32),
    "ranks of Slurm": Case({"SLURM_NTASKS_PER_NODE": "4"}, 16),
    "more ranks than CPUs": Case({"MPI_LOCALNRANKS": "100"}, 1),
    "ranks that are bound are not divided again": Case({"affinity": 8, "MPI_LOCALNRANKS": "8"}, 8),
    "ranks share the quota": Case({"quota": 8, "MPI_LOCALNRANKS": "4"}, 2),
    "ranks is a word": Case({"MPI_LOCALNRANKS": "many", "SLURM_NTASKS_PER_NODE": "0"}, 64),
    "the least of all": Case({"affinity": 9, "quota": 7, "OMP_NUM_THREADS": "8", "MPI_LOCALNRANKS": "1"}, 7),
    "workers of pytest-xdist": Case({"affinity": 12, "PYTEST_XDIST_WORKER_COUNT": "4"}, 3),
    "more of them than CPUs": Case({"affinity": 2, "PYTEST_XDIST_WORKER_COUNT": "4"}, 1),
    "PARLINALG_WORKERS wins": Case({"affinity": 2, "OMP_NUM_THREADS": "1", "PARLINALG_WORKERS": "5"}, 5),
    "PARLINALG_WORKERS, all": Case({"affinity": 6, "OMP_NUM_THREADS": "1", "PARLINALG_WORKERS": "-1"}, 6),
    "PARLINALG_WORKERS, one": Case({"affinity": 6, "PARLINALG_WORKERS": "-6"}, 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_default(host: Host, case: Case) -> None:
    host(**case.host)
    assert default_workers() == case.expected


MALFORMED = ["", "abc", "0", "-0", "-7", "2.5", "1e3", "1_0", " 2", "2 ", "+2", "02", "\u0664", "9" * 12]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_variable_is_an_error_that_quotes_it(host: Host, text: str) -> None:
    host(affinity=6, PARLINALG_WORKERS=text)
    with pytest.raises(ValueError, match=r"^PARLINALG_WORKERS is .*must be 1 or more, or .* -1 \(all 6") as error:
        default_workers()
    assert repr(text) in str(error.value) or f"is {text};" in str(error.value)


def test_changes_take_effect_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host(affinity=8)
    assert default_workers() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5}, raising=False)
    assert default_workers() == 2
    monkeypatch.setenv("PARLINALG_WORKERS", "3")
    assert default_workers() == 3


def test_without_affinity_masks_all_cpus_count(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host(cpus=12)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert default_workers() == cpu_count() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_count() == 1


@given(given=st.integers(), cpus=st.integers(1, 300), capacity=st.none() | st.integers(1, 1000))
def test_resolve(given: int, cpus: int, capacity: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "cpu_count", lambda: cpus)
        expected = given if given > 0 else cpus + 1 + given
        if given == 0 or expected < 1 or (capacity is not None and expected > capacity):
            with pytest.raises(ValueError, match=f"^workers is {given}"):
                resolve_workers(given, capacity)
        else:
            assert resolve_workers(given, capacity) == expected


def test_resolve_counts_from_the_cpus_of_this_process(host: Host) -> None:
    host(cpus=64, affinity=4)
    assert [resolve_workers(given, None) for given in (1, 2, 99, -1, -4)] == [1, 2, 99, 4, 1]
    assert resolve_workers(np.int8(3), 3) == 3
    assert type(resolve_workers(np.int8(3), 3)) is int


ACCEPTED = "it must be 1 or more, or count from the number of CPUs: -1 (all 4 of them) to -4 (one)"


@pytest.mark.parametrize(
    ("given", "capacity", "text"),
    [
        (0, None, f"workers is 0; {ACCEPTED}"),
        (-5, None, f"workers is -5; {ACCEPTED}"),
        (3, 2, "workers is 3; this backend can use 2 at most, so pass 1 to 2"),
        (-1, 2, "workers is -1, that is 4; this backend can use 2 at most, so pass 1 to 2"),
    ],
)
def test_wrong_number_says_what_is_accepted(host: Host, given: int, capacity: int | None, text: str) -> None:
    host(affinity=4)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        resolve_workers(given, capacity)


@pytest.mark.parametrize("wrong", [True, False, np.True_, 2.0, np.float64(2), "2", "__import__('os')", [2], None, 1j])
def test_wrong_type_says_what_is_accepted(wrong: Any) -> None:
    with pytest.raises(TypeError) as error:
        resolve_workers(wrong, None)
    assert str(error.value) == f"workers is {wrong!r}; it must be an int or None"


def write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V2 = "30 23 0:26 / {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """\
31 30 0:27 / {mount}/memory rw - cgroup cgroup rw,memory
32 30 0:28 {root} {mount}/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct
"""


def v2(folder: Path, group: str, limits: dict[str, str]) -> float:
    mount = folder / "fs"
    write({folder / "self/cgroup": f"0::{group}\n", folder / "self/mountinfo": V2.format(mount=mount)})
    write({mount / where / "cpu.max": text for where, text in limits.items()})
    return cpu_quota(folder / "self")


def v1(folder: Path, group: str, limits: dict[str, tuple[int, int]], root: str = "/") -> float:
    mount = folder / "fs"
    write({folder / "self/cgroup": f"5:memory:/elsewhere\n4:cpu,cpuacct:{group}\n1:name=systemd:/init\n"})
    write({folder / "self/mountinfo": V1.format(mount=mount, root=root)})
    for where, (quota, period) in limits.items():
        write({mount / "cpu" / where / "cpu.cfs_quota_us": f"{quota}\n"})
        write({mount / "cpu" / where / "cpu.cfs_period_us": f"{period}\n"})
    return cpu_quota(folder / "self")


def test_quota_of_version_2(tmp_path: Path) -> None:
    assert v2(tmp_path, "/a/b", {"a/b": "150000 100000\n", "a": "max 100000\n"}) == 1.5


def test_quota_of_version_2_is_that_of_the_least_parent(tmp_path: Path) -> None:
    assert v2(tmp_path, "/a/b/c", {"a/b/c": "400000 100000\n", "a": "50000 100000\n", "a/b": "max 100000\n"}) == 0.5


def test_quota_of_version_2_at_the_root_of_a_container(tmp_path: Path) -> None:
    assert v2(tmp_path, "/", {"": "300000 100000\n"}) == 3


def test_quota_of_other_groups_does_not_count(tmp_path: Path) -> None:
    assert v2(tmp_path, "/a", {"a": "max 100000\n", "b": "100000 100000\n", "a/child": "100000 100000\n"}) == math.inf


@pytest.mark.parametrize("text", ["", "max\n", "max 100000\n", "0 0\n", "1 0\n", "x y\n", "1 2 3\n"])
def test_no_limit(tmp_path: Path, text: str) -> None:
    assert v2(tmp_path, "/a", {"a": text}) == math.inf


def test_quota_of_version_1(tmp_path: Path) -> None:
    assert v1(tmp_path, "/a/b", {"a/b": (-1, 100000), "a": (250000, 100000), "": (-1, 100000)}) == 2.5


def test_quota_of_version_1_in_a_container_that_sees_the_path_of_the_host(tmp_path: Path) -> None:
    assert v1(tmp_path, "/docker/0a1b", {"": (200000, 100000)}, root="/docker/0a1b") == 2


def test_quota_of_version_1_where_the_path_is_not_below_the_mount(tmp_path: Path) -> None:
    assert v1(tmp_path, "/user.slice", {"": (70000, 10000)}, root="/docker/0a1b") == 7


def test_both_versions_at_once(tmp_path: Path) -> None:
    v1(tmp_path, "/a", {"a": (600000, 100000)})
    groups, mounts = ((tmp_path / "self" / name).read_text() for name in ("cgroup", "mountinfo"))
    write({tmp_path / "self/cgroup": groups + "0::/new\n"})
    write({tmp_path / "self/mountinfo": mounts + V2.format(mount=tmp_path / "unified")})
    assert cpu_quota(tmp_path / "self") == 6
    write({tmp_path / "unified/new/cpu.max": "500000 100000\n"})
    assert cpu_quota(tmp_path / "self") == 5


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
def test_missing_files_mean_no_limit(tmp_path: Path, name: str) -> None:
    v2(tmp_path, "/a", {"a": "100000 100000\n"})
    (tmp_path / "self" / name).unlink()
    assert cpu_quota(tmp_path / "self") == math.inf
    assert cpu_quota(tmp_path / "absent") == math.inf


def test_garbage_means_no_limit(tmp_path: Path) -> None:
    write({tmp_path / "cgroup": "what\n::\n0::\n", tmp_path / "mountinfo": "1 2\n - cgroup2\n\n"})
    (tmp_path / "mountinfo").write_bytes(b"\xff\xfe - cgroup2 x y\n")
    assert cpu_quota(tmp_path) == math.inf


def test_this_host_has_a_default() -> None:
    assert default_workers() >= 1
    assert cpu_quota() > 0


# Others in this process, and beside it


def test_threadpoolctl_is_respected(host: Host) -> None:
    host()
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert default_workers() == 1
        assert parlinalg.explain(np.ones((4000, 4000)), np.ones(4000)).workers == 1
        assert parlinalg.matvec(np.ones((4000, 4000)), np.ones(4000)).tolist() == [4000.0] * 4000
    assert default_workers() == 64


def test_our_threads_are_known_to_threadpoolctl() -> None:
    assert any(pool["user_api"] == "openmp" for pool in threadpoolctl.threadpool_info())


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_multiprocessing_share_the_processors(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, time
            from concurrent.futures import ProcessPoolExecutor
            import numpy as np
            from parlinalg import default_workers, psum

            def threads():
                return len(os.listdir("/proc/self/task"))

            def ask(number):
                time.sleep(1)  # so that all of them are there
                before = threads()
                for backend in (None, "openmp"):
                    psum(np.ones(3_000_000), backend=backend)
                return default_workers(), threads() - before

            if __name__ == "__main__":
                psum(np.ones(3_000_000))  # by all processors; a child must not go by that
                with ProcessPoolExecutor(2, multiprocessing.get_context({method!r})) as pool:
                    print(*pool.map(ask, range(2)))
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    share = max(1, default_workers() // 2)
    assert done.stdout.strip() == f"{share, share - 1} {share, share - 1}", done.stderr
