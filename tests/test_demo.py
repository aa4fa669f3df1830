"""The demonstration, on few digits: it finishes, draws, and fails where a backend is wrong."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import parlinalg
from measuring import hurry

ROOT = Path(__file__).parents[1]


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    hurry(monkeypatch)
    spec = importlib.util.spec_from_file_location("digits", ROOT / "docs/examples/digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_runs(digits: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert digits.main(tmp_path / "new", images=150, sizes=(8, 16)) == 0
    captured = capsys.readouterr()
    for name, backend in parlinalg.backends().items():
        assert (f"eigsh on {name}: " if backend.available else f"{backend.why_not}") in captured.out
    assert "150 x 150" in captured.out
    assert captured.err == ""
    for picture in ("digits.png", "durations.png"):
        assert (tmp_path / "new" / picture).read_bytes().startswith(b"\x89PNG")


def test_the_demo_fails_where_a_backend_is_wrong(
    digits: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = digits.leading_eigenpairs

    def wrong(K: NDArray[Any], backend: str) -> Any:
        return right(K + np.eye(len(K)) if backend == "openmp" else K, backend)

    monkeypatch.setattr(digits, "leading_eigenpairs", wrong)
    assert digits.main(tmp_path, images=150, sizes=(8,)) == 1
    assert capsys.readouterr().err == "error: openmp does not agree with NumPy\n"


def test_the_demo_fails_where_a_comparison_sees_a_wrong_result(
    digits: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare = parlinalg.compare

    def wrong(*arguments: Any, **options: Any) -> Any:
        result = compare(*arguments, **options, backends=["openmp"])
        wrongly = 2.0 if "sizes" in options else 1.0  # 1 is just right
        return replace(result, rows=(*result.rows[:-1], replace(result.rows[-1], deviation=wrongly)))

    monkeypatch.setattr(parlinalg, "compare", wrong)
    assert digits.main(tmp_path, images=150, sizes=(8,)) == 1
    assert capsys.readouterr().err == "error: openmp does not agree with NumPy\n"


def test_the_kernel_matrix_is_centred(digits: ModuleType) -> None:
    images = np.random.default_rng(0).random((20, 5))
    K = digits.kernel_matrix(images)
    assert np.allclose(K, K.T)
    assert np.allclose(K.sum(axis=0), 0)
