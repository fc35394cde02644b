"""An answer that was cut off before it began: kept nowhere, sent again once the settings are others, and not before."""

from typing import Any

import polars as pl
import pytest

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.families import FAMILIES
from bedrock_assets.jobs.attempts import FinishedAttempt, ShardAttempts
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.outputs.thoughts import TRUNCATED, began
from bedrock_assets.shards.answer_cache import read_prompt_index, write_answers
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, Stages, failed, job_of, jsonl, texts

GPT = {"model": "openai.gpt-oss-20b-1:0", "id_column": "id"}


def stages_of(make_pipeline: MakePipeline, store: Store, max_tokens: int = 20) -> Stages:
    """Three rows in one shard, earlier answers reused."""
    task = {"text": {"prompt": "Say {text}", "max_tokens": max_tokens}}
    pipeline = make_pipeline(texts(3), task=task, **GPT)
    raw, known = ingest(pipeline, store), read_prompt_index(store, pipeline)
    return Stages(pipeline, store, raw, [format_shard(pipeline, store, raw, shard, known) for shard in raw.shards])


def line(record_id: str, content: str, reason: str) -> dict[str, Any]:
    """A line of gpt-oss."""
    choice = {"message": {"content": content}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 20}
    return {"recordId": record_id, "modelOutput": {"choices": [choice], "usage": usage}}


def request_of(stages: Stages) -> Request:
    """The request of the first attempt."""
    shard = stages.shards[0]
    return Request("calls", shard.shard.key, shard.fingerprint, 1, shard.prompts, 3, "run", last_attempt=3)


def test_the_same_settings_send_it_no_more(make_pipeline: MakePipeline, store: Store) -> None:
    """Neither the next attempt nor a launch by a person has it; other failures are in both as ever."""
    stages = stages_of(make_pipeline, store)
    stages.write(jsonl([line("c0", "<reasoning>Hm", "length"), line("c1", "Yes", "stop"), failed("c2", 500)]))
    attempts = ShardAttempts(stages.pipeline.workload, store, stages.shards[0])
    finished = FinishedAttempt(request_of(stages), job_of())
    collected = attempts.collect(finished)
    assert collected.rows["error_code"].to_list() == [TRUNCATED, None, "500"]
    assert collected.rows["output_tokens"].to_list() == [20, 20, None]
    assert collected.unanswered.to_list() == ["c2"]
    following, resumed = attempts.after(finished, collected), attempts.resume(finished.request, job_of().arn)
    for request in (following, resumed):
        assert request is not None
        assert (request.attempt, request.n_records) == (2, 1)
        assert b'"recordId":"c2"' in store.get(request.prompts)


def test_nothing_to_send_is_not_sent(make_pipeline: MakePipeline, store: Store) -> None:
    """Where only such rows are left, a launch by a person reads the answers again, and pays nothing."""
    stages = stages_of(make_pipeline, store)
    stages.write(jsonl([line("c0", "", "length"), line("c1", "Yes", "stop"), line("c2", "No", "stop")]))
    attempts = ShardAttempts(stages.pipeline.workload, store, stages.shards[0])
    former = request_of(stages)
    assert attempts.resume(former, job_of().arn) == former


def test_other_settings_send_it_again(make_pipeline: MakePipeline, store: Store) -> None:
    """It is not kept as an answer, and a larger max_tokens makes another record, shard and request of it."""
    stages = stages_of(make_pipeline, store)
    stages.write(jsonl([line("c0", "<reasoning>Hm", "length"), line("c1", "Yes", "stop"), line("c2", "No", "stop")]))
    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    same = stages_of(make_pipeline, store)
    assert same.shards == stages.shards
    larger = stages_of(make_pipeline, store, max_tokens=2000)
    assert larger.shards[0].fingerprint != stages.shards[0].fingerprint
    assert "c0" in larger.ids()
    assert all(record["modelInput"]["max_completion_tokens"] == 2000 for record in larger.sent())


def test_what_an_earlier_version_kept(make_pipeline: MakePipeline, store: Store) -> None:
    """A kept answer that never began is none: its row is missing, so that the next attempt sends it."""
    stages = stages_of(make_pipeline, store)
    rows = store.read_parquet(stages.shards[0].rows)
    kept = rows.select("key", response=pl.Series(["<reasoning>Hm", "Yes", ""]))
    kept = kept.with_columns(stop_reason=pl.Series(["length", "stop", "length"]), input_tokens=pl.lit(1, pl.Int64))
    kept = kept.with_columns(output_tokens="input_tokens")
    write_answers(
        store, "calls/answers/old.parquet", kept, ["response", "stop_reason", "input_tokens", "output_tokens"]
    )
    changed = pl.concat([texts(3), pl.DataFrame({"id": ["new"], "text": ["new"]})])
    pipeline = make_pipeline(changed, task=stages.pipeline.spec.task.model_dump(exclude_none=True), **GPT)
    raw, known = ingest(pipeline, store), read_prompt_index(store, pipeline)
    later = Stages(pipeline, store, raw, [format_shard(pipeline, store, raw, shard, known) for shard in raw.shards])
    assert later.ids() == ["new"]
    later.write(jsonl([line("new", "Yes", "stop")]))
    collected = later.collect()
    assert collected.rows["status"].to_list() == ["missing", "ok", "missing", "ok"]
    assert collected.unanswered.to_list() == ["c0", "c2"]


@pytest.mark.parametrize(
    ("family", "text", "reason", "expected"),
    [
        ("anthropic", "Hi", "max_tokens", True),
        ("anthropic", "", "max_tokens", False),
        ("anthropic", "", "end_turn", True),
        ("anthropic", "<think>Hm", "max_tokens", True),
        ("llama", "<think>Hm", "stop", False),
        ("deepseek_r1", "Hm", "length", False),
        ("deepseek_r1", "Hm", "stop", True),
    ],
)
def test_began(family: str, text: str, reason: str, *, expected: bool) -> None:
    """By the words and the tags of its family."""
    kept = pl.DataFrame({"response": [text], "stop_reason": [reason]})
    assert began(kept, FAMILIES[family]).to_list() == [expected]
