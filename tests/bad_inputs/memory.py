"""How much memory a piece of work takes at most, as Linux counts it."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ALLOWANCE = 64 * 1024 * 1024
"""Bytes that the libraries may take for themselves, whatever they are given."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """The most that was taken within the block, in bytes, above what the process had before it."""

    n_bytes: int = 0


@contextmanager
def measured() -> Generator[Peak]:
    """Measure the block: the kernel's high-water mark of the process is set back before it."""
    peak = Peak()
    _RESET.write_text("5")  # see proc_pid_clear_refs(5): VmHWM becomes VmRSS
    before = _read("VmRSS")
    try:
        yield peak
    finally:
        peak.n_bytes = _read("VmHWM") - before


def _read(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    assert found, f"no {name} in {_STATUS}"
    return int(found[1]) * 1024
