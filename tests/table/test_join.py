"""The last stage: every input row with its answer."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import BaseModel
from typing_extensions import override

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import DataError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import outputs_key, raw_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store, StoredFile
from bedrock_assets.table.join import join_table, readiness
from bedrock_assets.table.parts import prepare_part
from tests.labs.stages import TITAN, MakePipeline, Stages, failed, jsonl, ok, texts
from tests.labs.values import every_dtype

THREE_SHARDS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """Ten rows in three shards, all answered."""
    made = Stages.of(make_pipeline(texts(10), limits=THREE_SHARDS), store)
    made.answer_all()
    return made


def joined(stages: Stages) -> pl.DataFrame:
    """The table, built."""
    return stages.parts([part.key for part in join_table(stages.store, stages.pipeline, stages.raw).parts])


def test_rows_in_are_rows_out(stages: Stages) -> None:
    """Every row is in the table once, in order, with the answer to its own record."""
    table = joined(stages)
    assert_frame_equal(table.select("id", "text"), texts(10))
    assert table["response"].to_list() == [f"to {record_id}" for record_id in table["record_id"]]
    assert table.columns == ["id", "text", "record_id", *stages.pipeline.answer_columns]


def test_the_manifest_counts(store: Store, make_pipeline: MakePipeline) -> None:
    """Rows by status, columns and parts in the manifest are those of the files."""
    frame = texts(5).with_columns(text=pl.when(pl.col("id") != "c0").then("text"))
    stages = Stages.of(make_pipeline(frame), store)
    ids = stages.ids()
    stages.write(jsonl([ok(ids[0]), failed(ids[1])]))
    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    manifest = join_table(store, stages.pipeline, stages.raw)
    assert store.read_model(table_manifest_key("calls"), TableManifest) == manifest
    assert (manifest.n_rows, manifest.n_ok, manifest.n_error, manifest.n_missing) == (5, 1, 2, 2)
    table = stages.parts([part.key for part in manifest.parts])
    assert manifest.columns == {name: str(dtype) for name, dtype in table.schema.items()}
    assert sum(part.n_rows for part in manifest.parts) == len(table)


def test_input_columns_are_unchanged(store: Store, make_pipeline: MakePipeline) -> None:
    """Every input column has its dtype and values: dates, nested values, categories, bytes, nulls."""
    stages = Stages.of(make_pipeline(every_dtype(), limits=THREE_SHARDS | {"max_records_per_job": 2}), store)
    stages.answer_all()
    assert_frame_equal(joined(stages).select(every_dtype().columns), every_dtype())


def test_a_clashing_column_lives_beside_the_answer(store: Store, make_pipeline: MakePipeline) -> None:
    """With a prefix an input column `response` keeps its name and values, and the answer has the prefixed one."""
    frame = texts(3).with_columns(response=pl.lit("mine"), record_id=pl.lit("own"))
    stages = Stages.of(make_pipeline(frame, output_prefix="model_"), store)
    stages.answer_all()
    table = joined(stages)
    assert_frame_equal(table.select(frame.columns), frame)
    assert table["model_status"].to_list() == ["ok"] * 3
    assert table["model_response"].to_list() == [f"to {record_id}" for record_id in table["model_record_id"]]


def test_embeddings(store: Store, make_pipeline: MakePipeline) -> None:
    """An embedding pipeline's table has vectors of 32-bit floats, all of one length."""
    task = {"embedding": {"column": "text", "dimensions": 256}}
    stages = Stages.of(make_pipeline(texts(2), task=task, model=TITAN), store)
    lines = [
        {"recordId": i, "modelOutput": {"embedding": [0.5] * 255 + [n], "inputTextTokenCount": 3}}
        for n, i in enumerate(stages.ids())
    ]
    stages.write(jsonl(reversed(lines)))
    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    vectors = joined(stages)["embedding"]
    assert vectors.dtype == pl.Array(pl.Float32, 256)
    assert vectors.to_list() == [[0.5] * 255 + [0.0], [0.5] * 255 + [1.0]]


def test_the_same_answers_give_the_same_table(stages: Stages) -> None:
    """A second build writes the same bytes and the same manifest."""
    first = join_table(stages.store, stages.pipeline, stages.raw)
    before = [stages.store.get(part.key) for part in first.parts]
    assert join_table(stages.store, stages.pipeline, stages.raw) == first
    assert [stages.store.get(part.key) for part in first.parts] == before


