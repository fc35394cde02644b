"""All bad inputs in one process: an error of ours, an error row, or no complaint, and each within its deadline."""

from pathlib import Path

import pytest

from tests.bad_inputs.attempts import Case, tried
from tests.bad_inputs.cases import good
from tests.bad_inputs.report import table, try_all

AT_LEAST = 230


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
