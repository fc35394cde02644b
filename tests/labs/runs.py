"""How the tests run: on how many processes, in which order, and which may be skipped."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

REQUIRED = "TESTS_REQUIRED"
"""Where this variable is set, as in CI, a test that is skipped has failed: a server or a browser is missing."""

MAY_BE_SKIPPED = ("needs the extra minilm", "cannot be installed here")
"""Reasons that are none of the machine's: it takes a gigabyte, or a registry of packages does not answer."""


LONGEST = (
    "campaigns/test_edits",
    "campaigns/test_campaigns",
    "campaigns/test_crowds",
    "crashes/test_kill_points",
    "distributed/",
    "campaigns/test_nights",
    "soak/",
    "e2e/",
    "docs/test_walks",
    "sinks/test_sinks",
    "jobs/test_reconcile_machine",
    "emulator/test_restart",
)
"""Files that take longest. They come first, so that no process is left with one of them when the others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; the others stay as they were."""

    def rank(item: pytest.Item) -> int:
        return next((i for i, part in enumerate(LONGEST) if f"tests/{part}" in item.nodeid), len(LONGEST))

    items.sort(key=rank)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores, as many tests wait for a server; none for a few files."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failed one where all that the tests need shall be there."""
    report = yield
    if REQUIRED in os.environ and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(allowed in reason for allowed in MAY_BE_SKIPPED):
            report.outcome, report.longrepr = (
                "failed",
                f"{item.nodeid} may not be skipped where {REQUIRED} is set: {reason}",
            )
    return report
