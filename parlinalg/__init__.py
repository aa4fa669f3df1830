"""parlinalg: one NumPy-like call for parallel matrix-vector products and sums, on any hardware."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _load  # noqa: F401  first: it loads what the others import
from .api import matvec, vecdot, vecmat
from .compare import Comparison, compare
from .dispatch import set_backend
from .distributed import DistributedArray
from .errors import BackendError, BackendUnavailable, ClosedError, ParlinalgError
from .explaining import Explanation, explain
from .operators import Operator
from .partial import PartialSum
from .placing import operator
from .registry import BackendInfo, backends
from .sums import psum
from .workers import default_workers

if TYPE_CHECKING:
    from .taskmap import TaskError, TaskMap
    from .tasks import pmap
    from .tuning import tune

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendInfo",
    "BackendUnavailable",
    "ClosedError",
    "Comparison",
    "DistributedArray",
    "Explanation",
    "Operator",
    "ParlinalgError",
    "PartialSum",
    "TaskError",
    "TaskMap",
    "backends",
    "compare",
    "default_workers",
    "explain",
    "matvec",
    "operator",
    "pmap",
    "psum",
    "set_backend",
    "tune",
    "vecdot",
    "vecmat",
]

# What needs subprocesses and sockets is loaded on first use.
_LATER = {"TaskError": "taskmap", "TaskMap": "taskmap", "pmap": "tasks", "tune": "tuning"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
