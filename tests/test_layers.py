"""Imports point down, there is no cycle, and no function or file grows beyond what can be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom up. Modules of one rung do not import each other, except within folders.
RUNGS = [
    ["errors", "split", "_load", "_kernels", "_small", "reference", "rows"],
    ["workers"],
    ["exact", "files", "operands", "plan", "plot", "profile", "model"],
    ["probe", "profiles"],
    ["products"],
    ["backends"],
    ["registry"],
    ["dispatch"],
    ["device_arrays", "states"],
    ["api", "explaining", "partial"],
    ["distributed"],
    ["operators", "sums"],
    ["placing"],
    ["executors"],
    ["schedule", "taskmap"],
    ["tasks"],
    ["served"],
    ["compare", "tuning"],
    [""],  # the package itself: what users import
    ["testing"],
    ["cli"],
    ["__main__"],
]
RUNG = {name: rung for rung, names in enumerate(RUNGS) for name in names}
SOURCES = sorted(path for path in (ROOT / "parlinalg").rglob("*.py") if path.stem not in {"_kernels", "_small"})


def module(path: Path) -> str:
    """``"backends._base"`` of parlinalg/backends/_base.py, ``""`` of parlinalg/__init__.py."""
    return (
        ".".join(path.relative_to(ROOT / "parlinalg").with_suffix("").parts).removesuffix("__init__").removesuffix(".")
    )


def exists(name: str) -> bool:
    path = ROOT.joinpath("parlinalg", *name.split("."))
    return path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyi"))


def targets(node: ast.AST, path: Path) -> Iterator[str]:
    """The modules of this package that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (name.name[9:].lstrip(".") for name in node.names if name.name.split(".")[0] == "parlinalg")
    elif isinstance(node, ast.ImportFrom):
        package = ("parlinalg", *path.relative_to(ROOT / "parlinalg").parent.parts)
        parts = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")] if node.level else []
        source = ".".join(filter(None, parts)) if parts else node.module or ""
        if source.split(".")[0] == "parlinalg":
            inside = source[9:].lstrip(".")
            for name in node.names:
                deeper = f"{inside}.{name.name}".lstrip(".")
                yield deeper if exists(deeper) else inside


def imports(path: Path) -> set[str]:
    return {target for node in ast.walk(ast.parse(path.read_text())) for target in targets(node, path)}


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_imports_point_down(path: Path) -> None:
    own = module(path).split(".")[0]
    for target in imports(path):
        other = target.split(".")[0]
        assert RUNG[other] < RUNG[own] or (other == own and own in {"backends", "cli", "executors", "testing"}), target


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("from . import _kernels", "backends"),
        ("from .. import _kernels", "_kernels"),
        ("from .. import matvec", ""),
        ("from ._base import Backend", "backends._base"),
        ("from ..cli import main", "cli"),
        ("import parlinalg.api", "api"),
        ("from parlinalg.api import matvec", "api"),
        ("import numpy", None),
    ],
)
def test_imports_are_understood(statement: str, found: str | None) -> None:
    seen = list(targets(ast.parse(statement).body[0], ROOT / "parlinalg/backends/_new.py"))
    assert seen == ([] if found is None else [found])


def test_no_cycle() -> None:
    assert tuple(TopologicalSorter({module(path): imports(path) - {module(path)} for path in SOURCES}).static_order())


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_no_import_of_our_own_inside_functions(path: Path) -> None:
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    assert not [target for function in functions for node in ast.walk(function) for target in targets(node, path)]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > 60
    ]
    assert not long


def test_files_are_short() -> None:
    generated = {"_kernels.c", "_small.c"}
    written = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "ext").glob("*.*"), ROOT / "setup.py"]
    sources = [path for path in written if path.name not in generated]
    assert not [str(path) for path in sources if len(path.read_text().splitlines()) > 400]
