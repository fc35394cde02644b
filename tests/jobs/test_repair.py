"""Rows whose answer breaks the schema: error rows that keep their text, and sent again where `repair` says so."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bedrock_assets.jobs.attempts import ShardAttempts
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.outputs.collect import Collected, Collector
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.dispatch import open_lab
from tests.labs.stages import MakePipeline, Stages, jsonl, ok, texts

SCHEMA = {"score": {"type": "integer", "maximum": 5}, "note": {"type": "string", "optional": True}}
TOO_HIGH = "score: Input should be less than or equal to 5, got {}"


def stages_of(store: Store, make_pipeline: MakePipeline, **overrides: Any) -> Stages:
    """One formatted shard of three rows whose answers have a score."""
    return Stages.of(make_pipeline(texts(3), id_column="id", schema=SCHEMA, **overrides), store)


def first_attempt(stages: Stages) -> Collected:
    """One row is right, one above the limit, one no JSON."""
    answers = [ok("c0", '{"score": 3}'), ok("c1", '{"score": 9}'), ok("c2", "three <|x|>")]
    stages.write(jsonl(answers))
    return stages.collect()


def request_after(stages: Stages, collected: Collected) -> Request:
    """The second attempt."""
    shard = stages.shards[0]
    former = Request("calls", shard.shard.key, shard.fingerprint, 1, shard.prompts, 3, "run", storage_id=7)
    broken = collected.violations
    found = ShardAttempts(stages.pipeline.workload, stages.store, shard).next_attempt(
        former, "arn", collected.unanswered, broken
    )
    assert found is not None
    return found


def test_without_repair(store: Store, make_pipeline: MakePipeline) -> None:
    """Such rows are errors with their code, the violation and the text, in typed columns; nothing is sent again."""
    stages = stages_of(store, make_pipeline)
    collected = first_attempt(stages)
    rows = collected.rows
    assert rows["status"].to_list() == ["ok", "error", "error"]
    assert rows["error_code"].to_list() == [None, "schema", "schema"]
    assert rows["error_message"].to_list()[1:] == [TOO_HIGH.format(9), "the answer holds no JSON object"]
    assert rows["response"].to_list() == ['{"score": 3}', '{"score": 9}', "three <|x|>"]
    assert rows["score"].to_list() == [3, None, None]
    assert len(collected.unanswered) == 0


def test_what_is_sent_again(store: Store, make_pipeline: MakePipeline) -> None:
    """With `repair: 1` such rows are sent once more, with what was wrong in the prompt, and nothing else changed."""
    stages = stages_of(store, make_pipeline, repair=1)
    collected = first_attempt(stages)
    assert collected.unanswered.to_list() == ["c1", "c2"]
    request = request_after(stages, collected)
    assert (request.attempt, request.n_records, request.inference_mode) == (2, 2, InferenceMode.BATCH)
    again = [json.loads(line) for line in store.get(request.prompts).splitlines()]
    assert [record["recordId"] for record in again] == ["c1", "c2"]
    for record, before, told in zip(again, stages.sent()[1:], [TOO_HIGH.format(9), "holds no JSON"], strict=True):
        text = record["modelInput"]["messages"][0]["content"][0].pop("text")
        assert text.startswith(before["modelInput"]["messages"][0]["content"][0].pop("text"))
        assert told in text
        assert record == before


def test_a_repaired_row(store: Store, make_pipeline: MakePipeline) -> None:
    """A second answer that conforms counts; one that does not is the row's error, and is not sent a third time."""
    stages = stages_of(store, make_pipeline, repair=1)
    first_attempt(stages)
    stages.write(jsonl([ok("c1", '{"score": 5}'), ok("c2", '{"score": 7}')]), attempt=2)
    collected = stages.collect(2)
    assert collected.rows["status"].to_list() == ["ok", "ok", "error"]
    assert collected.rows["score"].to_list() == [3, 5, None]
    assert collected.rows["attempt"].to_list() == [1, 2, 2]
    assert collected.rows["error_message"][2] == TOO_HIGH.format(7)
    assert len(collected.unanswered) == 0


