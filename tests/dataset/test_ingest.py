"""The first stage: Parquet with an id on every row, and the shards planned."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bedrock_assets.dataset.ingest import PART_ROWS, ingest, read_rows
from bedrock_assets.errors import ColumnClash, ConfigError, EmptyDataset, InvalidRecordIds, PromptError, TooFewRecords
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import raw_manifest_key
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, build_pipeline, texts
from tests.labs.values import every_dtype


def rows_of(store: Store, raw: RawManifest) -> pl.DataFrame:
    """All rows that an ingest wrote."""
    return pl.concat([pl.read_parquet(store.path(part.key)) for part in raw.parts])


def test_source_columns_are_unchanged(store: Store, make_pipeline: MakePipeline) -> None:
    """Every input column keeps dtype and values; the record id comes after them."""
    frame = every_dtype()
    raw = ingest(make_pipeline(frame), store)
    assert_frame_equal(rows_of(store, raw).drop("record_id"), frame)
    assert rows_of(store, raw).columns[-1] == "record_id"
    assert raw.columns == {name: str(dtype) for name, dtype in frame.schema.items()}


def test_the_manifest_counts(store: Store, make_pipeline: MakePipeline) -> None:
    """The manifest, which is what stands in the store, counts rows, records and their bytes, and plans the shards."""
    pipeline = make_pipeline(texts(10).with_columns(text=pl.when(pl.col("id") != "c3").then("text")))
    raw = ingest(pipeline, store)
    assert store.read_model(raw_manifest_key("calls"), RawManifest) == raw
    lines = pipeline.records.make(rows_of(store, raw))["__line"]
    assert (raw.n_rows, raw.n_sendable) == (10, 9)
    assert raw.prompt_bytes == sum(len(line.encode()) + 1 for line in lines.drop_nulls())
    assert [(shard.key, shard.n_rows) for shard in raw.shards] == [("00000-of-00001", 10)]


def test_the_same_input_changes_nothing(store: Store, make_pipeline: MakePipeline) -> None:
    """A second ingest of the same input keeps manifest and files as they are, and leaves none of its own."""
    pipeline = make_pipeline(texts(10))
    first = ingest(pipeline, store)
    before = store.files("calls")
    assert ingest(pipeline, store) == first
    assert store.files("calls") == before


def test_two_stores_get_the_same(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    """Two ingests of the same input agree on revision, shards and every byte of the rows."""
    pipeline = make_pipeline(every_dtype())
    stores = [Store(str(tmp_path / name)) for name in ("one", "two")]
    first, second = (ingest(pipeline, store) for store in stores)
    assert (first.revision, first.shards) == (second.revision, second.shards)
    one, two = (
        [opened.get(part.key) for part in raw.parts] for opened, raw in zip(stores, (first, second), strict=True)
    )
    assert one == two


def test_a_lost_part_is_written_again(store: Store, make_pipeline: MakePipeline) -> None:
    """Where a part of the last ingest is gone, the same input is written anew."""
    pipeline = make_pipeline(texts(10))
    first = ingest(pipeline, store)
    store.delete([first.parts[0].key])
    assert len(rows_of(store, ingest(pipeline, store))) == 10


@pytest.mark.parametrize(
    "change",
    [
        texts(10).with_columns(text=pl.lit("other")),
        texts(10).reverse(),
        texts(9),
        texts(10).rename({"id": "key"}),
        texts(10).with_columns(n=pl.lit(1)),
    ],
    ids=["value", "order", "rows", "name", "column"],
)
def test_changed_input_replaces_the_parts(store: Store, make_pipeline: MakePipeline, change: pl.DataFrame) -> None:
    """Any change of the input is a new revision; its parts take the place of the former ones."""
    first = ingest(make_pipeline(texts(10)), store)
    second = ingest(make_pipeline(change), store)
    assert second.revision != first.revision
    assert {file.key for file in store.files("calls/raw")} == {raw_manifest_key("calls"), second.parts[0].key}
    assert_frame_equal(rows_of(store, second).drop("record_id"), change)


def test_changed_limits_are_a_new_revision(store: Store, make_pipeline: MakePipeline) -> None:
    """Other shards over the same rows are a new revision, as the shards' answers do not fit any more."""
    first = ingest(make_pipeline(texts(10)), store)
    limits = {"min_records_per_job": 1, "max_records_per_job": 5}
    second = ingest(make_pipeline(texts(10), limits=limits), store)
    assert (len(first.shards), len(second.shards)) == (1, 2)
    assert first.revision != second.revision


