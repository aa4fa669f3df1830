"""The comparison: who takes part, what is reported of whom, and that a wrong result is seen."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from numpy.typing import NDArray

import parlinalg
from measuring import BANDWIDTH, compare_module, hurry
from parlinalg import profile
from parlinalg.backends import Backend, NumPy, Resident
from parlinalg.reference import deviation, reference
from parlinalg.rows import Row, table
from parlinalg.testing.oracle import exact_matvec
from parlinalg.testing.strategies import Product, normal, products

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


class Wrong(NumPy):
    """Right but for the last element, in the calls that `wrong` names."""

    name = "wrong"

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def place(self, A: Array, workers: int) -> Resident:
        return super().place(np.vstack([A[:-1], A[-1:] + 1]) if self.wrong == "placed" else A, workers)

    def matvec(self, A: Array, x: Array, out: Array, workers: int, *, exact: bool = False) -> None:
        super().matvec(A, x, out, workers)
        out[-1] += self.wrong == "one shot"


class Refusing(NumPy):
    name = "refusing"

    def refuses(self, plan: Any) -> str | None:
        return "it is too small. Use backend='numpy'" if plan.m > 8 else None


class Full(NumPy):
    name = "full"

    def place(self, A: Array, workers: int) -> Resident:
        raise MemoryError("no room for 512 bytes")


# Who takes part


def test_every_backend_is_a_row_or_has_a_reason() -> None:
    result = parlinalg.compare(sizes=[8])
    taking_part = [row.backend for row in result.rows]
    assert taking_part[:2] == ["numpy.matvec", "auto"]
    assert sorted([*taking_part[2:], *result.unavailable]) == sorted(parlinalg.backends())
    for name, info in parlinalg.backends().items():
        assert result.unavailable.get(name) == info.why_not
    assert not result.disagreements


def test_every_size_has_its_rows() -> None:
    result = parlinalg.compare(sizes=[3, 8], backends=["numpy", "numpy.dot"])
    assert [(row.n, row.backend) for row in result.rows] == [
        (n, name) for n in (3, 8) for name in ("numpy.matvec", "numpy", "numpy.dot")
    ]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (Refusing(), "it is too small. Use backend='numpy'"),
        (Full(), "16 x 16: no room for 512 bytes"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_who_cannot_go_on_says_why(backend: Backend, reason: str) -> None:
    result = parlinalg.compare(sizes=[16], backends=[backend, "numpy"])
    assert [row.backend for row in result.rows] == ["numpy.matvec", "numpy"]
    assert reason in result.unavailable[backend.name]


def test_workers_are_at_most_what_a_backend_can_use() -> None:
    result = parlinalg.compare(sizes=[8], backends=["numpy", "openmp", "auto"], workers=2)
    assert [row.workers for row in result.rows] == [0, 1, 2, 2]


def test_auto_is_measured_as_users_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLINALG_BACKEND", raising=False)
    calls: list[dict[str, Any]] = []

    def matvec(A: Array, x: Array, **options: Any) -> Any:
        calls.append(options)
        return A @ x

    monkeypatch.setattr(compare_module, "matvec", matvec)
    parlinalg.compare(sizes=[8], backends=["auto"])
    assert not any(calls)
    with parlinalg.set_backend("numpy"):
        parlinalg.compare(sizes=[8], backends=["auto"])
    assert calls[-1]["backend"] == "auto"


# What is reported


def test_figures_follow_from_the_times() -> None:
    A, x = np.ones((30, 50), np.float32), np.ones(50, np.int8)
    baseline, row = parlinalg.compare(A, x, backends=["numpy"]).rows
    assert (row.m, row.n, row.dtype, row.nbytes) == (30, 50, "float32", A.nbytes + x.nbytes + 30 * 4)
    assert row.gigabytes_per_second == pytest.approx(row.nbytes / row.seconds / 1e9)
    assert row.share_of_bandwidth == pytest.approx(row.nbytes / row.seconds / BANDWIDTH)
    assert row.speedup == pytest.approx(baseline.seconds / row.seconds)
    assert row.speedup_with_placing == pytest.approx(baseline.seconds / row.seconds_with_placing)
    assert (baseline.backend, baseline.speedup) == ("numpy.matvec", 1.0)


@pytest.mark.parametrize("code", "?bBhiqQefdgFDG")
def test_all_agree_in_every_dtype(code: str) -> None:
    result = parlinalg.compare(sizes=[70], dtype=code, backends=["auto", "openmp"])
    assert {row.dtype for row in result.rows} == {str(np.dtype(code))}
    assert len(result.rows) == 3
    assert not result.disagreements


@pytest.mark.parametrize("layout", ["C", "F", "sliced", "flipped"])
def test_all_agree_in_every_layout(layout: str) -> None:
    result = parlinalg.compare(sizes=[70], layout=layout, x_dtype="float32", backends=["openmp"])
    assert [(row.m, row.n, row.dtype) for row in result.rows] == [(70, 70, "float64")] * 2
    assert not result.disagreements


def test_overflow_is_no_disagreement() -> None:
    A = np.full((4, 4), 60000, np.float16)
    assert not parlinalg.compare(A, A[0], backends=["numpy", "openmp"]).disagreements


@pytest.mark.parametrize("wrong", ["placed", "one shot"])
@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_a_wrong_result_is_seen(wrong: str, dtype: str) -> None:
    result = parlinalg.compare(sizes=[8], dtype=dtype, backends=[Wrong(wrong), "numpy"])
    assert [row.backend for row in result.disagreements] == ["wrong"]
    assert result.disagreements[0].deviation > 1e6


def test_progress_goes_from_nothing_to_all() -> None:
    seen: list[float] = []
    parlinalg.compare(sizes=[3, 4], backends=[], progress=lambda share, what: seen.append(share))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 1)


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "ROUNDS", range(3, 4))
    turns: list[str] = []
    contender = compare_module._Contender
    both = [contender(name, 1, (lambda name=name: turns.append(name),)) for name in "ab"]
    monkeypatch.setattr(compare_module, "_number", lambda call: 0)
    compare_module._times(both, 100.0)
    assert "".join(turns) == "ababab"


class Clock:
    """A time in which other threads spin until `until`."""

    def __init__(self, until: float) -> None:
        self.now = self.spun = 0.0
        self.until = until

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.spun

    def sleep(self, seconds: float) -> None:
        self.spun += max(0.0, min(seconds, self.until - self.now))
        self.now += seconds


@pytest.mark.parametrize(("until", "waited"), [(0.0, 0.01), (0.1, 0.11), (60.0, 0.5)])
def test_who_spins_is_waited_for_but_not_for_ever(until: float, waited: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of the haste
    clock = Clock(until)
    monkeypatch.setattr(compare_module, "time", clock)
    compare_module._settle()
    assert clock.now == pytest.approx(waited, abs=0.0101)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((np.eye(3),), {}, "compare: x is missing; pass both A and x, or neither"),
        ((np.eye(3), np.ones(3)), {"sizes": [3]}, "compare: sizes is of random matrices"),
        ((np.eye(3), np.ones(4)), {}, "so x must have"),
        ((np.ones((2, 3, 3)), np.ones(3)), {}, "they must be (m, n) and (n,)"),
        ((), {"sizes": [3, 0]}, "compare: sizes holds 0; it must hold positive integers"),
        ((), {"sizes": [2.5]}, "compare: sizes holds 2.5"),
        ((), {"sizes": []}, "compare: sizes holds nothing"),
        ((), {"layout": "G"}, "compare: layout is 'G'; it must be one of C, F, sliced, flipped"),
        ((), {"backends": ["opemp"]}, "did you mean 'openmp'?"),
        ((), {"sizes": [3], "workers": 0}, "workers"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is compared below
        parlinalg.compare(*arguments, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("dtype", ["O", "U3", "M8[s]"])
def test_dtypes_that_are_no_numbers(dtype: str) -> None:
    with pytest.raises(TypeError, match="is not numeric"):
        parlinalg.compare(dtype=dtype)


def test_sizes_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "free_memory", lambda: 100 * 100 * 8 * compare_module.COPIES)
    assert [row.n for row in parlinalg.compare(backends=[], quick=True).rows] == [16, 64]


# The reference


@given(products([np.dtype(code) for code in "efd"], [normal], batches=False))
def test_deviation_is_that_of_exact_arithmetic(p: Product) -> None:
    dtype = np.result_type(p.A, p.x).newbyteorder("=")
    assume(dtype.char in "efd" and p.A.shape[1])
    y = np.matvec(p.A.astype(dtype), p.x.astype(dtype))
    y[:1] = np.nextafter(y[:1], dtype.type(np.inf))
    exact = exact_matvec(p.A, p.x)
    assume(np.isfinite(y).all() and exact.limit is not None)
    assert deviation(y, *reference(p.A, p.x)) == pytest.approx(exact.deviation(y), rel=0.6, abs=0.05)


@pytest.mark.parametrize(
    ("y", "product", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([1.0, 2.5], [1.0, 2.0], 5),
        ([np.nan, np.inf], [np.nan, np.inf], 0),
        ([1.0, np.inf], [1.0, -np.inf], math.inf),
        ([1.0, np.nan], [1.0, 2.0], math.inf),
        ([1.0, 2.0], [1.0, np.nan], math.inf),
        ([], [], 0),
    ],
)
def test_deviation(y: list[float], product: list[float], expected: float) -> None:
    bound = np.full(len(y), 0.1)
    assert deviation(np.array(y), np.array(product, np.longdouble), bound) == pytest.approx(expected)


def test_integers_must_be_the_same() -> None:
    A, x = np.array([[100, 100], [1, 2]], np.int8), np.array([100, 1], np.int8)
    y = np.matvec(A, x)
    assert deviation(y, *reference(A, x)) == 0
    assert deviation(y + np.int8(1), *reference(A, x)) == math.inf


# The table


def row(**changes: Any) -> Row:
    figures: dict[str, Any] = {
        "backend": "openmp",
        "workers": 2,
        "m": 30,
        "n": 50,
        "dtype": "float64",
        "nbytes": 12000,
        "seconds": 2e-6,
        "seconds_with_placing": 0.0034,
        "gigabytes_per_second": 6.0,
        "share_of_bandwidth": 0.3,
        "speedup": 1.5,
        "speedup_with_placing": 0.5,
        "deviation": 0.25,
    }
    return Row(**{**figures, **changes})


def printed(*rows: Row, **unavailable: str) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=120).print(table(rows, unavailable, BANDWIDTH, "The title"))
    return text.getvalue()


def test_the_table_holds_all_figures() -> None:
    text = printed(row())
    cells = ["The title", "30 x 50", "openmp", "2 us", "1.50", "3.4 ms", "0.50", "6.0", "30%", "0.25", "20.0 GB/s"]
    assert not [cell for cell in cells if cell not in text]


def test_the_table_ends_with_who_is_missing() -> None:
    text = printed(row(m=10000, n=10000), mpi="no [mpi] here. Install it")
    first, last = (next(line for line in text.splitlines() if name in line) for name in ("10000", "no [mpi] here"))
    assert first.index("openmp") == last.index("mpi")
    assert text.index(first) < text.index(last)


def test_the_table_is_loud_about_wrong_results() -> None:
    assert "WRONG: 7" in printed(row(deviation=7.0))
    assert "WRONG: inf" in printed(row(deviation=math.inf))


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.14159e-8, "31.4 ns"), (9.996e-7, "1 us"), (0.9996, "1 s"), (12.34, "12.3 s")]
)
def test_durations_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert text in printed(row(seconds=seconds))


# What is measured of the host


def test_bandwidth_is_that_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "SECONDS", 0.0)
    seconds = iter([4.0, 2.0, 1.0, 3.0, 100.0])
    sizes: list[int] = []

    def one_pass(buffer: Array, workers: int) -> float:
        sizes.append(buffer.nbytes)
        return next(seconds)

    monkeypatch.setattr(profile, "_pass", one_pass)
    bandwidth = profile.read_bandwidth(1)
    assert bandwidth == sizes[0] / 3.0
    assert sizes[0] > profile.last_level_cache() or sizes[0] >= profile.free_memory() // 5


def test_bandwidth_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "SECONDS", 0.0)
    monkeypatch.setattr(profile, "LEAST_BUFFER", 1 << 20)
    monkeypatch.setattr(profile, "last_level_cache", lambda: 0)
    assert 1e7 < profile.read_bandwidth() < 1e13


def test_caches_of_all_processors_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu in range(4):
        for index, (level, size, shared) in enumerate([(1, "32K", cpu), (2, "1M", cpu), (3, "16384K", cpu // 2)]):
            folder = tmp_path / f"cpu{cpu}/cache/index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "size").write_text(f"{size}\n")
            (folder / "shared_cpu_list").write_text(f"{shared}\n")
    monkeypatch.setattr(profile, "CPUS", tmp_path)
    assert profile.last_level_cache() == 2 * 16 * 2**20
    monkeypatch.setattr(profile, "CPUS", tmp_path / "absent")
    assert profile.last_level_cache() == profile.USUAL_CACHE


def test_free_memory_is_what_the_container_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, limit, used = (tmp_path / name for name in ("meminfo", "limit", "used"))
    host.write_text("MemTotal: 16 kB\nMemAvailable:    8 kB\n")
    limit.write_text("max\n")
    used.write_text("1000\n")
    monkeypatch.setattr(profile, "MEMINFO", host)
    monkeypatch.setattr(profile, "CGROUPS", ((limit, used),))
    assert profile.free_memory() == 8192
    limit.write_text("1500\n")
    assert profile.free_memory() == 500
    limit.write_text("900\n")
    assert profile.free_memory() == 0
    monkeypatch.setattr(profile, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(profile, "CGROUPS", ())
    assert profile.free_memory() > 2**20
