"""What `import parlinalg` gives and what it costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import parlinalg

PACKAGE = Path(parlinalg.__file__).parent
STOOD_ON = {"ipyparallel", "matplotlib", "mpi4py", "pyopencl", "scipy", "sklearn"}
HEAVY = STOOD_ON | {"IPython", "_posixshmem", "asyncio", "multiprocessing", "rich"}
SNIPPET = """
import sys, numpy
before = set(sys.modules)
import parlinalg
print(*sorted(set(sys.modules) - before))
"""


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_loads_nothing_heavy() -> None:
    loaded = loaded_by(SNIPPET)
    assert "parlinalg.api" in loaded
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert {name for name in loaded if name.startswith("parlinalg.backends.")} == {
        "parlinalg.backends._base",
        "parlinalg.backends._numpy",
        "parlinalg.backends._openmp",
    }


def test_listing_backends_loads_nothing_heavy() -> None:
    code = SNIPPET.replace("import parlinalg\n", "import parlinalg; parlinalg.backends()\n")
    assert not {name.split(".")[0] for name in loaded_by(code)} & STOOD_ON


def test_the_heavy_would_be_seen() -> None:
    assert "multiprocessing" in loaded_by(SNIPPET.replace("import parlinalg\n", "import multiprocessing\n"))


MODULES = [
    "parlinalg" + "".join(f".{part}" for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem not in {"_kernels", "_small", "__main__"}
]


def defined(tree: ast.Module) -> set[str]:
    """Public functions and classes at the top level of a module; constants may stay unlisted."""
    nodes = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    return {node.name for node in nodes if not node.name.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_the_module_defines(name: str) -> None:
    module = importlib.import_module(name)
    listed = module.__all__
    assert len(listed) == len(set(listed))
    assert not [one for one in listed if not hasattr(module, one)]
    is_public = not any(part.startswith("_") for part in name.split("."))
    if is_public and module.__file__ and not module.__file__.endswith("__init__.py"):
        tree = ast.parse(Path(module.__file__).read_text())
        assert defined(tree) - set(listed) == set()


def test_the_package_lists_all_that_it_imports() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    relative = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level)
    imported = {name.name for node in relative for name in node.names}
    assert imported - {"_load"} == set(parlinalg.__all__)
