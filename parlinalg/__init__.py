"""parlinalg: one NumPy-like call for parallel matrix-vector products and sums, on any hardware."""

from . import _load  # noqa: F401  first: it loads what the others import
from .api import explain, matvec, vecdot, vecmat
from .compare import Comparison, compare
from .dispatch import set_backend
from .distributed import DistributedArray
from .errors import BackendError, BackendUnavailable, ClosedError, ParlinalgError
from .operators import Operator
from .partial import PartialSum
from .placing import operator
from .registry import BackendInfo, backends
from .sums import psum
from .workers import default_workers

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendInfo",
    "BackendUnavailable",
    "ClosedError",
    "Comparison",
    "DistributedArray",
    "Operator",
    "ParlinalgError",
    "PartialSum",
    "backends",
    "compare",
    "default_workers",
    "explain",
    "matvec",
    "operator",
    "psum",
    "set_backend",
    "vecdot",
    "vecmat",
]