def test_the_users_ids_are_kept(store: Store, make_pipeline: MakePipeline) -> None:
    """With `id_column` the record id is that column as text."""
    frame = pl.DataFrame({"key": [10, 7], "text": ["a", "b"]})
    raw = ingest(make_pipeline(frame, id_column="key"), store)
    assert rows_of(store, raw)["record_id"].to_list() == ["10", "7"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [(["a", None, "b"], r"'key' has nulls, the first in row 1"), (["a", "b", "a"], r"not unique: 'a' \(2 times\)")],
)
def test_unusable_ids(store: Store, make_pipeline: MakePipeline, keys: list[str | None], message: str) -> None:
    """Null and repeated ids are refused with an example, and nothing is left in the store."""
    pipeline = make_pipeline(pl.DataFrame({"key": keys, "text": ["x", "y", "z"]}), id_column="key")
    with pytest.raises(InvalidRecordIds, match=message):
        ingest(pipeline, store)
    assert store.files("calls") == []


def test_derived_ids_bear_equal_rows(store: Store, make_pipeline: MakePipeline) -> None:
    """Rows that are equal in every column have ids of their own."""
    raw = ingest(make_pipeline(pl.DataFrame({"text": ["same"] * 500})), store)
    assert rows_of(store, raw)["record_id"].n_unique() == 500


def test_a_clash_is_refused(make_pipeline: MakePipeline) -> None:
    """An input column with the name of an answer column is refused, and lives beside the answer with a prefix."""
    frame = texts(3).with_columns(response=pl.lit("mine"), status=pl.lit(1))
    with pytest.raises(ColumnClash, match=r"'status', 'response', .*output_prefix: bedrock_"):
        next(read_rows(make_pipeline(frame)))
    pipeline = make_pipeline(frame, output_prefix="bedrock_")
    assert (pipeline.record_id, pipeline.answer_columns["response"]) == ("bedrock_record_id", "bedrock_response")


def test_errors_at_ingest_leave_nothing(store: Store, tmp_path: Path) -> None:
    """An empty dataset, too few records, a wrong column: each has its error, and nothing is written."""
    path = tmp_path / "late.parquet"
    cases = [
        (texts(0), {}, EmptyDataset),
        (texts(99), {"limits": {}, "on_small": "error"}, TooFewRecords),
        (texts(5).rename({"text": "words"}), {}, PromptError),
        (texts(5).with_columns(status=pl.lit(1)), {}, ColumnClash),
    ]
    for frame, overrides, error in cases:
        pipeline = build_pipeline(path, **overrides)
        frame.write_parquet(path)
        with pytest.raises(error):
            ingest(pipeline, store)
        assert store.files("calls") == []


def test_a_missing_source(store: Store, tmp_path: Path) -> None:
    """A source that is not there is an error of the configuration when it is read."""
    with pytest.raises(ConfigError, match="matches no file"):
        ingest(build_pipeline(tmp_path / "nothing.parquet"), store)


def test_many_rows_make_many_parts(store: Store, make_pipeline: MakePipeline) -> None:
    """Parts are bounded, and a shard's rows are found across their borders."""
    frame = pl.DataFrame({"text": pl.int_range(PART_ROWS + 5_000, eager=True).cast(pl.String)})
    limits = {"max_records_per_job": 60_000, "max_jobs": 1}
    raw = ingest(make_pipeline(frame, limits=limits, prompt="{text}"), store)
    assert len(raw.parts) == 2
    assert sum(part.n_rows for part in raw.parts) == raw.n_rows == len(frame)
    shards = [shard_rows(store, raw, shard, "record_id").select("text") for shard in raw.shards]
    assert len(shards) == 3
    assert_frame_equal(pl.concat(shards), frame)
