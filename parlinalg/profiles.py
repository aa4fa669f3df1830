"""The profile of this host: a model from measurements, in a file of the user's; without one, one that is built in."""

from __future__ import annotations

import json
import math
import os
import platform
import stat
import sys
import tempfile
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from . import _kernels
from .model import Candidate, Curve, Model
from .workers import MOST_THREADS

__all__ = [
    "builtin",
    "default_path",
    "from_json",
    "identity",
    "is_named",
    "load",
    "require_writable",
    "save",
    "stored",
    "to_json",
]

VARIABLE = "PARLINALG_PROFILE"
FORMAT = 1
LARGEST_FILE = 1 << 22  # bytes
BUILTIN = Path(__file__).with_name("profile.json")


def default_path() -> Path:
    """Where the profile is: what ``PARLINALG_PROFILE`` names, otherwise a file in the user's cache directory."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("parlinalg", appauthor=False) / "profile.json"


def is_named() -> bool:
    """Whether the environment names a profile."""
    return bool(os.environ.get(VARIABLE))


def identity() -> dict[str, str]:
    """What a profile holds for: this host, its processor, and what computes on it."""
    return {
        "host": platform.node(),
        "processor": _processor(),
        "kernels": f"{_library()}, {_kernels.simd()}",
        "NumPy": np.__version__,
    }


def save(model: Model, path: Path) -> None:
    """Write the profile of this host, whole or not at all; only its user may write there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    stored.cache_clear()
    text = json.dumps({"format": FORMAT, **identity(), **to_json(model)}, indent=1)
    handle, temporary = _new_file_beside(path)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def require_writable(path: Path) -> None:
    """Raise OSError unless a profile can be written there."""
    handle, temporary = _new_file_beside(path)
    os.close(handle)
    os.unlink(temporary)


def _new_file_beside(path: Path) -> tuple[int, str]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError as error:
        raise type(error)(
            error.errno, f"the profile cannot be written to {str(path)!r}: {error}. Let {VARIABLE} name another file"
        ) from error


def load(path: Path) -> Model | None:
    """The profile in a file; None, with a warning, where it is damaged, not of this host, or not the user's own.

    Where there is no file, there is no warning, unless it was named.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        if is_named():
            _warn(path, "it is not there")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        _warn(path, str(error) or type(error).__name__)
    return None


def _read(path: Path) -> Model:
    data = json.loads(_text_of(path))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    for name, own in identity().items():
        if data.get(name) != own:
            raise ValueError(f"it is for {name} {data.get(name)!r}; this is {own!r}")
    return from_json(data, str(path))


def _text_of(path: Path) -> str:
    """Of the user's own regular file, and not of what another process may write to at any time, or never."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if about.st_uid not in (os.getuid(), 0):
            raise ValueError("it belongs to another user")
        if about.st_mode & stat.S_IWOTH:
            raise ValueError("anybody may write to it")
        text = file.read(LARGEST_FILE + 1)
    if len(text) > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE} bytes")
    return text.decode()


def _warn(path: Path, reason: str) -> None:
    warnings.warn(
        f"parlinalg: the profile {str(path)!r} is ignored: {reason}. Make it anew: parlinalg tune", stacklevel=3
    )


@cache
def stored(path: Path) -> Model | None:
    """The same, read once."""
    return load(path)


@cache
def builtin() -> Model:
    """Of a host with two processors: what is used without a profile, scaled by what a probe finds."""
    return from_json(json.loads(BUILTIN.read_text(encoding="utf-8")), "built in")


def to_json(model: Model) -> dict[str, Any]:
    """The curves and devices of a model, to be read by people too."""
    return {
        "curves": {
            kind: [
                {
                    "backend": one.backend,
                    "workers": one.workers,
                    "bytes": [int(size) for size in curve.nbytes],
                    "seconds": [float(f"{seconds:.4g}") for seconds in curve.seconds],
                }
                for one, curve in of_kind.items()
            ]
            for kind, of_kind in model.curves.items()
        },
        "uploads": {backend: float(f"{rate:.4g}") for backend, rate in model.uploads.items()},
        "probe": [[*one, float(f"{seconds:.4g}")] for one, seconds in model.probe.items()],
        "devices": {name: dict(settings) for name, settings in model.devices.items()},
    }


def from_json(data: dict[str, Any], source: str) -> Model:
    """The inverse.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, ArithmeticError
        If it is not what `to_json` writes.
    """
    curves = {
        str(kind): {Candidate(str(one["backend"]), _workers(one["workers"])): _curve(one) for one in of_kind}
        for kind, of_kind in data["curves"].items()
    }
    for needed in ("matvec float64 rows", "exact float64 rows", "sum float64 rows"):
        if Candidate("openmp", 1) not in curves.get(needed, {}):
            raise ValueError(f"it has no curve of {needed!r} on one thread")
    uploads = {str(backend): float(rate) for backend, rate in data["uploads"].items()}
    devices = {str(name): {key: int(n) for key, n in one.items()} for name, one in data["devices"].items()}
    probe = {Candidate(str(backend), int(workers)): float(found) for backend, workers, found in data["probe"]}
    return Model(curves, source, uploads, devices, probe)


def _workers(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_THREADS:
        raise ValueError(f"it has a curve of {value!r} workers")
    return value


def _curve(data: dict[str, Any]) -> Curve:
    nbytes, seconds = ([float(one) for one in data[name]] for name in ("bytes", "seconds"))
    if not nbytes or len(nbytes) != len(seconds) or nbytes != sorted(set(nbytes)):
        raise ValueError("the bytes of a curve do not ascend, or are not as many as its seconds")
    if not all(0 < one < math.inf for one in (*nbytes, *seconds)):
        raise ValueError("the numbers of a curve are not all positive")
    return Curve(tuple(nbytes), tuple(seconds))


def _library() -> str:
    return f"parlinalg {version('parlinalg')}"


def _processor() -> str:
    """Its name and the number of them."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{os.cpu_count()} x {name}"
