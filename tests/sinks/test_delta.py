"""The table as a Delta table: the same rows, a version for each build, and nothing half-written."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from bedrock_assets.errors import StoreError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.sinks import Sent
from bedrock_assets.sinks.delta import publish_delta
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import TITAN, MakePipeline, Stages, jsonl, ok, texts

LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}


def built(
    make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame, uri: str, **spec: Any
) -> tuple[Stages, TableManifest]:
    """An answered table."""
    stages = Stages.of(make_pipeline(frame, id_column="id", limits=LIMITS, delta=uri, **spec), store)
    stages.answer_all()
    return stages, join_table(store, stages.pipeline, stages.raw)


def test_each_build_is_a_version(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """All rows, enums as text; the same table is not written twice; another one, with another column, replaces it."""
    uri = str(tmp_path / "delta")
    odd = pl.DataFrame({"small": pl.Series(range(10), dtype=pl.UInt8), "nothing": [None] * 10})
    stages, table = built(make_pipeline, store, texts(10).hstack(odd), uri)
    first = publish_delta(store, stages.pipeline, table)
    assert (first.more, first.n_rows, first.n_written) == ({"version": 0}, 10, 10)
    rows = pl.read_delta(uri)
    assert rows.sort("small").select("id", "status").rows() == [(f"c{i}", "ok") for i in range(10)]
    assert publish_delta(store, stages.pipeline, table) == Sent(first.address, 10, 0, n_unchanged=10, more=first.more)

    stages, table = built(make_pipeline, store, texts(5), uri)
    assert publish_delta(store, stages.pipeline, table).more == {"version": 1}
    rows = pl.read_delta(uri)
    assert (len(rows), "small" in rows.columns) == (5, False)
    assert len(pl.read_delta(uri, version=0)) == 10


def test_vectors_are_lists(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Of Float32, null where there is no answer."""
    task = {"embedding": {"column": "text", "dimensions": 256}}
    pipeline = make_pipeline(texts(2), id_column="id", limits=LIMITS, model=TITAN, task=task, delta=str(tmp_path / "d"))
    stages = Stages.of(pipeline, store)
    stages.write(jsonl([{"recordId": "c0", "modelOutput": {"embedding": [0.5] * 256, "inputTextTokenCount": 3}}]))
    Collector(pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    publish_delta(store, pipeline, join_table(store, pipeline, stages.raw))
    rows = pl.read_delta(str(tmp_path / "d")).sort("id")
    assert rows.schema["embedding"] == pl.List(pl.Float32)
    assert rows["embedding"].to_list() == [[0.5] * 256, None]


def test_what_cannot_be_written(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """A place that is no folder is told; a part that is gone leaves the former version as it was."""
    (tmp_path / "file").write_text("x")
    stages, table = built(make_pipeline, store, texts(10), str(tmp_path / "file/delta"))
    with pytest.raises(StoreError, match="cannot be written"):
        publish_delta(store, stages.pipeline, table)
    uri = str(tmp_path / "delta")
    stages, table = built(make_pipeline, store, texts(10), uri)
    publish_delta(store, stages.pipeline, table)
    broken = table.model_copy(update={"revision": "other"})
    store.delete([table.parts[2].key])
    with pytest.raises(Exception, match="part-00002"):
        publish_delta(store, stages.pipeline, broken)
    assert DeltaTable(uri).version() == 0
    assert len(pl.read_delta(uri)) == 10


def test_another_table_is_published_meanwhile(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """No version has rows of two tables: the former one stays, and the reason is told."""
    uri = str(tmp_path / "delta")
    stages, table = built(make_pipeline, store, texts(10), uri)
    publish_delta(store, stages.pipeline, table)
    changed = texts(10).with_columns(text=pl.lit("other"))
    stages, old = built(make_pipeline, store, changed, uri)
    stages.write(jsonl([ok(record_id, "anew") for record_id in stages.ids(2)]), 2, attempt=2)
    Collector(stages.pipeline.workload, store, stages.shards[2]).publish(stages.collect(attempt=2, shard=2))
    join_table(store, stages.pipeline, stages.raw)
    with pytest.raises(StoreError, match="was replaced while it was read"):
        publish_delta(store, stages.pipeline, old)
    assert set(pl.read_delta(uri)["text"]) == set(texts(10)["text"])
