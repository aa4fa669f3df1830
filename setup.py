"""Builds the extensions: a table of kernels and instruction sets, and a loop."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# C files compiled once per instruction set, and once.
KERNELS = [
    "products",
    "convert",
    "matvec",
    "dots",
    "panels",
    "additions",
    "folds",
    "groups",
    "half_rows",
    "strips",
    "sums",
    "integers",
    "table",
]
COMMON = ["select", "round", "parallel", "placement"]
X86 = platform.machine().lower() in ("x86_64", "amd64")
INSTRUCTION_SETS = {"baseline": []}
if X86:
    avx2 = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = [f"-mavx512{part}" for part in ("f", "bw", "dq", "vl")]
    INSTRUCTION_SETS |= {"avx2": avx2, "avx512": [*avx2, *avx512, "-mprefer-vector-width=512"]}

# After the user's CFLAGS: none of them may make the compiler reorder or drop floating-point operations.
EXACT = ["-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-associative-math", "-ffp-contract=off"]
FLAGS = ["-O3", "-std=gnu11", "-fno-strict-aliasing", "-fvisibility=hidden", "-Wall", "-Wextra", *EXACT]
CONTRACTED = {"products", "half_rows"}  # a*b + c in one rounding: faster, and within the bound of a product
OPENMP = [] if os.environ.get("PARLINALG_NO_OPENMP") == "1" else ["-fopenmp"]
HEADERS = sorted(str(path) for path in Path("ext").glob("*.h"))
SOURCES = sorted(str(path) for path in Path("ext").glob("*.*"))  # which an sdist has to contain


class BuildKernels(build_ext):
    """Compiles the kernels once per instruction set, each with its own flags."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        self._check_openmp()
        super().build_extensions()

    def build_extension(self, extension: Extension) -> None:
        if extension.name.endswith("_kernels"):
            files = [(name, isa, flags) for isa, flags in INSTRUCTION_SETS.items() for name in KERNELS]
            files += [(name, "common", OPENMP) for name in COMMON]
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for a compiler
                extension.extra_objects = list(pool.map(self._compile, *zip(*files, strict=True)))
        super().build_extension(extension)

    def _compile(self, name: str, isa: str, flags: list[str]) -> str:
        contract = ["-ffp-contract=fast"] if name in CONTRACTED else []
        objects = self.compiler.compile(
            [f"ext/{name}.c"],
            output_dir=os.path.join(self.build_temp, isa),
            macros=[("PARLINALG_ISA", isa), *([("PARLINALG_X86", "1")] if X86 else [])],
            include_dirs=["ext"],
            extra_postargs=["-fPIC", *FLAGS, *contract, *flags],
            depends=HEADERS,
        )
        return str(objects[0])

    def _check_openmp(self) -> None:
        if not OPENMP:
            return
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "check.c")
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            command = [*self.compiler.compiler_so, *OPENMP, str(source), "-o", str(source.with_suffix(""))]
            command = [part for part in command if part != "-c"]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                sys.exit(
                    f"error: the compiler {command[0]!r} cannot build OpenMP programs. Install one that can, for "
                    f"example gcc with libgomp, or set PARLINALG_NO_OPENMP=1 to build without the openmp backend"
                )


def extension(name: str) -> Extension:
    return Extension(
        f"parlinalg.{name}",
        [f"ext/{name}.pyx"],
        include_dirs=["ext", np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O3", "-std=gnu11", *EXACT, *OPENMP],
        # Linked with -ffast-math, a library would set flush-to-zero in every process that loads it.
        extra_link_args=["-O3", *EXACT, *OPENMP],
        depends=["setup.py", *SOURCES],
    )


setup(
    ext_modules=cythonize(
        [extension("_kernels"), extension("_small")],
        include_path=["ext"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "binding": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildKernels},
)
