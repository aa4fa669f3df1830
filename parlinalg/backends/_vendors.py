"""The drivers that OpenCL's loader finds: their registrations are files, so no driver is touched to list them."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from ._driver_threads import spread, threads

__all__ = ["REMEDY", "broken", "missing", "register"]

VARIABLE = "OCL_ICD_VENDORS"  # a folder or a file .icd, where OpenCL's loader looks for drivers; it reads it once
SYSTEM = Path("/etc/OpenCL/vendors")  # where it looks otherwise
WHEEL, LIBRARY = "intel-opencl-rt", "libintelocl.so"  # which does not register itself
POCL = "Portable Computing Language"
CACHE = Path("/etc/ld.so.cache")  # the names of the libraries that the system finds
REMEDY = 'Install a driver, or PoCL: pip install "parlinalg[opencl]"'

_REGISTERING = Lock()


def register() -> None:
    """Let OpenCL's loader find Intel's driver too, unless the user has said where to look; and load the drivers.

    Must be called before OpenCL is used.
    """
    with _REGISTERING:
        _register()


@cache
def _register() -> None:
    """PoCL starts its threads when it is loaded."""
    before = threads()
    library = _library()
    names = _load() if os.environ.get(VARIABLE) or library is None else _load_with(library)
    if POCL in names:
        spread(threads() - before)


def _load() -> list[str]:
    """Make the loader load what is registered, which it does once; return the names of the platforms."""
    import pyopencl

    with suppress(pyopencl.Error):  # who asks for devices is told
        return [platform.name for platform in pyopencl.get_platforms()]
    return []


def _load_with(library: Path) -> list[str]:
    """The same from a folder with a file that names Intel's library where it is, and with those of the system.

    The driver's own file in the wheel names a folder that is nowhere. Once the loader has read ours it is gone, and so
    is the variable, which other processes would inherit.
    """
    with tempfile.TemporaryDirectory(prefix="parlinalg-opencl-") as folder:
        Path(folder, "intel.icd").write_text(f"{library}\n", encoding="utf-8")
        for other in SYSTEM.glob("*.icd") if SYSTEM.is_dir() else ():
            Path(folder, other.name).symlink_to(other)
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = folder
        try:
            return _load()
        finally:
            del os.environ[VARIABLE]
            if before is not None:
                os.environ[VARIABLE] = before


def missing() -> str | None:
    """None, or that no driver is registered, or none whose library is there; with the remedy."""
    if sys.platform != "linux":  # elsewhere OpenCL is a part of the system, or registered in other ways
        return None
    asked = os.environ.get(VARIABLE)
    if asked and not os.path.exists(asked):
        return f"the environment variable {VARIABLE} is {asked!r}, which is not there. Unset it, or correct it"
    if not asked and _library() is not None:
        return None
    files = _registrations()
    if not files:
        return f"no driver of OpenCL is registered in {', '.join(map(str, _places()))}. {REMEDY}"
    lost = broken()
    return f"no driver of OpenCL works: {'; '.join(lost)}. {REMEDY}" if len(lost) == len(files) else None


def broken() -> list[str]:
    """A sentence for each registration of a library that is not there."""
    libraries = ((file, file.read_text(encoding="utf-8", errors="replace").strip()) for file in _registrations())
    return [
        f"{file} names {library or 'nothing'}, which is not there"
        for file, library in libraries
        if not library or not _is_found(library, file.parent)
    ]


def _is_found(library: str, beside: Path) -> bool:
    """Whether the loader can find it: by its path, or by its name, as the system does."""
    if os.path.isabs(library):
        return os.path.exists(library)
    folders = [beside, *(Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one)]
    if any((folder / library).exists() for folder in folders) or not CACHE.exists():
        return True
    return library.encode() in CACHE.read_bytes()


def _registrations() -> list[Path]:
    found: list[Path] = []
    for place in _places():
        found += [place] if place.suffix == ".icd" and place.is_file() else sorted(place.glob("*.icd"))
    return found


def _places() -> list[Path]:
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
