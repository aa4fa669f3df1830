"""The command line: its results, its files, and one line for every mistake."""

from __future__ import annotations

import importlib
import json
import math
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

import parlinalg
from measuring import hurry
from parlinalg.backends import Backend
from parlinalg.cli import main
from parlinalg.registry import backend_class
from parlinalg.testing.oracle import exact_matvec

Array = NDArray[Any]

compare_command = importlib.import_module("parlinalg.cli._compare")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: files of operands, and some that are none."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    np.save("A.npy", rng.standard_normal((40, 30)))
    np.save("x.npy", rng.standard_normal(30))
    np.save("short.npy", np.ones(29))
    np.save("objects.npy", np.array([1, "a"], object))
    np.save("text.npy", np.array(["a"]))
    np.savez("several.npz", a=np.ones(3))
    Path("prose.npy").write_text("Call me Ishmael.\n")
    Path("nothing.npy").touch()
    Path("part.npy").write_bytes(Path("A.npy").read_bytes()[:500])
    Path("box").mkdir()
    return tmp_path


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(parlinalg.__file__).parents[1])}


def python(*arguments: str, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)


def shell(arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a shell, which joins it to other programs and files."""
    command = f"{shlex.quote(sys.executable)} -m parlinalg {arguments}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)


def bits(array: Array) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()


# matvec and psum


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["--backend", "openmp", "--workers", "2"], {"backend": "openmp", "workers": 2}),
        (["--dtype", "complex128"], {"dtype": "complex128"}),
    ],
)
def test_matvec_writes_the_product(options: list[str], arguments: dict[str, Any]) -> None:
    assert main(["matvec", "A.npy", "x.npy", "-o", "y", *options]) == 0
    A, x = np.load("A.npy"), np.load("x.npy")
    y = np.load("y")
    assert np.allclose(y, A @ x)
    assert bits(y) == bits(parlinalg.matvec(A, x, **arguments))


@pytest.mark.parametrize("backend", ["numpy", "openmp", "process"])
def test_an_exact_product_is_rounded_once(backend: str) -> None:
    A, x = np.array([[1e200, 1e200, 3.0], [1e16, 1.0, -1e16]]), np.array([1e200, -1e200, 2.0])
    np.save("A.npy", A)
    np.save("x.npy", x)
    assert main(["matvec", "A.npy", "x.npy", "--exact", "-o", "y.npy", "--backend", backend]) == 0
    assert bits(np.load("y.npy")) == bits(exact_matvec(A, x).rounded())
    assert np.load("y.npy")[0] == 6.0


@pytest.mark.parametrize(
    "A", [np.ones((0, 3)), np.ones((4, 0)), np.asfortranarray(np.arange(12.0).reshape(4, 3)), np.eye(3, dtype=">i2")]
)
def test_files_of_any_layout(A: Array) -> None:
    np.save("A.npy", A)
    np.save("x.npy", np.ones(A.shape[1], A.dtype))
    assert main(["matvec", "A.npy", "x.npy", "-o", "y.npy"]) == 0
    assert main(["psum", "y.npy", "-o", "s.npy"]) == 0
    assert main(["psum", "s.npy", "-o", "s.npy"]) == 0  # a number, read from the file that is written
    assert np.load("y.npy").tolist() == (A @ np.ones(A.shape[1])).tolist()
    assert bits(np.load("s.npy")) == bits(np.asarray(parlinalg.psum(A @ np.ones(A.shape[1], A.dtype))))


def test_matvec_prints_every_digit_of_every_element(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("A.npy", np.random.default_rng(0).standard_normal((3000, 30)))
    assert main(["matvec", "A.npy", "x.npy"]) == 0
    printed = [float(part) for part in capsys.readouterr().out.strip("[]\n").split()]
    assert printed == parlinalg.matvec(np.load("A.npy"), np.load("x.npy")).tolist()


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["--axis", "0"], {"axis": 0}),
        (["--axis", "-1", "--keepdims"], {"axis": -1, "keepdims": True}),
        (["--axis", "0", "--axis", "1"], {"axis": (0, 1)}),
        (["--dtype", "float32", "--backend", "numpy"], {"dtype": "float32"}),
        (["--axis", "1", "--workers", "1"], {"axis": 1}),
    ],
)
def test_psum_writes_the_sum(options: list[str], arguments: dict[str, Any]) -> None:
    assert main(["psum", *options, "A.npy", "-o", "s.npy"]) == 0
    assert bits(np.load("s.npy")) == bits(np.asarray(parlinalg.psum(np.load("A.npy"), **arguments)))


def test_psum_prints_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["psum", "A.npy"]) == 0
    assert float(capsys.readouterr().out) == parlinalg.psum(np.load("A.npy"))


# Output files


def test_files_have_the_usual_permissions() -> None:
    before = os.umask(0o027)
    try:
        assert main(["psum", "A.npy", "-o", "s.npy"]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("s.npy").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_file_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def half(file: Any, array: Array) -> NoReturn:
        file.write(b"half")
        raise error

    Path("s.npy").write_text("what was there")
    before = sorted(os.listdir())
    monkeypatch.setattr(np, "save", half)
    assert main(["psum", "A.npy", "-o", "s.npy"]) == (130 if error is KeyboardInterrupt else 1)
    assert Path("s.npy").read_text() == "what was there"
    assert sorted(os.listdir()) == before


def test_what_a_link_points_to_is_written() -> None:
    Path("box/link.npy").symlink_to("../s.npy")
    assert main(["psum", "A.npy", "-o", "box/link.npy"]) == 0
    assert Path("box/link.npy").is_symlink()
    assert np.load("s.npy") == parlinalg.psum(np.load("A.npy"))


def test_a_name_may_be_as_long_as_the_system_allows() -> None:
    name = "n" * 251 + ".npy"
    assert main(["psum", "A.npy", "-o", name]) == 0
    assert np.load(name) == parlinalg.psum(np.load("A.npy"))


@pytest.mark.parametrize("command", ["psum A.npy --axis 2 -o", "compare --sizes 0 --json", "compare A.npy --plot"])
def test_a_mistake_leaves_files_alone(command: str) -> None:
    Path("old.png").write_text("what was there")
    before = sorted(os.listdir())
    assert main([*command.split(), "old.png"]) == 1
    assert main([*command.split(), "new.png"]) == 1
    assert Path("old.png").read_text() == "what was there"
    assert sorted(os.listdir()) == before


# Mistakes


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("matvec absent.npy x.npy", "absent.npy: No such file or directory"),
        ("matvec A.npy box", "box: Is a directory"),
        ("matvec A.npy short.npy", "x has shape (29,); A has shape (40, 30), so x must have (30,)"),
        ("matvec A.npy prose.npy", "prose.npy is not a .npy file of numbers"),
        ("matvec A.npy nothing.npy", "nothing.npy is not a .npy file of numbers"),
        ("matvec part.npy x.npy", "part.npy is not a .npy file of numbers"),
        ("matvec A.npy several.npz", "several.npz holds several arrays; pass a .npy file"),
        ("psum objects.npy", "objects.npy is not a .npy file of numbers"),
        ("psum text.npy", "psum: a has dtype <U1"),
        ("matvec A.npy x.npy --backend opemp", "unknown backend 'opemp'"),
        ("matvec A.npy x.npy --backend toy-absent", "backend 'toy-absent' cannot run here"),
        ("matvec A.npy x.npy --workers 0", "workers"),
        ("matvec A.npy x.npy --dtype i4,f8", "is not numeric"),
        ("psum A.npy --axis 2", "axis"),
        ("psum A.npy --axis 0 --axis 0", "names an axis twice"),
        ("psum A.npy -o absent/s.npy", "error: absent/s.npy: No such file or directory"),
        ("psum A.npy -o box", "box is a folder or a device"),
        ("psum A.npy -o /dev/null", "/dev/null is a folder or a device"),
        ("compare A.npy", "x is missing"),
        ("compare A.npy x.npy --sizes 3", "sizes is of random matrices"),
        ("compare --sizes 3,0", "sizes holds 0"),
        ("compare --backends opemp", "unknown backend 'opemp'"),
        ("compare --dtype S3", "not numeric"),
        ("compare --plot absent/a.png", "error: absent/a.png: No such file or directory"),
        ("compare --json box", "box is a folder or a device"),
    ],
)
def test_a_mistake_is_one_line(command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("parlinalg: error: ")
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("", "required: COMMAND"),
        ("nothing", "invalid choice: 'nothing'"),
        ("matvec A.npy", "required: x"),
        ("psum A.npy --axis a", "argument --axis: invalid int value: 'a'"),
        ("psum A.npy --dtype flaot", "argument --dtype: 'flaot' is no dtype; pass a name that NumPy knows"),
        ("matvec A.npy x.npy --dtype ,", "argument --dtype: ',' is no dtype"),
        ("compare --dtype flaot", "argument --dtype: 'flaot' is no dtype"),
        ("compare --x-dtype f3", "argument --x-dtype: 'f3' is no dtype"),
        ("compare --sizes 8,b", "argument --sizes: '8,b' is no list of integers, as 100,2000"),
        ("compare --layout G", "argument --layout: invalid choice: 'G'"),
        ("compare --plot a.npy", "'a.npy' does not end in .png, .svg or .pdf"),
    ],
)
def test_wrong_usage_is_status_2(command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: parlinalg")
    assert text in error.splitlines()[-1]


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*arguments: Any, **options: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("parlinalg.cli._psum.psum", interrupted)
    assert main(["psum", "A.npy"]) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_stops_a_comparison_and_its_workers() -> None:
    """Ctrl-C goes to all processes of a terminal's group; none may print a traceback, nor leave a file."""
    before = sorted(os.listdir())
    command = [sys.executable, "-m", "parlinalg", "compare", "--json", "f.json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=ENVIRONMENT, start_new_session=True) as process:
        limit = time.monotonic() + 60
        while sorted(os.listdir()) == before and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.2)  # the file is there: now it measures, for a minute
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert sorted(os.listdir()) == before


def test_a_reader_that_leaves_early_is_no_error() -> None:
    np.save("long.npy", np.ones((200_000, 1)))
    np.save("one.npy", np.ones(1))
    done = shell("matvec long.npy one.npy | head -c 10")
    assert (done.stdout, done.stderr) == ("[1. 1. 1. ", "")


@pytest.mark.parametrize("command", ["info", "psum A.npy", "compare A.npy x.npy --quick --backends numpy"])
def test_no_output_at_all_is_no_error(command: str) -> None:
    done = shell(f"{command} >&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_does_not_fit_is_an_error() -> None:
    done = shell("psum A.npy >/dev/full")
    assert (done.returncode, done.stderr) == (1, "parlinalg: error: [Errno 28] No space left on device\n")


# info


def test_info_names_versions_and_every_backend() -> None:
    done = python("info", code="import sys; sys.modules['rich'] = None\nfrom parlinalg.cli import main\nmain()")
    assert f"parlinalg {parlinalg.__version__}, NumPy {np.__version__}, Python" in done.stdout
    assert f"default workers: {parlinalg.default_workers()}" in done.stdout
    lines = done.stdout.splitlines()
    ours = [str(info) for info in parlinalg.backends().values() if not info.name.startswith("toy")]
    assert not [line for line in ours if line not in lines]
    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"parlinalg {parlinalg.__version__}\n"


# compare


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.usefixtures("_quickly")
@pytest.mark.parametrize("operands", [["A.npy", "x.npy"], ["--sizes", "8,16", "--dtype", "int8"]])
def test_compare(operands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--backends=numpy,openmp,toy-absent", "--workers=2", "--quick"]
    options = [*chosen, "--json", "f.json", "--plot", "p.png"]
    assert main(["compare", *operands, *options]) == 0
    captured = capsys.readouterr()
    figures = json.loads(Path("f.json").read_text())
    shapes = [(40, 30)] if operands[0] == "A.npy" else [(8, 8), (16, 16)]
    assert [(row["m"], row["n"], row["backend"]) for row in figures["rows"]] == [
        (*shape, name) for shape in shapes for name in ("numpy.matvec", "numpy", "openmp")
    ]
    assert all(row["agrees"] and row["seconds"] > 0 for row in figures["rows"])
    assert list(figures["unavailable"]) == ["toy-absent"]
    assert "openmp" in captured.out
    assert figures["unavailable"]["toy-absent"] in captured.out
    assert "\x1b" not in captured.out
    assert captured.err == ""
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def altered(compare: Callable[..., Any], deviation: float) -> Callable[..., Any]:
    def compare_wrongly(*arguments: Any, **options: Any) -> Any:
        result = compare(*arguments, **options)
        return replace(result, rows=(*result.rows[:-1], replace(result.rows[-1], deviation=deviation)))

    return compare_wrongly


@pytest.mark.usefixtures("_quickly")
@pytest.mark.parametrize("deviation", [7.5, math.inf, math.nan])
def test_disagreement_is_loud(
    deviation: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_command, "compare", altered(parlinalg.compare, deviation))
    assert main(["compare", "--sizes", "8", "--backends", "openmp", "--json", "f.json"]) == 1
    captured = capsys.readouterr()
    assert "WRONG" in captured.out
    assert captured.err.startswith("parlinalg: error: openmp is WRONG at 8 x 8, float64")
    wrong = json.loads(Path("f.json").read_text())["rows"][-1]
    assert wrong["agrees"] is False
    assert wrong["deviation"] == (deviation if math.isfinite(deviation) else None)


@pytest.mark.usefixtures("_quickly")
def test_garbage_of_a_backend_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def garbage(self: Backend, A: Array, x: Array, out: Array, workers: int) -> None:
        out[...] = 7

    monkeypatch.setattr(backend_class("toy-threads"), "matvec", garbage)
    assert main(["compare", "A.npy", "x.npy", "--backends", "toy-threads,numpy"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is WRONG ")[0] for line in lines] == ["parlinalg: error: toy-threads"]


@pytest.mark.parametrize(
    ("absent", "options", "extra"),
    [("rich", [], "cli"), ("matplotlib", ["--plot", "p.png"], "plot")],
)
def test_what_is_missing_is_said_before_anything_is_measured(absent: str, options: list[str], extra: str) -> None:
    code = f"import sys; sys.modules[{absent!r}] = None\nfrom parlinalg.cli import main\nsys.exit(main())"
    done = python("compare", *options, code=code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("parlinalg: error: ")
    assert f'pip install "parlinalg[{extra}]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("p.png").exists()
