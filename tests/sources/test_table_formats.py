"""Delta and Iceberg tables, at the newest and at a named version; and the first rows of any source."""

from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.source import SourceSpec
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sources import BATCH_ROWS, Limited, open_source
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, texts


def read(spec: dict[str, object], folder: Path) -> list[str]:
    """The ids of all rows."""
    source = open_source(SourceSpec.model_validate(spec), None, folder)
    rows = pl.concat(source.batches())
    assert source.n_rows() == len(rows)
    assert pl.concat(source.column("id")).to_list() == rows["id"].to_list()
    return rows["id"].to_list()


def test_delta(tmp_path: Path) -> None:
    """A relative path starts at the YAML; what is written while the table is read is not of it."""
    texts(2).write_delta(tmp_path / "reviews")
    texts(3).write_delta(tmp_path / "reviews", mode="overwrite")
    assert read({"delta": {"path": "reviews"}}, tmp_path) == ["c0", "c1", "c2"]
    assert read({"delta": {"path": "reviews", "version": 0}}, tmp_path) == ["c0", "c1"]
    source = open_source(SourceSpec.model_validate({"delta": {"path": "reviews"}}), None, tmp_path)
    assert source.describe() == f"delta {tmp_path / 'reviews'}"
    assert source.n_rows() == 3
    texts(9).write_delta(tmp_path / "reviews", mode="overwrite")
    assert len(pl.concat(source.batches())) == 3
    assert source.describe() == f"delta {tmp_path / 'reviews'} version 1"
    for spec in ({"path": "none"}, {"path": "reviews", "version": 9}):
        with pytest.raises(ConfigError, match=r"source\.delta '.*' cannot be read"):
            read({"delta": spec}, tmp_path)


def test_iceberg(tmp_path: Path) -> None:
    """A table of a catalog, whose properties are in the YAML."""
    from pyiceberg.catalog.sql import SqlCatalog

    settings = {"uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/warehouse"}
    catalog = SqlCatalog("shop", **settings)
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.reviews", texts(1).to_arrow().schema)
    named = {"table": "shop.reviews", "catalog": "shop", "properties": settings}
    with pytest.raises(ConfigError, match="has no rows yet"):
        read({"iceberg": named}, tmp_path)
    table.append(texts(2).to_arrow())
    first = table.current_snapshot()
    assert first
    table.append(texts(3).to_arrow())
    assert sorted(read({"iceberg": named}, tmp_path)) == ["c0", "c0", "c1", "c1", "c2"]
    assert read({"iceberg": {**named, "snapshot_id": first.snapshot_id}}, tmp_path) == ["c0", "c1"]
    for odd, told in (({"snapshot_id": 5}, "has no snapshot 5"), ({"table": "shop.none"}, "cannot be opened")):
        with pytest.raises(ConfigError, match=told):
            read({"iceberg": {**named, **odd}}, tmp_path)


def test_nothing_is_opened_at_load(tmp_path: Path, store: Store) -> None:
    """A table that is not there keeps no pipeline from loading; once read, the dataset tells its version."""
    spec = {
        "name": "calls",
        "model": "us.amazon.nova-2-lite-v1:0",
        "task": {"text": {"prompt": "Say {text}"}},
        "limits": {"min_records_per_job": 1},
    }
    for source in ({"delta": {"path": "none"}}, {"iceberg": {"table": "shop.none"}}):
        assert build_assets(Pipeline(PipelineSpec.model_validate({**spec, "source": source}), tmp_path))
    texts(3).write_delta(tmp_path / "reviews")
    pipeline = Pipeline(PipelineSpec.model_validate({**spec, "source": {"delta": {"path": "reviews"}}}), tmp_path)
    assert ingest(pipeline, store).source == f"delta {tmp_path / 'reviews'} version 0"


def test_the_first_rows(make_pipeline: MakePipeline) -> None:
    """`limit` reads no more than so many rows, counts them, and keeps the columns."""
    n_rows = BATCH_ROWS + 5
    for limit, expected in ((3, 3), (BATCH_ROWS + 1, BATCH_ROWS + 1), (n_rows + 1, n_rows)):
        pipeline = make_pipeline(texts(n_rows))
        source = pipeline.spec.source.model_copy(update={"limit": limit})
        limited = make_pipeline(texts(n_rows), source=source.model_dump(exclude_none=True)).rows()
        assert isinstance(limited, Limited)
        assert (limited.n_rows(), sum(map(len, limited.batches()))) == (expected, expected)
        assert pl.concat(limited.column("id")).to_list() == texts(n_rows)["id"].to_list()[:limit]
        assert "first" in limited.describe()


def test_the_first_rows_of_a_split(tmp_path: Path) -> None:
    """`train[:2]` of a local dataset is two rows, though a stream cannot be cut by `datasets`."""
    (tmp_path / "data").mkdir()
    texts(5).write_parquet(tmp_path / "data" / "train.parquet")
    spec = SourceSpec.model_validate({"huggingface": {"id": str(tmp_path / "data"), "split": "train[:2]"}})
    assert pl.concat(open_source(spec).batches())["id"].to_list() == ["c0", "c1"]
