"""What all tests share: the settings of hypothesis, an installed toy backend, and the names of the backends."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from parlinalg import _kernels, api
from parlinalg.dispatch import use_model
from parlinalg.profiles import builtin
from parlinalg.registry import names, usable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest_plugins = ("leftovers", "skips")

settings.register_profile("quick", max_examples=40, derandomize=True, database=None, deadline=None)
settings.register_profile("some", max_examples=20, derandomize=True, database=None, deadline=None)
settings.register_profile("few", max_examples=8, derandomize=True, database=None, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("PARLINALG_HYPOTHESIS", "quick"))

TOY = Path(__file__).parent / "toy_backend"
_site = tempfile.TemporaryDirectory(prefix="parlinalg-toy-")


def _install_toy_backend(site: Path) -> None:
    """What ``pip install tests/toy_backend`` would leave, without the need for pip."""
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    metadata = site / f"toy_backend-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    sys.path[:0] = [str(site), str(TOY)]


_install_toy_backend(Path(_site.name))
use_model(builtin())  # neither the user's own profile, nor what a probe finds


@pytest.fixture(params=[name for name in names() if usable(name)])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend that can run here; `test_can_run` says why the others cannot."""
    return str(request.param)


@pytest.fixture(params=_kernels.available())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each instruction set that this processor has, while the kernels use it."""
    before = _kernels.simd()
    _kernels.select(request.param)
    yield request.param
    _kernels.select(before)


@pytest.fixture(autouse=True)
def _processors_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen must not depend on what else runs on this host."""
    monkeypatch.setattr(_kernels, "threads_are_late", lambda: False)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes each time that the general way chooses a backend, which the short cut never does."""
    calls: list[str] = []
    choose = vars(api)["engage"]

    def noting(*arguments: Any, **options: Any) -> Any:
        calls.append("general")
        return choose(*arguments, **options)

    monkeypatch.setattr(api, "engage", noting)
    monkeypatch.delenv("PARLINALG_BACKEND", raising=False)
    monkeypatch.delenv("PARLINALG_WORKERS", raising=False)
    return calls
