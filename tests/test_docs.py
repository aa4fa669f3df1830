"""What the documentation shows is what happens: pages, docstrings, and the site are built from what is there."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import pages
import parlinalg
import parlinalg.testing

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
EXTENDING = ROOT / "tests/toy_backend"  # the page "extending" uses the backend that it shows

PUBLIC_MODULES = [parlinalg, importlib.import_module("parlinalg.backends"), parlinalg.testing]
SECTIONS = ["Parameters", "Attributes", "Returns", "Yields", "Raises", "See Also", "Notes", "References", "Examples"]


def public_objects() -> Iterator[tuple[str, Any]]:
    """Every public name, and the methods of public classes that have docstrings of their own."""
    for module in PUBLIC_MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value) and value is not parlinalg.testing.BackendSuite:
                for method, function in inspect.getmembers(value, inspect.isroutine):
                    if not method.startswith("_") and method in vars(value) and function.__doc__:
                        yield f"{module.__name__}.{name}.{method}", function


OBJECTS = dict(public_objects())
NAMES = [f"{module.__name__}.{name}" for module in PUBLIC_MODULES for name in module.__all__]


# Pages


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where `parlinalg`, the command and the package, is this checkout, whatever is installed."""
    command = tmp_path_factory.mktemp("bin") / "parlinalg"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom parlinalg.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLINALG_")}
    return clean | {"PATH": path, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, EXTENDING)))}


