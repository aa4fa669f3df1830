"""No test is skipped unseen: `make test` names the backends that must run, and any other skip needs a reason here."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

# Tests that may be skipped in all their variants: the beginning of their ids, and why.
MAY_BE_SKIPPED: dict[str, str] = {
    "tests/test_cli.py::test_output_that_does_not_fit": "only Linux has /dev/full",
    "tests/test_floating_environment.py::": "only of x86-64 with glibc is it known where the environment lies",
}

REQUIRED = frozenset(os.environ.get("PARLINALG_REQUIRE", "").split())

_UNAVAILABLE = re.compile(r"backend '(\w+)' cannot run here")
_outcomes = pytest.StashKey[dict[str, set[str]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped because a required backend cannot run is a failure."""
    report = yield
    reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if REQUIRED.intersection(_UNAVAILABLE.findall(reason)):
        report.outcome = "failed"
        report.longrepr = f"{reason}; PARLINALG_REQUIRE says that it must"
    if report.when == "call" or not report.passed:
        outcomes = item.config.stash.setdefault(_outcomes, {})
        outcomes.setdefault(item.nodeid.partition("[")[0], set()).add(report.outcome)
    return report


def _skipped_everywhere(config: pytest.Config) -> list[str]:
    """Tests of which no variant ran; asked only of a whole run, which is one that requires backends."""
    if not REQUIRED:
        return []
    skipped = (test for test, outcomes in config.stash.get(_outcomes, {}).items() if outcomes == {"skipped"})
    return [test for test in skipped if not test.startswith(tuple(MAY_BE_SKIPPED))]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped_everywhere(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for test in _skipped_everywhere(config):
        terminalreporter.write_line(
            f"FAILED {test} - skipped in all its variants: let it run, or write the reason into MAY_BE_SKIPPED",
            red=True,
        )
