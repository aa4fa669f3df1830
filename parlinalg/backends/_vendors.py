"""Intel's OpenCL runtime for processors, where its wheel is installed: it does not register itself."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

__all__ = ["register"]

VARIABLE = "OCL_ICD_VENDORS"  # where OpenCL's loader looks for drivers; it reads it once
SYSTEM = Path("/etc/OpenCL/vendors")  # where it looks otherwise
WHEEL, LIBRARY = "intel-opencl-rt", "libintelocl.so"


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


def _library() -> Path | None:
    try:
        found = [one for one in files(WHEEL) or () if one.name == LIBRARY]
    except PackageNotFoundError:
        return None
    return Path(str(found[0].locate())).resolve() if found else None