def test_shards_without_answers_are_told(stages: Stages) -> None:
    """The table waits for shards without answers, and says which."""
    assert readiness(stages.store, stages.pipeline, stages.raw) is None
    stages.store.delete([outputs_key("calls", "00001-of-00003")])
    found = readiness(stages.store, stages.pipeline, stages.raw)
    assert found is not None
    assert (found.missing, found.stale) == (("00001-of-00003",), ())
    assert str(found).startswith("1 shard has no answers yet (00001-of-00003); materialize prompt_shards")


def test_answers_to_earlier_prompts_are_stale(stages: Stages, make_pipeline: MakePipeline) -> None:
    """After a change of the prompt a formatted shard's old answers do not count; nor do any after a new ingest."""
    changed = make_pipeline(texts(10), limits=THREE_SHARDS, prompt="Tell {text}")
    format_shard(changed, stages.store, stages.raw, stages.raw.shards[2])
    found = readiness(stages.store, changed, stages.raw)
    assert found is not None
    assert (found.missing, found.stale) == ((), ("00002-of-00003",))
    raw = ingest(make_pipeline(texts(10).reverse(), limits=THREE_SHARDS), stages.store)
    found = readiness(stages.store, changed, raw)
    assert found is not None
    assert len(found.stale) == 3
    assert "3 shards have answers to earlier prompts" in str(found)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda answers: answers.head(-1),
        lambda answers: pl.concat([answers, answers.head(1)]),
        lambda answers: pl.concat([answers.head(-1), answers.head(1)]),
        lambda answers: pl.concat([answers, answers.head(1).with_columns(record_id=pl.lit("x"))]),
        lambda answers: answers.with_columns(record_id=pl.col("record_id").reverse() + "x"),
        lambda answers: answers.with_columns(status=pl.lit(None, pl.String)),
    ],
    ids=["lost", "doubled", "replaced", "surplus", "foreign", "without status"],
)
def test_answers_that_do_not_match(stages: Stages, tamper: object) -> None:
    """Answers that are not one for each row are refused, and the last table stays as it was."""
    before = joined(stages)
    key = outputs_key("calls", "00001-of-00003")
    answers = pl.read_parquet(stages.store.path(key))
    assert callable(tamper)
    tamper(answers).write_parquet(stages.store.path(key))
    with pytest.raises(DataError, match=r"shard 00001-of-00003 has 3 rows and \d answers; .*calls/batch_outputs"):
        join_table(stages.store, stages.pipeline, stages.raw)
    manifest = stages.store.read_model(table_manifest_key("calls"), TableManifest)
    assert manifest is not None
    assert_frame_equal(stages.parts([part.key for part in manifest.parts]), before)


def test_parts_of_a_larger_table_are_removed(stages: Stages, make_pipeline: MakePipeline) -> None:
    """When the number of parts shrinks, a reader of `*.parquet` finds no row of the former table."""
    join_table(stages.store, stages.pipeline, stages.raw)
    smaller = Stages.of(make_pipeline(texts(4), limits=THREE_SHARDS), stages.store)
    smaller.answer_all()
    join_table(stages.store, smaller.pipeline, smaller.raw)
    table = pl.read_parquet(f"{stages.store.root}/calls/table/*.parquet")
    assert table["id"].to_list() == ["c0", "c1", "c2", "c3"]
    assert not stages.store.files("calls/table-incoming")


def test_parts_that_are_prepared_are_published_as_they_are(stages: Stages) -> None:
    """A table of prepared parts is that of parts it makes itself, byte by byte, and it reads no row of them."""
    first = join_table(stages.store, stages.pipeline, stages.raw)
    before = [stages.store.get(part.key) for part in first.parts]
    stages.store.delete([part.key for part in first.parts])
    for shard in stages.raw.shards:
        prepare_part(stages.store, stages.pipeline, shard.key)
    stages.store.delete([part.key for part in stages.raw.parts])  # without the rows nothing could be made
    assert join_table(stages.store, stages.pipeline, stages.raw) == first
    assert [stages.store.get(part.key) for part in first.parts] == before
    assert not stages.store.files("calls/table-incoming")


