"""What Dagster's UI shows: code versions, columns and where they come from, and numbers as people read them."""

import logging
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from bedrock_assets.assets.columns import DESCRIPTIONS
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.assets.sample import INLINE_CHARS
from bedrock_assets.assets.versions import answers_version, prompts_version
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.aws.sessions import open_session
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import ANSWER_COLUMNS
from bedrock_assets.prices import usd
from bedrock_assets.units import counted, duration, rounded, significant, size
from tests.labs.dispatch import KEYS, ROLE, Lab, open_lab
from tests.labs.stages import build_pipeline, texts

SCHEMA = {"mood": {"enum": ["good", "bad"], "description": "how the customer feels"}, "topic": "string"}


def facts_of(lab: Lab, asset: str, shard: str | None = None) -> dict[str, Any]:
    """Metadata of the latest materialization."""
    filters = dg.AssetRecordsFilter(dg.AssetKey(["calls", asset]), asset_partitions=[shard] if shard else None)
    (record,) = lab.instance.fetch_materializations(filters, limit=1).records
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def lineage(facts: dict[str, Any]) -> dict[str, set[str]]:
    """Columns, and those that they are made from."""
    return {
        column: {f"{dep.asset_key.to_user_string()}:{dep.column_name}" for dep in deps}
        for column, deps in facts["dagster/column_lineage"].deps_by_column.items()
    }


def stale(lab: Lab, pipeline: Pipeline, asset: str, shard: str | None = None) -> tuple[StaleStatus, list[str]]:
    """Whether Dagster shows an asset as changed, and why."""
    resources = {"bedrock_batch_store": lab.store_resource, "bedrock_batch": lab.bedrock_resource}
    graph = dg.Definitions(assets=build_assets(pipeline), resources=resources).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(lab.instance, graph, LoadingContextForTest(lab.instance))
    key = dg.AssetKey(["calls", asset])
    causes = resolver.get_stale_causes(key, shard)
    return resolver.get_status(key, shard), [cause.reason for cause in causes]


def test_what_a_shard_and_the_table_show(tmp_path: Path) -> None:
    """Every column has a description, and says which columns of the prompt it is made from; numbers have units."""
    with open_lab(tmp_path, n_rows=10) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        raw, table, shard = (facts_of(lab, name) for name in ("raw_dataset", "joined_table", "batch_outputs"))
        for facts in (raw, table, shard):
            columns = facts["dagster/column_schema"].columns
            assert all(column.description for column in columns)
            assert facts["dagster/uri"]
        answer = lineage(shard)
        assert answer["response"] == {"calls/raw_dataset:transcript"}
        assert answer["record_id"] == {"calls/raw_dataset:record_id"}
        assert "job_arn" not in answer
        whole = lineage(table)
        assert whole["response"] == {"calls/batch_outputs:response"}
        assert whole["transcript"] == {"calls/raw_dataset:transcript"}
        assert set(whole) == {column.name for column in table["dagster/column_schema"].columns}
        assert (raw["prompt_size"], table["size"]) == (size(raw["prompt_bytes"]), size(table["n_bytes"]))
        for facts in (shard, table):
            assert facts["cost"].startswith(usd(facts["cost_usd"]))
            assert {"cost_usd", "input_tokens", "output_tokens", "n_ok", "n_error", "n_missing"} <= facts.keys()
        plotted = {name for name, value in shard.items() if isinstance(value, int | float)}
        assert {"cost_usd", "records_per_min", "queue_s", "run_s", "tokens_per_record"} <= plotted
        assert (shard["waited"], shard["ran"]) == (duration(shard["queue_s"]), duration(shard["run_s"]))


