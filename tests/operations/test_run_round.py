"""What `bedrock-assets run --wait` says while it waits."""

from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.jobs.shard_request import on_hold_note
from bedrock_assets.operations.run_round import RoundFailed, RoundRun, about
from tests.labs.dispatch import open_lab

POOL = "pool bedrock_batch: 3 of 3 slots in use, 7 shards open"


@pytest.mark.parametrize(
    "of_others",
    [
        "8 shards of tickets on hold: the pipeline has another prompt than when the prompts were made",
        "1 shard of reviews_2 waiting for approval: look at the canary's answers",
        "submitted ba-tickets-00000-of-00008-59af985cc8cc-1",
    ],
)
def test_nothing_is_said_of_other_pipelines(of_others: str) -> None:
    """The sensor speaks of all of them; what it says of the own one, or of none, stays."""
    own = "1 shard of reviews waiting for approval: look at the canary's answers"
    assert about("reviews", f"{POOL}; {of_others}; {own}") == f"{POOL}; {own}"


def test_jobs_at_bedrock_are_no_stall(tmp_path: Path) -> None:
    """They take hours. Shards that wait for a person are one, and it is said what to do."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        waiting = RoundRun(lab.instance, lab.job("batch_outputs"), lab.pipeline.workload, tell=lambda progress: None)
        waiting.rounds.ledger.refresh(lab.instance)
        assert waiting.stall() == ""

        path = tmp_path / "calls.parquet"
        pl.read_parquet(path).with_columns(more=pl.lit("x")).write_parquet(path)
        lab.ingest()
        lab.wait_for_jobs()
        lab.tick()
        waiting.rounds.ledger.refresh(lab.instance)
        assert waiting.stall() == on_hold_note(1)


def test_no_table_is_waited_for_where_shards_have_no_answers(tmp_path: Path) -> None:
    """The dataset may have changed meanwhile: that is told, and the command ends."""
    with open_lab(tmp_path, n_rows=20, max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.tick()
        ended = RoundRun(lab.instance, lab.job("joined_table"), lab.pipeline.workload, tell=lambda progress: None)
        with pytest.raises(RoundFailed, match="1 of 2 shards has answers to the prompts"):
            ended.build_table()
