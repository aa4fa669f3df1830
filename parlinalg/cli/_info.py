"""``parlinalg info``: what is on this host."""

from __future__ import annotations

import argparse
import platform
from typing import TYPE_CHECKING

import numpy as np

import parlinalg

from .. import _kernels
from ..backends._device_choice import describe
from ..errors import BackendUnavailable
from ..registry import backend_class
from ..workers import cpu_count

if TYPE_CHECKING:
    from ._arguments import Commands

__all__ = ["add_to"]


def add_to(commands: Commands) -> None:
    """Add the command."""
    text = "what is on this host: versions, CPUs, and for each backend whether it can run, or why not and the remedy"
    commands.add_parser("info", help=text, description=text).set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    print(f"parlinalg {parlinalg.__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    print(f"kernels: {_kernels.simd()} of {', '.join(_kernels.available())}")
    print(f"CPUs: {cpu_count()}, default workers: {parlinalg.default_workers()}")
    for backend in parlinalg.backends().values():
        print(backend)
    for line in _opencl_devices():
        print(f"opencl device {line}")
    return 0


def _opencl_devices() -> tuple[str, ...]:
    """Those that OpenCL finds, or why it finds none; to ask touches its drivers, which `backends` does not."""
    if backend_class("opencl").why_not() is not None:
        return ()
    try:
        return describe()
    except BackendUnavailable as error:
        return (str(error),)
