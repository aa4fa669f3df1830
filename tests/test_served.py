"""Ranks that the comparison starts for itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

import parlinalg
from measuring import hurry
from parlinalg.registry import backend_class
from parlinalg.served import Served

if backend_class("mpi").why_not() is not None:
    pytest.skip(f"backend 'mpi' cannot run here: {backend_class('mpi').why_not()}", allow_module_level=True)


def test_ranks_are_started_for_mpi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = parlinalg.compare(sizes=[33], backends=["mpi"], workers=2)
    assert [(row.backend, row.workers, row.agrees) for row in result.rows[1:]] == [("mpi", 2, True)]
    assert not list(tmp_path.iterdir()), "files are left behind"


def test_ranks_that_end_early_are_an_error() -> None:
    A = np.ones((3, 3))
    with Served(A, A[0], 2) as served:
        served.calls[0]()
        with pytest.raises(parlinalg.BackendError, match="the ranks ended early"):
            served.ask(5, 1)  # a call that there is not
    with Served(A, np.ones(4), 2) as served, pytest.raises(parlinalg.BackendError, match="x has shape"):
        served.calls[0]()