def run_page(page: Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", pages.__file__, str(page)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=110
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if list(pages.blocks_of(page))], ids=lambda page: page.stem)
def test_page_runs_as_printed(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    done = run_page(page, tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "block",
    [
        "```python\nassert 1 == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\nx = 1\n```\n\n```python\n>>> x\n2\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ exit 3\n```\n",
        "```console\n$ exit 3\n...\n```\n",
    ],
    ids=["raises", "prints something else", "later block", "console", "exit code", "exit code with output"],
)
def test_a_wrong_page_is_seen(block: str, tmp_path: Path, environment: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}")
    assert run_page(page, tmp_path, environment).returncode == 1


def test_blocks_share_a_namespace_and_a_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 1\nopen('file', 'w').close()\n```\n```python\n>>> x += 1\n>>> x\n2\n```\n"
        "```python\nassert x == 2\n```\n```console\n$ ls file\nfile\n```\n```sh\nexit 3\n```\n"
    )
    done = run_page(page, tmp_path, environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_files_that_pages_name_exist() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in set(re.findall(r"`((?:tests|ext|parlinalg|docs)/[\w/.-]+\.\w+)`", text)):
        assert (ROOT / name).exists(), name
    for name in set(re.findall(r"`(test_\w+\.py)`", text)):
        assert (ROOT / "tests" / name).exists(), name


# Reference


REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_in_the_reference(name: str) -> None:
    assert re.search(rf"^.. auto\w+:: {re.escape(name)}(\(\))?$", REFERENCE, re.MULTILINE), name


def test_environment_variables_are_in_the_reference() -> None:
    sources = [*ROOT.glob("parlinalg/**/*.py"), *ROOT.glob("ext/*.pyx"), ROOT / "setup.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    read = set(re.findall(r"""(?:environ(?:\.get)?[(\[]|getenv\(|setting\(b|^)"(PARLINALG_\w+)\"""", text))
    assert {"PARLINALG_BACKEND", "PARLINALG_WORKERS", "PARLINALG_SIMD", "PARLINALG_NO_OPENMP"} <= read
    assert {name for name in read if f"| `{name}` |" not in REFERENCE} == set()


# Docstrings


def modules() -> Iterator[str]:
    yield "parlinalg"
    found = pkgutil.walk_packages(parlinalg.__path__, "parlinalg.")
    yield from (module.name for module in found if not module.name.endswith("__main__"))  # which would run


@pytest.mark.parametrize("name", list(modules()))
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=pages.FLAGS)
    assert result.failed == 0


CALLED = ("matvec", "vecmat", "vecdot", "psum", "PartialSum", "operator", "explain", "backends", "set_backend")


@pytest.mark.parametrize("name", [*CALLED, "default_workers"])
def test_what_users_call_has_an_example(name: str) -> None:
    assert any(test.examples for test in doctest.DocTestFinder().find(getattr(parlinalg, name), name)), name


def sections(docstring: str) -> list[str]:
    """The titles that are underlined as they must be."""
    lines = docstring.splitlines()
    return [title for title, under in zip(lines, lines[1:], strict=False) if title and under == "-" * len(title)]


def documented(docstring: str) -> list[str]:
    """The names under "Parameters", of which several may share a line."""
    body = re.search(r"^Parameters\n-+\n(.*?)(?=^[A-Z][A-Za-z ]+\n-+$|\Z)", docstring, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^\S.*", body[1], re.MULTILINE) if body else []
    return [name.strip().lstrip("*") for line in lines for name in line.partition(" : ")[0].split(",")]


def arguments(value: Callable[..., Any]) -> list[str]:
    if inspect.isclass(value) and value.__init__ is object.__init__:
        return []
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls", "args", "kwargs")]


def faults(value: Callable[..., Any]) -> list[str]:
    """What a docstring lacks. It may refer to another one, or name its arguments in a sentence."""
    docstring = inspect.getdoc(value) or ""
    found, names = sections(docstring), arguments(value)
    underlined = re.findall(r"^(.+)\n-{3,}$", docstring, re.MULTILINE)
    says = [
        ("no docstring", not docstring),
        ("its first line is no sentence", not re.match(r"\S[^\n]*[.:]$", docstring.partition("\n")[0])),
        (
            "sections that numpydoc does not know, or underlined wrongly",
            underlined != [s for s in SECTIONS if s in found],
        ),
    ]
    if documented(docstring):
        says += [
            (f"parameters {documented(docstring)} instead of {names}", documented(docstring) != names),
            ("no Returns", "Returns" not in found and returns_something(value)),
        ]
    else:
        missing = [name for name in names if not re.search(rf"`[^`]*\b{name}\b[^`]*`", docstring)]
        refers = re.search(r"\b(as|those of|of) `\w+`", docstring)
        says.append((f"nothing of the parameters {missing}", bool(missing) and not refers))
    return [fault for fault, there in says if there]


def returns_something(value: Callable[..., Any]) -> bool:
    return not inspect.isclass(value) and inspect.signature(value).return_annotation not in ("None", None)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_docstring_is_in_numpy_style(name: str) -> None:
    value = OBJECTS[name]
    if value is parlinalg.Operator or is_dataclass(value) or (inspect.isclass(value) and issubclass(value, Exception)):
        assert inspect.getdoc(value)  # made by us, never by users
    else:
        assert faults(value) == []


def good(a: int) -> int:
    """Add one.

    Parameters
    ----------
    a : int

    Returns
    -------
    int
    """
    return a + 1


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Add one.", "", "first line"),
        ("a : int", "b : int", "parameters"),
        ("Parameters\n----------\na : int\n\n", "", "nothing of the parameters"),
        ("Returns\n-------\nint", "", "no Returns"),
        ("-------\nint", "------\nint", "underlined"),
        ("Returns\n-------", "Gives\n-----", "sections"),
    ],
)
def test_a_wrong_docstring_is_seen(old: str, new: str, fault: str) -> None:
    def bad(a: int) -> int:
        return a

    right = inspect.getdoc(good) or ""
    assert faults(good) == []
    assert old in right
    bad.__doc__ = right.replace(old, new)
    assert any(fault in found for found in faults(bad)), faults(bad)


# Site


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip('the site needs Sphinx. Install it: pip install "parlinalg[docs]"')
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*sphinx, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "html/reference.html").read_text(encoding="utf-8")
    assert "numpy.matvec" in text
