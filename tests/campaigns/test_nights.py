"""A pipeline with a schedule, over three nights of a minute each, with nobody clicking."""

import time
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.local.stack import store_folder
from tests.campaigns.site import Deployment, deployed, source_of

N_SHARDS = 2
NIGHT_S = 60


def table_of(made: Deployment) -> pl.DataFrame:
    """The table as it is now; empty before it is first built."""
    parts = store_folder(made.home) / "calls" / "table"
    return pl.read_parquet(parts / "*.parquet") if list(parts.glob("*.parquet")) else pl.DataFrame({"id": []})


@pytest.mark.slow
def test_three_nights(tmp_path: Path) -> None:
    """New rows, no rows, changed rows: only what is new is paid for, and each night ends with the table of its rows."""

    def edit(made: Deployment) -> None:
        made.specs[0]["schedule"] = "* * * * *"
        made.write()

    with deployed(tmp_path, N_SHARDS, speed=100, edit=edit) as made:
        rows = pl.DataFrame(source_of("calls", N_SHARDS))
        made.until(lambda: len(table_of(made)) == len(rows))
        assert len(made.jobs()) == N_SHARDS

        n_read = made.materialized("raw_dataset")
        made.until(lambda: made.materialized("raw_dataset") >= n_read + 1)
        time.sleep(NIGHT_S / 3)
        assert len(made.jobs()) == N_SHARDS
        assert made.materialized("joined_table") == 1

        texts = pl.when(pl.col("id").is_in(["calls-3", "calls-4"])).then(pl.lit("It was new.")).otherwise("text")
        more = pl.DataFrame({"id": ["calls-a", "calls-b"], "text": ["A call of today was long.", "Another was short."]})
        changed = pl.concat([rows.with_columns(text=texts), more])
        changed.write_parquet(made.home / "new.parquet")
        (made.home / "new.parquet").rename(made.home / "calls.parquet")
        made.until(lambda: table_of(made)["id"].to_list() == changed["id"].to_list())
        table = table_of(made)
        assert table.select("id", "text").equals(changed)
        assert table["status"].to_list() == ["ok"] * len(changed)
        # Two rows have one text: it is sent once. A shard with fewer than 5 records is answered on demand.
        n_sent = sum(job.n_processed for job in made.jobs())
        n_on_demand = sum(table["answer_source"] == "on_demand")
        assert n_sent + n_on_demand == len(rows) + 3