def test_what_people_look_for_comes_first(tmp_path: Path) -> None:
    """Address, how to open it, rows, cost, tokens, sample; what is 0 is no plot; the job's page is the emulator's."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        prompts, shard, table = (facts_of(lab, name) for name in ("prompt_shards", "batch_outputs", "joined_table"))
        first = ["dagster/uri", "open_with", "dagster/row_count", "rows", "cost", "tokens"]
        assert list(shard)[:6] == first
        assert list(table)[:7] == ["table", *first]
        assert list(shard)[-3:] == ["request_id", "fingerprint", "job_arn"]
        assert (
            shard["rows"]
            == table["rows"]
            == "10 rows: 10 answered, 0 errors, 0 missing; none cut off by the token limit"
        )
        rare = {"attempt", "n_truncated", "n_on_demand", "n_reused", "n_duplicates"}
        assert not rare & (shard.keys() | table.keys())
        opened: dict[str, Any] = {}
        exec(table["open_with"], opened)  # noqa: S102 - the line that people paste
        assert len(opened["rows"]) == 10
        shown = [line.split(":")[0] for line in table["sample"].splitlines() if line.startswith("- ")]
        assert shown[:5] == [f"- **{name}**" for name in ("transcript", "status", "response", "id", "record_id")]
        assert prompts["first_prompt"].startswith("> Summarise: Call 0: ")
        assert shard["first_answer"].startswith("> ")
        assert all(len(text) < INLINE_CHARS for text in (table["sample"], prompts["first_prompt"]))
        (job,) = lab.jobs()
        assert shard["job_console"] == f"{lab.emulator.endpoint_url}/#{job.id}"
        with urlopen(lab.emulator.endpoint_url) as page:
            assert f'<tr id="{job.id}">' in page.read().decode()
        submitted = lab.instance.fetch_observations(dg.AssetKey(["calls", "batch_outputs"]), limit=1).records[0]
        assert submitted.asset_observation
        event = {name: value.value for name, value in submitted.asset_observation.metadata.items()}
        assert event["slots"] == "1 of 1 slots of pool bedrock_batch taken"
        assert event["job_console"] == shard["job_console"]


def test_a_failure_starts_with_its_sentence(tmp_path: Path) -> None:
    """The text of our own error, its kind, and no exception below it; the frames are in the log."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        assert lab.materialize("raw_dataset")
        assert not lab.materialize("batch_outputs", lab.shards[0])
        (run,) = lab.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        logs = lab.instance.all_logs(run.run_id)
        (data,) = [
            log.dagster_event.step_failure_data
            for log in logs
            if log.dagster_event and log.dagster_event.is_step_failure
        ]
        sentence = "shard 00000-of-00001 of calls has no prompts yet; materialize calls/prompt_shards first"
        assert data.user_failure_data
        assert data.user_failure_data.description == sentence
        assert data.user_failure_data.metadata["kind"].value == "StaleShard"
        assert data.error
        assert data.error.message.strip().endswith(f"Failure: {sentence}")
        assert (data.error.cause, data.error.context) == (None, None)
        assert any("current_shard" in log.message for log in logs if log.level == logging.DEBUG)


def test_the_page_of_a_job_on_aws() -> None:
    """On AWS it is the console of the job's Region."""
    client: Any = open_session(**KEYS | {"region_name": "eu-west-1"}).client("bedrock")
    page = Bedrock(client, ROLE).page_of("arn:aws:bedrock:eu-west-1:123456789012:model-invocation-job/abc")
    assert page == "https://eu-west-1.console.aws.amazon.com/bedrock/home?region=eu-west-1#/batch-inference"


def test_columns_with_a_prefix_and_a_schema(tmp_path: Path) -> None:
    """The columns of `batch_outputs` have the names of its file, and the fields of a schema their own descriptions."""
    task = {"text": {"prompt": "Sum up: {transcript}"}}
    with open_lab(tmp_path, n_rows=10, task=task, schema=SCHEMA, output_prefix="ai_") as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        facts = facts_of(lab, "batch_outputs")
        described = {column.name: column.description for column in facts["dagster/column_schema"].columns}
        assert described["ai_mood"] == "how the customer feels"
        assert described["ai_topic"] == "Field `topic` of the structured answer."
        assert set(described) == set(lab.outputs(lab.shards[0]).columns)
        assert lineage(facts)["ai_mood"] == {"calls/raw_dataset:transcript"}


