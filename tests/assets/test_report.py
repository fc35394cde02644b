"""The page that a run of `joined_table` writes, and what its materialization says of it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.labs.dispatch import open_lab


@pytest.mark.parametrize(("settings", "is_there"), [({}, True), ({"report": False}, False)])
def test_written_with_the_table(tmp_path: Path, settings: dict[str, Any], is_there: bool) -> None:
    """It lies beside the table's folder, and the materialization says where; `report: false` leaves it out."""
    with open_lab(tmp_path, **settings) as lab:
        lab.ask_in_runs()
        lab.finish()
        assert lab.materialize("joined_table")
        event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", "joined_table"]))
        assert event
        assert event.asset_materialization
        told = event.asset_materialization.metadata
        assert "metadata_error" not in told
        assert ("report" in told) is is_there
        if is_there:
            page = Path(str(told["report"].value)).read_text("utf-8")
            assert page.count('<article class="row">') == 20
