"""Software of other people, from the registries of Python and npm, for tests of foreign clients."""

import subprocess
from collections.abc import Sequence

import pytest


def install(command: Sequence[str], what: str, timeout_s: float) -> None:
    """Run pip or npm; the test is skipped where the registry refuses, or does not answer in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} cannot be installed here: no answer within {timeout_s:g} s")
    if done.returncode:
        pytest.skip(f"{what} cannot be installed here: {done.stderr[-500:]}")
