"""The property tests that parlinalg's own backends pass, as a kit for anyone's backend.

Needs hypothesis: ``pip install "parlinalg[test]"``. See `BackendSuite` and `check_backend`.
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401  asked for here, so that what is missing is said once and plainly
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ModuleNotFoundError(
        'parlinalg.testing needs the package hypothesis. Install it, for example: pip install "parlinalg[test]"',
        name="hypothesis",
    ) from error

from .suite import BackendSuite, check_backend

__all__ = ["BackendSuite", "check_backend"]
