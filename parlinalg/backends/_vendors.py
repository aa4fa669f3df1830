"""The drivers that OpenCL's loader finds: their registrations are files, so no driver is touched to list them."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

__all__ = ["broken", "missing", "register"]

VARIABLE = "OCL_ICD_VENDORS"  # where OpenCL's loader looks for drivers; it reads it once
SYSTEM = Path("/etc/OpenCL/vendors")  # where it looks otherwise
WHEEL, LIBRARY = "intel-opencl-rt", "libintelocl.so"  # which does not register itself
REMEDY = 'Install a driver, or PoCL: pip install "parlinalg[opencl]"'


@cache
def register() -> None:
    """Let OpenCL's loader find Intel's driver too, unless the user has said where to look.

    The driver's own file in the wheel names a folder that is nowhere. So the loader is shown a folder with a file that
    names the library where it is, and with those of the system. Must be called before OpenCL is used.
    """
    library = _library()
    if VARIABLE in os.environ or library is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="parlinalg-opencl-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "intel.icd").write_text(f"{library}\n")
    for other in SYSTEM.glob("*.icd") if SYSTEM.is_dir() else ():
        (folder / other.name).symlink_to(other)
    os.environ[VARIABLE] = str(folder)


def missing() -> str | None:
    """None, or that no driver is registered, or none whose library is there; with the remedy."""
    if sys.platform != "linux" or _library() is not None:  # elsewhere OpenCL is a part of the system, or registered
        return None  # in other ways
    files = _registrations()
    if not files:
        return f"no driver of OpenCL is registered in {', '.join(map(str, _folders()))}. {REMEDY}"
    lost = broken()
    return f"no driver of OpenCL works: {'; '.join(lost)}. {REMEDY}" if len(lost) == len(files) else None


def broken() -> list[str]:
    """A sentence for each registration of a library that is not there."""
    libraries = ((file, file.read_text(encoding="utf-8", errors="replace").strip()) for file in _registrations())
    return [
        f"{file} names {library or 'nothing'}, which is not there"
        for file, library in libraries
        if not library or (os.path.isabs(library) and not os.path.exists(library))
    ]


def _registrations() -> list[Path]:
    return [file for folder in _folders() if folder.is_dir() for file in sorted(folder.glob("*.icd"))]


def _folders() -> list[Path]:
    """Where the loader looks; that in the wheel of pyopencl also looks beside itself."""
    package = find_spec("pyopencl")
    own = [Path(package.origin).parent / ".libs"] if package and package.origin else []
    environment = [Path(sys.prefix) / "etc" / "OpenCL" / "vendors"]
    return [Path(os.environ.get(VARIABLE) or SYSTEM), *environment, *own]


def _library() -> Path | None:
    try:
        found = [one for one in files(WHEEL) or () if one.name == LIBRARY]
    except PackageNotFoundError:
        return None
    return Path(str(found[0].locate())).resolve() if found else None
