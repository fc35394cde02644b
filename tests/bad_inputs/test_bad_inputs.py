"""All bad inputs in one process: an error of ours, an error row, or no complaint, and each within its deadline."""

from pathlib import Path

import pytest

from tests.bad_inputs.attempts import Case, tried
from tests.bad_inputs.cases import good
from tests.bad_inputs.large import LARGE, allowed, attempt
from tests.bad_inputs.memory import measured
from tests.bad_inputs.report import MB, table, table_of_large, try_all

AT_LEAST = 230
MOST_BYTES = 192 * MB
"""The largest of them are one value of 5 MB, of which a record's JSON and Base64 are made: some 12 copies of it."""


@pytest.mark.parametrize("case", good(), ids=lambda case: f"{case.kind}: {case.name}")
def test_what_is_good_is_taken(case: Case, tmp_path: Path) -> None:
    """A good input of each kind is taken by the same attempt that refuses the bad ones."""
    outcome = tried(case, tmp_path / "it")
    assert (outcome.fate, outcome.said) == ("taken", "")


@pytest.mark.slow
def test_no_bad_input_ends_in_a_traceback_or_a_hang(tmp_path: Path) -> None:
    """Each of them ends as it may; `pytest -s` shows the table."""
    outcomes = try_all(tmp_path)
    print(table(outcomes))
    assert [(one.case.kind, one.case.name, one.said) for one in outcomes if one.fate == "FAILED"] == []
    assert len({(one.case.kind, one.case.name) for one in outcomes}) >= AT_LEAST
    assert [(one.case.kind, one.case.name, one.peak) for one in outcomes if one.peak > MOST_BYTES] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_memory_is_bounded_by_the_size(tmp_path: Path, name: str) -> None:
    """A large input is read, or refused before anything is paid, in little more than twice its size of memory."""
    taken = attempt(LARGE[name], tmp_path)
    print(table_of_large({name: taken}))
    assert taken.fate == LARGE[name].fate, taken.said
    assert taken.peak <= allowed(LARGE[name], taken.n_bytes)


def test_what_is_taken_is_measured() -> None:
    """Memory that was given back before the end of the block counts, and none of before."""
    with measured() as peak:
        taken = b"x" * (100 * MB)
        del taken
    assert 90 * MB < peak.n_bytes < 120 * MB
    with measured() as peak:
        pass
    assert peak.n_bytes < 10 * MB