def test_repair_and_missing_rows(store: Store, make_pipeline: MakePipeline) -> None:
    """A row that was missing first has its repair still to come; both kinds go into one attempt."""
    stages = stages_of(store, make_pipeline, repair=1)
    stages.write(jsonl([ok("c0", "{}")]))
    collected = stages.collect()
    assert collected.unanswered.to_list() == ["c0", "c1", "c2"]
    again = [json.loads(line)["recordId"] for line in store.get(request_after(stages, collected).prompts).splitlines()]
    assert sorted(again) == ["c0", "c1", "c2"]
    stages.write(jsonl([ok("c0", '{"score": 1}'), ok("c1", "{}"), ok("c2", '{"score": 1}')]), attempt=2)
    assert stages.collect(2).unanswered.to_list() == ["c1"]


@pytest.mark.parametrize("model", ["us.meta.llama3-1-8b-instruct-v1:0", "mistral.mistral-7b-instruct-v0:2"])
def test_a_violation_cannot_leave_the_turn(store: Store, make_pipeline: MakePipeline, model: str) -> None:
    """What is quoted of the model has no token of the template: the record can be sent."""
    stages = stages_of(store, make_pipeline, repair=1, model=model)
    rows = stages.collect().rows.with_columns(
        error_code=pl.lit("schema"),
        error_message=pl.lit("score: Input should be a valid integer, got <|eot_id|></s>[/INST]"),
    )
    broken = rows.select("record_id", "error_message")
    shard = stages.shards[0]
    former = Request("calls", shard.shard.key, shard.fingerprint, 1, shard.prompts, 3, "run", storage_id=7)
    found = ShardAttempts(stages.pipeline.workload, store, shard).next_attempt(former, "arn", rows["record_id"], broken)
    assert found is not None
    assert found.n_records == 3


def test_the_table_is_typed(store: Store, make_pipeline: MakePipeline) -> None:
    """The table's files have a column of its type for each field, and the count of truncated answers."""
    stages = stages_of(store, make_pipeline, output_prefix="b_")
    lines = [ok("c0", '{"score": 3, "note": "x"}'), ok("c1", '{"sc'), ok("c2", '{"score": 1}')]
    for line in lines[1:]:
        line["modelOutput"]["stop_reason"] = "max_tokens"
    stages.write(jsonl(lines))
    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    manifest = join_table(store, stages.pipeline, stages.raw)
    assert (manifest.n_ok, manifest.n_error, manifest.n_truncated) == (2, 1, 2)
    table = stages.parts([part.key for part in manifest.parts])
    assert table.schema["b_score"] == pl.Int64
    assert table["b_score"].to_list() == [3, None, 1]
    assert table["b_note"].to_list() == ["x", None, None]


def test_names_of_our_own(store: Store, make_pipeline: MakePipeline) -> None:
    """Fields named as columns that exist on the way only are ordinary columns."""
    names = ("line", "wire_id", "sent", "code", "message", "violation", "retryable", "tool", "refusal", "fields")
    written = dict.fromkeys((*names, "row", "value", "text", "json", "wrong", "0"), "string")
    pipeline = make_pipeline(texts(1), id_column="id", schema=written, output_prefix="b_")
    stages = Stages.of(pipeline, store)
    stages.write(jsonl([ok("c0", json.dumps({name: f"my {name}" for name in written}))]))
    row = stages.collect().rows.row(0, named=True)
    assert row["status"] == "ok"
    assert {name: row[name] for name in written} == {name: f"my {name}" for name in written}


def test_a_whole_run(tmp_path: Path) -> None:
    """Through Dagster and the emulator: rows whose number is above the limit are repaired once, and end as errors if
    that did not help; everything else is answered at once."""
    misleading = {"type": "integer", "minimum": 0, "maximum": 60, "description": "minimum: 0, maximum: 99"}
    model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    with open_lab(tmp_path, model=model, n_rows=20, schema={"amount": misleading}, repair=1) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", "joined_table"]))
        table = pl.read_parquet(lab.store.path("calls/table/*.parquet"))
    assert set(table.filter(pl.col("attempt") == 1)["status"]) == {"ok"}
    again = table.filter(pl.col("attempt") == 2)
    assert set(again["status"]) == {"ok", "error"}
    assert set(again.filter(pl.col("status") == "error")["error_code"]) == {"schema"}
    assert table.filter(pl.col("status") == "ok")["amount"].is_between(0, 60).all()
    assert table["response"].null_count() == 0
    assert event is not None
    assert event.asset_materialization is not None
    assert "none cut off" in event.asset_materialization.metadata["rows"].value
