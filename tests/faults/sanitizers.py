"""Builds of the C code with sanitizers, and what they find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["build_extensions", "compile_driver", "environment_of"]

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("race.c")
ADDRESS = "address,undefined"


def compile_driver(folder: Path, sanitizer: str, *macros: str) -> Path:
    """race.c, with the kernels that any processor can run."""
    program = folder / f"race-{sanitizer.split(',')[0]}-{'-'.join(macros) or 'plain'}"
    generated = {path.stem for path in (ROOT / "ext").glob("*.pyx")}
    sources = [DRIVER, *sorted(path for path in (ROOT / "ext").glob("*.c") if path.stem not in generated)]
    command = ["gcc", "-std=gnu11", "-O1", "-g", "-fopenmp", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    command += [
        "-fno-strict-aliasing",
        "-ffp-contract=off",
        "-DPARLINALG_ISA=baseline",
        *(f"-D{one}" for one in macros),
    ]
    command += ["-I", str(ROOT / "ext"), *map(str, sources), "-o", str(program), "-lm"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


def build_extensions(folder: Path) -> Path:
    """The package with extensions that look at every address and every undefined operation; what PYTHONPATH must be."""
    flags = f"-fsanitize={ADDRESS} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
    target = folder / "lib"
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(folder), "--build-lib", str(target)]
    environment = os.environ | {"CFLAGS": flags, "LDFLAGS": f"-fsanitize={ADDRESS}"}
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return target


def environment_of(target: Path) -> dict[str, str]:
    """For a process that uses these extensions."""
    find = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    return {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(target),
        "PYTHONMALLOC": "malloc",
    }


if __name__ == "__main__":  # the tests, with the extensions that `environment_of` names, and not with others
    import pytest

    import parlinalg

    assert "asan" in parlinalg.__file__, parlinalg.__file__
    failed = pytest.main(sys.argv[1:])
    assert "asan" in sys.modules["parlinalg._kernels"].__file__  # type: ignore[operator]
    print("not all passed" if failed else "ok")
    sys.exit(failed)