def test_every_answer_column_is_described() -> None:
    """A column that is added to the answers gets a description."""
    assert set(DESCRIPTIONS) == set(ANSWER_COLUMNS)


def test_an_edit_shows_and_pays_nothing(tmp_path: Path) -> None:
    """After an edit of the prompt Dagster shows prompts, answers and table as changed; nothing is sent by itself."""
    with open_lab(tmp_path, n_rows=10) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        shard, n_jobs = lab.shards[0], len(lab.jobs())
        for asset, key in (("prompt_shards", shard), ("batch_outputs", shard), ("joined_table", None)):
            assert stale(lab, lab.pipeline, asset, key) == (StaleStatus.FRESH, []), asset
        edited = lab.pipeline.spec.model_copy(update={"task": edited_task(lab.pipeline)})
        lab.pipeline = Pipeline(edited, lab.pipeline.folder)
        for asset, key in (("prompt_shards", shard), ("batch_outputs", shard), ("joined_table", None)):
            status, reasons = stale(lab, lab.pipeline, asset, key)
            assert status is StaleStatus.STALE, asset
            assert "has a new code version" in reasons
        lab.tick_only()
        assert len(lab.jobs()) == n_jobs


def edited_task(pipeline: Pipeline) -> Any:
    """The task with another prompt."""
    text = pipeline.spec.task.text
    assert text
    other = text.model_copy(update={"prompt": "Say it in a word: {transcript}", "prompt_id": None})
    return pipeline.spec.task.model_copy(update={"text": other})


@pytest.mark.parametrize(
    ("change", "prompts_change"),
    [
        ({"prompt": "Tell {text}"}, True),
        ({"model": "amazon.nova-lite-v1:0"}, True),
        ({"task": {"text": {"prompt": "Say {text}", "max_tokens": 7}}}, True),
        ({"task": {"text": {"prompt": "Say {text}", "system": "Be brief."}}}, True),
        ({"task": {"text": {"prompt": "Say {text}", "null_default": "-"}}}, True),
        ({"schema": {"score": "integer"}}, True),
        ({"output_prefix": "ai_"}, False),
        ({"description": "Other words."}, None),
        ({"limits": {"max_jobs": 7}}, None),
        ({"budget_usd": 3}, None),
    ],
)
def test_what_is_a_change(tmp_path: Path, change: dict[str, Any], prompts_change: bool | None) -> None:
    """Versions change with what decides prompts or columns, and with nothing else."""
    texts(3).write_parquet(tmp_path / "in.parquet")
    before, after = build_pipeline(tmp_path / "in.parquet"), build_pipeline(tmp_path / "in.parquet", **change)
    prompts = [prompts_version(pipeline) for pipeline in (before, after)]
    answers = [answers_version(pipeline.workload, prompts_version(pipeline)) for pipeline in (before, after)]
    assert (prompts[0] != prompts[1]) is bool(prompts_change)
    assert (answers[0] != answers[1]) is (prompts_change is not None)


def test_numbers_as_people_read_them() -> None:
    """Money, sizes and times with their units."""
    assert [usd(value) for value in (0, 0.161350875, 0.0042178, 12345.678)] == [
        "$0.00",
        "$0.16",
        "$0.0042",
        "$12,345.68",
    ]
    assert [size(n) for n in (0, 999, 6_167_349, 5 * 10**13)] == ["0 B", "999 B", "6.2 MB", "50.0 TB"]
    assert [duration(s) for s in (0, 48.2, 125, 11_520)] == ["0 s", "48 s", "2 min 5 s", "3 h 12 min"]
    assert significant(0.161350875) == 0.161351
    assert [rounded(n) for n in (0, 9_532, 48_399, 993_078, 4_124_000, 12_345_678)] == [
        "0",
        "9,532",
        "48 thousand",
        "993 thousand",
        "4.1 million",
        "12 million",
    ]
    assert [counted(n, "row") for n in (0, 1, 3_626)] == ["0 rows", "1 row", "3,626 rows"]