def test_only_what_has_changed_is_made_again(stages: Stages) -> None:
    """When one shard has new answers its part is made again; the other files are not touched."""
    first = join_table(stages.store, stages.pipeline, stages.raw)
    written = {file.key: stages.store.version(file.key) for file in stages.store.files("calls/table")}
    ids = stages.ids(1)
    stages.write(jsonl([failed(record_id) for record_id in ids[1:]] + [ok(ids[0], "anew")]), 1, attempt=2)
    Collector(stages.pipeline.workload, stages.store, stages.shards[1]).publish(stages.collect(attempt=2, shard=1))
    second = join_table(stages.store, stages.pipeline, stages.raw)
    assert second.revision != first.revision
    assert stages.parts([part.key for part in second.parts])["response"].to_list().count("anew") == 1
    touched = {key for key, version in written.items() if stages.store.version(key) != version}
    assert touched == {first.parts[1].key, table_manifest_key("calls")}


class Aged(Store):
    """A store whose files are two hours older."""

    @override
    def files(self, prefix: str) -> list[StoredFile]:
        return [replace(file, modified_at=file.modified_at - timedelta(hours=2)) for file in super().files(prefix)]


def test_copies_of_former_tables_are_deleted(stages: Stages) -> None:
    """What a build replaces is kept for an hour, that of the last one whatever its age; the same table deletes none."""
    store, shard = stages.store, stages.shards[1]
    aged = Aged(store.url, store.region, store.endpoint_url)
    collector = Collector(stages.pipeline.workload, store, shard)

    def copies() -> set[str]:
        return {file.key for file in store.files("calls/table-former")}

    join_table(store, stages.pipeline, stages.raw)
    for attempt in (2, 3):
        stages.write(jsonl([ok(record_id, f"anew {attempt}") for record_id in stages.ids(1)]), 1, attempt=attempt)
        collector.publish(stages.collect(attempt=attempt, shard=1))
        join_table(store, stages.pipeline, stages.raw)
        assert len(copies()) == attempt - 1
    before = copies()
    join_table(aged, stages.pipeline, stages.raw)
    assert copies() == before
    collector.publish(stages.collect(attempt=1, shard=1))
    join_table(aged, stages.pipeline, stages.raw)
    assert len(copies()) == 1
    assert copies().isdisjoint(before)


@pytest.mark.parametrize("change", ["rows", "names"])
def test_a_part_of_something_else_is_not_used(stages: Stages, make_pipeline: MakePipeline, change: str) -> None:
    """A part that was prepared of other rows, or with other names, is made again."""
    for shard in stages.raw.shards:
        prepare_part(stages.store, stages.pipeline, shard.key)
    frame = texts(10).with_columns(text=pl.col("text") + "!") if change == "rows" else texts(10)
    prefix = {"output_prefix": "model_"} if change == "names" else {}
    other = Stages.of(make_pipeline(frame, limits=THREE_SHARDS, **prefix), stages.store)
    other.answer_all("anew {}".format)
    table = joined(other)
    assert_frame_equal(table.select("id", "text"), frame)
    response = table["model_response" if change == "names" else "response"]
    assert response.str.starts_with("anew ").all()


def test_nothing_is_prepared_of_answers_that_do_not_fit(stages: Stages) -> None:
    """Answers that do not match, an unknown shard and a dataset that is gone prepare nothing, and do no harm."""
    key = outputs_key("calls", "00001-of-00003")
    pl.read_parquet(stages.store.path(key)).head(-1).write_parquet(stages.store.path(key))
    for shard in ("00001-of-00003", "00000-of-00009"):
        prepare_part(stages.store, stages.pipeline, shard)
    stages.store.delete([raw_manifest_key("calls")])
    prepare_part(stages.store, stages.pipeline, "00000-of-00003")
    assert not stages.store.files("calls/table-incoming")


@dataclass(frozen=True)
class Noting(Store):
    """A store that notes in which order files are published."""

    published: list[str] = field(default_factory=list)

    def move(self, source: str, target: str) -> None:
        super().move(source, target)
        self.published.append(target)

    def write_model(self, key: str, document: BaseModel) -> None:
        super().write_model(key, document)
        self.published.append(key)


def test_the_manifest_is_last(stages: Stages) -> None:
    """Parts are published in order and the manifest after all of them."""
    store = Noting(stages.store.url)
    manifest = join_table(store, stages.pipeline, stages.raw)
    assert store.published == [*(part.key for part in manifest.parts), table_manifest_key("calls")]
