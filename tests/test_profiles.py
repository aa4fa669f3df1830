"""What is known of this host: curves, the file that keeps them, the probe, and ``tune``."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parlinalg
from parlinalg import probe, tuning
from parlinalg.backends._device import Settings
from parlinalg.cli import main
from parlinalg.dispatch import current_model, use_model
from parlinalg.model import SMALLEST, Candidate, Curve, Model, kind_of, layout_of
from parlinalg.probe import scaled_to_this_host
from parlinalg.profiles import builtin, default_path, from_json, load, save, stored, to_json

ONE, TWO, BLAS = Candidate("openmp", 1), Candidate("openmp", 2), Candidate("numpy", 1)
times = st.floats(1e-7, 1e-1)


@pytest.fixture(autouse=True)
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PARLINALG_PROFILE", str(tmp_path / "own" / "profile.json"))
    before = current_model()
    yield
    use_model(before)
    stored.cache_clear()


# Curves


@given(st.lists(times, min_size=1, max_size=6), st.floats(1, 1e10))
def test_a_curve_passes_through_its_points_and_stays_between_them(seconds: list[float], nbytes: float) -> None:
    sizes = tuple(float(1 << (12 + 3 * i)) for i in range(len(seconds)))
    curve = Curve(sizes, tuple(seconds))
    for size, found in zip(sizes, seconds, strict=True):
        assert math.isclose(curve(size), found, rel_tol=1e-9)
    if sizes[0] <= nbytes <= sizes[-1]:
        assert min(seconds) * (1 - 1e-9) <= curve(nbytes) <= max(seconds) * (1 + 1e-9)
    assert curve(2 * sizes[-1]) == pytest.approx(2 * seconds[-1])
    assert curve.scaled(3)(nbytes) == pytest.approx(3 * curve(nbytes))


@given(
    one=st.lists(times, min_size=3, max_size=3), two=st.lists(times, min_size=3, max_size=3), nbytes=st.floats(1, 1e9)
)
def test_steps_choose_what_hardly_anything_beats(one: list[float], two: list[float], nbytes: float) -> None:
    sizes = (4096.0, 1e6, 1e8)
    model = Model({"matvec float64 rows": {ONE: Curve(sizes, tuple(one)), TWO: Curve(sizes, tuple(two))}})
    chosen = model.choose("matvec float64 rows", nbytes)
    if nbytes < SMALLEST:
        assert chosen == ONE
        return
    edges = [nbytes / 1.26, nbytes]  # a step holds from one size that was looked at to the next
    predicted = [model.predict("matvec float64 rows", size) for size in edges]
    assert any(of_size[chosen] <= 1.09 * min(of_size.values()) for of_size in predicted) or one != two


@pytest.mark.parametrize(
    ("layout", "nbytes", "blas", "expected"),  # seconds of BLAS, where two threads take one
    [
        ("rows", 1e6, 1.1, BLAS),
        ("rows", 1e6, 1.5, TWO),
        ("rows", 2e8, 0.95, TWO),
        ("rows", 2e8, 0.90, BLAS),
        ("columns", 2e8, 1.05, BLAS),
        ("columns", 2e8, 1.15, TWO),
    ],
)
def test_what_hardly_differs(layout: str, nbytes: float, blas: float, expected: Candidate) -> None:
    sizes, kind = (4096.0, 1e9), f"matvec float64 {layout}"
    curves = {ONE: Curve(sizes, (3.0, 3.0)), TWO: Curve(sizes, (1.0, 1.0)), BLAS: Curve(sizes, (blas, blas))}
    assert Model({kind: curves}).best(kind, nbytes) == expected


@pytest.mark.parametrize("character", "?bBhHiIlLqQefdFDgG")
@pytest.mark.parametrize("layout", ["rows", "columns", "other", "short"])
@pytest.mark.parametrize("operation", ["matvec", "sum", "exact"])
def test_every_kind_of_call_has_a_candidate(character: str, layout: str, operation: str) -> None:
    kind = kind_of(operation, np.dtype(character), layout)
    for nbytes in (1, 10**5, 10**7, 10**10):
        chosen = builtin().choose(kind, nbytes)
        assert chosen.backend == "openmp" or character in "fdFD"


def test_layouts() -> None:
    A = np.ones((4, 6))
    of_bytes = np.frombuffer(bytes(8 * 24 + 1), np.uint8)[1:].view(np.float64).reshape(4, 6)
    found = [
        layout_of(one, np.dtype(float))
        for one in (A, A.T, A[::-1, ::-1], A[:, ::2], A.astype(">f8"), of_bytes, A.astype(int), A[0])
    ]
    assert found == ["rows", "columns", *5 * ["other"], "rows"]
    tall = np.ones((64, 32))
    assert [layout_of(one, np.dtype(float)) for one in (tall, tall.T, tall.T.copy(), tall[:63], tall[:, ::2])] == [
        "short",
        "short",
        "rows",
        "rows",
        "other",
    ]


# The file


def test_a_profile_is_read_as_it_was_written() -> None:
    model = Model(builtin().curves, "", {"process": 1e9}, {"a device": {"group": 64}}, builtin().probe)
    save(model, default_path())
    read = load(default_path())
    assert read is not None
    assert to_json(read) == to_json(model)
    assert read.source == str(default_path())
    assert default_path().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in default_path().parent.iterdir()] == ["profile.json"]


def test_a_profile_that_is_there_is_used(tmp_path: Path) -> None:
    curves = {kind: {ONE: Curve((1.0,), (1e-9,)), TWO: Curve((1.0,), (1e-3,))} for kind in builtin().curves}
    save(Model(curves, probe=builtin().probe), default_path())
    program = "import numpy as np, parlinalg; print(parlinalg.explain(np.ones((999, 999)), np.ones(999)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert f"measurements {default_path()}" in done.stdout
    assert done.stdout.startswith("openmp, 1 worker")
    assert done.stderr == ""


@pytest.mark.parametrize("named", [True, False])
def test_ranks_choose_by_what_all_of_them_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if not named:
        monkeypatch.delenv("PARLINALG_PROFILE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save(builtin(), default_path())
    monkeypatch.setenv("PMI_SIZE", "2")
    program = "import numpy as np, parlinalg; print(parlinalg.explain(np.ones((999, 999)), np.ones(999)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert f"measurements {default_path() if named else 'built in'}\n" in done.stdout


def damage(**changes: Any) -> str:
    save(builtin(), default_path())
    data = json.loads(default_path().read_text()) | changes
    return json.dumps(data)


ROWS = {"backend": "openmp", "workers": 1, "bytes": [1], "seconds": [1e-6]}
NEEDED = ("matvec float64 rows", "exact float64 rows", "sum float64 rows")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"host": "elsewhere"}, "it is for host 'elsewhere'"),
        ({"processor": "9 x abacus"}, "it is for processor"),
        ({"kernels": "parlinalg 0.0"}, "it is for kernels"),
        ({"format": 99}, "its format is not 1"),
        ({"curves": {}}, "it has no curve of 'matvec float64 rows'"),
        ({"curves": None}, "has no attribute"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "seconds": [0]}])}, "are not all positive"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "seconds": [float("nan")]}])}, "are not all positive"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "bytes": [1, 1], "seconds": [1, 1]}])}, "do not ascend"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "workers": "many"}])}, "curve of 'many' workers"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "workers": float("inf")}])}, "curve of inf workers"),
        ({"curves": dict.fromkeys(NEEDED, [{**ROWS, "workers": 10**6}])}, "curve of 1000000 workers"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored_with_a_warning(changes: dict[str, Any], reason: str) -> None:
    default_path().parent.mkdir()
    default_path().write_text(damage(**changes))
    with pytest.warns(UserWarning, match=f"is ignored: .*{reason}.*parlinalg tune"):
        assert load(default_path()) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000, '"' + "x" * (1 << 22) + '"'])
def test_a_damaged_profile_is_ignored_with_a_warning(text: str) -> None:
    default_path().parent.mkdir()
    default_path().write_text(text)
    with pytest.warns(UserWarning, match="is ignored"):
        assert load(default_path()) is None


def test_tune_says_first_that_it_cannot_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PARLINALG_PROFILE", str(tmp_path / "file" / "profile.json"))
    monkeypatch.setattr(tuning, "_useful_workers", lambda: pytest.fail("it measures"))
    with pytest.raises(OSError, match=r"cannot be written to .*PARLINALG_PROFILE name another file"):
        parlinalg.tune(quick=True)


def test_a_profile_of_another_user_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    save(builtin(), default_path())
    monkeypatch.setattr(os, "getuid", lambda: os.stat(default_path()).st_uid + 1)
    if os.stat(default_path()).st_uid != 0:
        with pytest.warns(UserWarning, match="belongs to another user"):
            assert load(default_path()) is None


def test_no_profile_is_no_reason_to_warn_unless_it_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="it is not there"):
        assert load(default_path()) is None
    monkeypatch.delenv("PARLINALG_PROFILE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "parlinalg" / "profile.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(default_path()) is None


def test_a_profile_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(builtin(), default_path())
    assert list(default_path().parent.iterdir()) == []


# Measuring


def test_the_probe_scales_each_candidate() -> None:
    scaled = scaled_to_this_host(builtin(), 5)
    for of_kind in scaled.curves.values():
        assert set(of_kind) <= {ONE, Candidate("openmp", 5), BLAS}
        assert ONE in of_kind
    assert "probe" in scaled.source
    assert {one.workers for one in scaled_to_this_host(builtin(), 1).curves["sum int8 rows"]} == {1}


@pytest.mark.parametrize(("factor", "believed"), [(1.0, False), (1.3, False), (2.0, True), (0.5, True)])
def test_the_probe_is_believed_where_it_tells_much(
    monkeypatch: pytest.MonkeyPatch, factor: float, believed: bool
) -> None:
    host = {one: 3 * seconds * (factor if one == TWO else 1) for one, seconds in builtin().probe.items()}
    monkeypatch.setattr(probe, "seconds_of_probe", lambda workers: host)
    model = scaled_to_this_host(builtin(), 2)
    assert model.doubted == believed
    scaled, own = (m.curves["matvec float64 rows"] for m in (model, builtin()))
    for one, curve in scaled.items():
        times_as_long = 3 * (factor if believed and one == TWO else 1)
        assert math.isclose(curve(1e6), times_as_long * own[one](1e6), rel_tol=1e-9)


def test_tune_measures_and_keeps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("SIZES", "QUICK_SIZES"):
        monkeypatch.setattr(tuning, name, (1 << 12, 1 << 16, 1 << 18))
    monkeypatch.setattr(tuning, "HUGE", 1 << 19)
    monkeypatch.setattr(tuning, "QUICK_DTYPES", "dFb")
    monkeypatch.setattr(tuning, "RESIDENT_SIZES", (1 << 12, 1 << 15))
    monkeypatch.setattr(tuning, "LEAST_SECONDS", 1e-5)
    assert main(["tune", "--quick"]) == 0
    assert str(default_path()) in capsys.readouterr().out
    read = load(default_path())
    assert read is not None
    assert {"matvec float64 rows", "exact complex64 rows", "sum int8 other"} <= set(read.curves)
    assert {one.backend for one in read.curves["matvec float64 rows"]} >= {"openmp", "numpy", "process"}
    assert read.uploads["process"] > 0
    assert current_model().source == str(default_path())
    for settings in read.devices.values():
        assert Settings(**settings).group > 0
    seen: list[tuple[float, str]] = []
    assert parlinalg.tune(quick=True, progress=lambda share, what: seen.append((share, what))) == default_path()
    assert seen == sorted(seen, key=lambda one: one[0])
    assert seen[-1] == (1.0, "done")


def test_from_json_refuses_what_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        from_json({"curves": to_json(builtin())["curves"]}, "")


def test_a_profile_is_a_regular_file_that_only_its_user_may_change(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    shared = tmp_path / "shared.json"
    shared.write_text("{}")
    os.chmod(shared, 0o666)
    for path, words in (
        (pipe, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (shared, "anybody may write"),
    ):
        with pytest.warns(UserWarning, match=words):
            assert load(path) is None
