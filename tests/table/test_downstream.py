"""The published table as others open it: polars, DuckDB, pandas and datasets, and an asset of another code location."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.resources.environment import resources
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import TITAN, MakePipeline, Stages, jsonl, texts

ANSWERED = [(f"c{i}", "ok", f"to c{i}") for i in range(10)]
VECTOR = [0.5, -0.25] * 128
LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}


@pytest.fixture
def answers(store: Store, make_pipeline: MakePipeline) -> str:
    """The files of a table of ten rows in three parts."""
    stages = Stages.of(make_pipeline(texts(10), id_column="id", limits=LIMITS), store)
    stages.answer_all()
    join_table(store, stages.pipeline, stages.raw)
    return store.path("calls/table/*.parquet")


@pytest.fixture
def vectors(store: Store, make_pipeline: MakePipeline) -> str:
    """The files of a table of four embeddings, one of them failed."""
    task = {"embedding": {"column": "text", "dimensions": 256}}
    stages = Stages.of(make_pipeline(texts(4), id_column="id", limits=LIMITS, model=TITAN, task=task), store)
    lines: list[dict[str, Any]] = [
        {"recordId": f"c{i}", "modelOutput": {"embedding": VECTOR, "inputTextTokenCount": 3}} for i in range(3)
    ]
    stages.write(jsonl([*lines, {"recordId": "c3", "error": {"errorCode": 400, "errorMessage": "too long"}}]))
    from bedrock_assets.outputs.collect import Collector

    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    join_table(store, stages.pipeline, stages.raw)
    return store.path("calls/table/*.parquet")


def test_polars(answers: str, vectors: str) -> None:
    """Typed columns; vectors are arrays of their length."""
    assert pl.scan_parquet(vectors).collect_schema()["embedding"] == pl.Array(pl.Float32, 256)


def test_every_reader_sees_the_same(answers: str) -> None:
    """Rows, order within parts, statuses and answers."""
    columns = ["id", "status", "response"]
    assert pl.read_parquet(answers).select(pl.col(columns).cast(pl.String)).rows() == ANSWERED
    found = duckdb.sql(f"SELECT id, status::VARCHAR, response FROM '{answers}' ORDER BY filename, file_row_number")  # noqa: S608 - our own path
    assert found.fetchall() == ANSWERED
    frames = pd.concat(pd.read_parquet(path) for path in sorted(Path(answers).parent.glob("*.parquet")))
    assert list(frames[columns].astype(str).itertuples(index=False, name=None)) == ANSWERED
    rows = loaded(answers)
    assert [(row["id"], row["status"], row["response"]) for row in rows] == ANSWERED


def loaded(files: str) -> Any:
    """Rows as `datasets` reads them."""
    from datasets import load_dataset

    return load_dataset("parquet", data_files=files, split="train", cache_dir=str(Path(files).parents[2] / "hf"))


def test_every_reader_sees_vectors(vectors: str) -> None:
    """256 floats a row, and a null where there is no answer."""
    lengths = [256, 256, 256, None]
    assert duckdb.sql(f"SELECT embedding FROM '{vectors}'").fetchall()[1][0] == VECTOR  # noqa: S608
    frame = pd.concat(pd.read_parquet(path) for path in sorted(Path(vectors).parent.glob("*.parquet")))
    assert [None if value is None else len(value) for value in frame["embedding"]] == lengths
    rows = loaded(vectors)
    assert [None if row["embedding"] is None else len(row["embedding"]) for row in rows] == lengths


def test_an_asset_of_another_location(make_pipeline: MakePipeline) -> None:
    """It depends on the table by key alone, and Dagster joins the two graphs."""

    @dg.asset(deps=[dg.AssetKey(["calls", "joined_table"])])
    def complaints() -> None: ...

    here = dg.Definitions(assets=build_assets(make_pipeline(texts(1))), resources=resources())
    there = dg.Definitions(assets=[complaints])
    table = dg.AssetKey(["calls", "joined_table"])
    assert table in here.resolve_asset_graph().materializable_asset_keys
    assert there.resolve_asset_graph().get(dg.AssetKey("complaints")).parent_keys == {table}
