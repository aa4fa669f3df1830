"""One file per backend: ``from parlinalg.backends import OpenMP``. Those that need a library load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._base import Backend, Resident
from ._numpy import NumPy
from ._openmp import OpenMP

if TYPE_CHECKING:
    from ._ipyparallel import IPyParallel
    from ._mpi import MPI
    from ._opencl import OpenCL
    from ._process import Process

__all__ = ["Backend", "IPyParallel", "MPI", "NumPy", "OpenCL", "OpenMP", "Process", "Resident"]

# The others are loaded at once, so that no thread is in the middle of that when another one forks: the child would
# wait for its import lock for ever.
_MODULES = {"IPyParallel": "_ipyparallel", "MPI": "_mpi", "OpenCL": "_opencl", "Process": "_process"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
