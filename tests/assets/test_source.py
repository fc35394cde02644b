"""A source that is an asset of the user's, in real runs: by path, metadata or value; partitions, and errors."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, EmptyDataset, PromptError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.resources.tables import TableIOManager
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.emulator.worlds import S3
from tests.labs.dispatch import open_lab
from tests.labs.instances import open_instance
from tests.labs.stages import HAIKU, MakePipeline, Stages, texts

RAW = dg.AssetKey(["calls", "raw_dataset"])


@dataclass
class Shop:
    """A code location with a pipeline over an asset, an instance, and a store."""

    folder: Path
    instance: dg.DagsterInstance

    def pipeline(self, **source: Any) -> Pipeline:
        """The pipeline `calls` over a source."""
        spec = {
            "name": "calls",
            "source": {"id_column": "id", **source},
            "model": HAIKU,
            "task": {"text": {"prompt": "Say {text}"}},
            "limits": {"min_records_per_job": 1, "max_jobs": 1},
        }
        return Pipeline(PipelineSpec.model_validate(spec), self.folder)

    def definitions(self, *assets: Any, **source: Any) -> dg.Definitions:
        """The user's assets beside the pipeline's."""
        resources = {
            "bedrock_batch_store": StoreResource(url=str(self.folder / "bucket")),
            "bedrock_batch": dg.ResourceDefinition.none_resource(),
        }
        return dg.Definitions(assets=[*assets, *build_assets(self.pipeline(**source))], resources=resources)

    def run(self, definitions: dg.Definitions, *keys: Any, partition: str | None = None) -> None:
        """One run of some assets."""
        job = definitions.resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey.from_coercible(key) for key in keys]
        assert job.execute_in_process(
            instance=self.instance, asset_selection=selection, partition_key=partition
        ).success

    @property
    def store(self) -> Store:
        """Where the pipeline writes."""
        return Store(str(self.folder / "bucket"))

    @property
    def raw(self) -> RawManifest:
        """What was ingested last."""
        manifest = self.store.read_model("calls/raw/manifest.json", RawManifest)
        assert manifest
        return manifest

    @property
    def ids(self) -> list[str]:
        """The ids of its rows."""
        return self.store.scan_parquet([part.key for part in self.raw.parts]).collect()["id"].to_list()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An empty one."""
    with open_instance(tmp_path / "dagster") as instance:
        yield Shop(tmp_path, instance)


def ids(n_rows: int) -> list[str]:
    """The ids of so many rows."""
    return texts(n_rows)["id"].to_list()


@dg.asset
def reviews() -> pl.DataFrame:
    """A polars frame."""
    return texts(3)


@dg.asset(key=["shop", "lazy"])
def lazy() -> pl.LazyFrame:
    """A lazy one."""
    return texts(3).lazy()


@dg.asset
def in_pandas() -> pd.DataFrame:
    """A pandas frame, with its id as the index."""
    return texts(3).to_pandas().set_index("id")


@dg.asset
def arrow() -> pa.Table:
    """An Arrow table."""
    return texts(3).to_arrow()


@pytest.mark.parametrize("asset", [reviews, lazy, in_pandas, arrow], ids=lambda asset: asset.key.to_user_string())
def test_a_value(shop: Shop, asset: dg.AssetsDefinition) -> None:
    """Of each type that is a table, in the run of both assets and in one of `raw_dataset` alone."""
    definitions = shop.definitions(asset, asset=list(asset.key.path))
    assert definitions.resolve_asset_graph().get(RAW).parent_keys == {asset.key}
    shop.run(definitions, asset.key, RAW)
    first = shop.raw
    assert (shop.ids, first.source) == (ids(3), f"asset {asset.key.to_user_string()}: its value")
    shop.run(definitions, RAW)
    assert shop.raw == first


def test_only_what_changed_is_new(shop: Shop) -> None:
    """Another materialization of the same rows leaves the dataset as it is; other rows are another dataset."""
    rows = texts(3)

    @dg.asset
    def reviews() -> pl.DataFrame:
        return rows

    definitions = shop.definitions(reviews, asset="reviews")
    shop.run(definitions, "reviews", RAW)
    first = shop.raw
    shop.run(definitions, "reviews")
    shop.run(definitions, RAW)
    assert shop.raw == first
    rows = rows.with_columns(text=pl.lit("other"))
    shop.run(definitions, "reviews")
    assert shop.raw == first
    shop.run(definitions, RAW)
    assert (shop.raw.revision == first.revision, shop.ids) == (False, ids(3))


def test_a_path(shop: Shop) -> None:
    """The asset writes a file, and the pipeline reads it, whatever Dagster knows of it."""
    path = shop.folder / "reviews.jsonl"

    @dg.asset
    def export() -> None:
        texts(4).write_ndjson(path)

    definitions = shop.definitions(export, asset="export", path=str(path), deps=["other", ["more", "still"]])
    parents = {dg.AssetKey("export"), dg.AssetKey("other"), dg.AssetKey(["more", "still"])}
    assert definitions.resolve_asset_graph().get(RAW).parent_keys == parents
    with pytest.raises(dg.Failure, match=r"source.asset export: source path .* matches no file.* Materialize export"):
        shop.run(definitions, RAW)
    shop.run(definitions, "export", RAW)
    assert (shop.ids, shop.raw.source) == (ids(4), f"asset export: {path}")


@pytest.mark.parametrize("name", ["dagster/uri", "path"])
@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("through", ["uri", None])
def test_metadata(shop: Shop, name: str, prefix: str, through: str | None) -> None:
    """The file that the last materialization names is read, and not the value."""
    path = shop.folder / "a b.csv"

    @dg.asset
    def export() -> dg.MaterializeResult[Any]:
        texts(4).write_csv(path)
        uri = str(path) if prefix == "" else path.as_uri()
        return dg.MaterializeResult(metadata={name: dg.MetadataValue.path(uri) if name == "path" else uri})

    definitions = shop.definitions(export, asset="export", through=through)
    shop.run(definitions, "export", RAW)
    assert (shop.ids, shop.raw.source) == (ids(4), f"asset export: {path}")


def test_the_last_materialization_counts(shop: Shop) -> None:
    """Each one may name another file."""
    version = 1

    @dg.asset
    def export(context: dg.AssetExecutionContext) -> None:
        path = shop.folder / f"{version}.parquet"
        texts(version).write_parquet(path)
        context.add_output_metadata({"dagster/uri": str(path)})

    definitions = shop.definitions(export, asset="export")
    for version in (1, 2):
        shop.run(definitions, "export")
        shop.run(definitions, RAW)
        assert shop.ids == ids(version)


class ParquetIOManager(dg.UPathIOManager):
    """An IO manager as many are: it writes a file for each asset and partition, and says so in metadata."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: Any) -> None:
        """Write."""
        obj.write_parquet(str(path))

    def load_from_path(self, context: dg.InputContext, path: Any) -> pl.DataFrame:
        """Read."""
        return pl.read_parquet(str(path))


def parquet(folder: Path) -> ParquetIOManager:
    """One for a folder."""
    from upath import UPath

    return ParquetIOManager(UPath(folder))


@pytest.mark.parametrize(("through", "n_times"), [(None, 0), ("uri", 0), ("value", 1)])
def test_an_io_manager_that_writes_files(shop: Shop, through: str | None, n_times: int) -> None:
    """Its files are read as a stream, unless the value is asked for."""
    loads: list[str] = []

    class Counted(ParquetIOManager):
        def load_from_path(self, context: dg.InputContext, path: Any) -> pl.DataFrame:
            loads.append(str(path))
            return super().load_from_path(context, path)

    from upath import UPath

    definitions = dg.Definitions.merge(
        shop.definitions(dg.asset(texts_asset, name="export", io_manager_key="files"), asset="export", through=through),
        dg.Definitions(resources={"files": Counted(UPath(shop.folder / "files"))}),
    )
    shop.run(definitions, "export", RAW)
    assert (shop.ids, len(loads)) == (ids(3), n_times)
    assert shop.raw.source.endswith(".parquet" if n_times == 0 else "its value")


def texts_asset() -> pl.DataFrame:
    """Three rows."""
    return texts(3)


DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])


def partitioned(**arguments: Any) -> dg.AssetsDefinition:
    """Two rows a day, with a value for each day."""

    @dg.asset(partitions_def=DAYS, **arguments)
    def daily(context: dg.AssetExecutionContext) -> pl.DataFrame:
        day = context.partition_key
        return pl.DataFrame({"id": [f"{day}1", f"{day}2"], "text": ["x", "y"]})

    return daily


@pytest.mark.parametrize("kind", ["value", "files"])
def test_partitions(shop: Shop, kind: str) -> None:
    """All are read in their order, whichever was materialized last; one that is missing is told."""
    definitions = dg.Definitions.merge(
        shop.definitions(partitioned(io_manager_key="files" if kind == "files" else "io_manager"), asset="daily"),
        dg.Definitions(resources={"files": parquet(shop.folder / "files")}),
    )
    for day in ("tue", "mon"):
        shop.run(definitions, "daily", partition=day)
    with pytest.raises(dg.Failure, match=r"source.asset daily: 1 partitions are not materialized: wed; .*materialized"):
        shop.run(definitions, RAW)
    shop.run(definitions, "daily", partition="wed")
    shop.run(definitions, RAW)
    assert shop.ids == ["mon1", "mon2", "tue1", "tue2", "wed1", "wed2"]
    first = "daily/mon.parquet" if kind == "files" else "the value of its partition mon"
    assert shop.raw.source.startswith("asset daily: ")
    assert shop.raw.source.endswith(f"{first} and 2 more")


def test_the_partitions_that_are_there(shop: Shop) -> None:
    """With `partitions: materialized` the others are left out; without any there is nothing to read."""
    definitions = shop.definitions(partitioned(), asset="daily", partitions="materialized")
    with pytest.raises(dg.Failure, match=r"3 partitions are not materialized: mon, tue, wed; materialize them"):
        shop.run(definitions, RAW)
    for day in ("wed", "mon"):
        shop.run(definitions, "daily", partition=day)
    shop.run(definitions, RAW)
    assert shop.ids == ["mon1", "mon2", "wed1", "wed2"]


def test_no_partitions(shop: Shop) -> None:
    """Dynamic partitions of which there are none yet are told, too."""

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="shops"))
    def per_shop() -> pl.DataFrame:
        return texts(1)

    definitions = shop.definitions(per_shop, asset="per_shop")
    with pytest.raises(dg.Failure, match=r"source.asset per_shop has no partitions yet; add and materialize some"):
        shop.run(definitions, RAW)
    shop.instance.add_dynamic_partitions("shops", ["north"])
    shop.run(definitions, "per_shop", partition="north")
    shop.run(definitions, RAW)
    assert shop.ids == ids(1)


def test_days(shop: Shop) -> None:
    """Partitions of time are read up to the last that has ended, and shown shortly if many are missing."""
    days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-06")

    @dg.asset(partitions_def=days)
    def daily(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame({"id": [context.partition_key], "text": ["x"]})

    definitions = shop.definitions(daily, asset="daily")
    shop.run(definitions, "daily", partition="2026-01-02")
    with pytest.raises(dg.Failure, match=r"4 partitions are not .*: 2026-01-01, 2026-01-03, 2026-01-04, \.\.\.; "):
        shop.run(definitions, RAW)
    for day in days.get_partition_keys():
        shop.run(definitions, "daily", partition=day)
    shop.run(definitions, RAW)
    assert shop.ids == list(days.get_partition_keys())


def test_one_file_of_all_partitions(shop: Shop) -> None:
    """A file that several partitions name is read once."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
    def whole() -> dg.MaterializeResult[Any]:
        texts(3).write_parquet(shop.folder / "all.parquet")
        return dg.MaterializeResult(metadata={"dagster/uri": str(shop.folder / "all.parquet")})

    definitions = shop.definitions(whole, asset="whole")
    for key in ("a", "b"):
        shop.run(definitions, "whole", partition=key)
    shop.run(definitions, RAW)
    assert shop.ids == ids(3)


def test_an_external_asset(shop: Shop) -> None:
    """A file that others write is read by the metadata of its definition, without a materialization."""
    texts(3).write_parquet(shop.folder / "theirs.parquet")
    spec = dg.AssetSpec("theirs", metadata={"dagster/uri": str(shop.folder / "theirs.parquet")})
    shop.run(shop.definitions(spec, asset="theirs"), RAW)
    assert shop.ids == ids(3)


def test_an_asset_of_another_location(shop: Shop) -> None:
    """It need not be defined here, if its materializations name a file."""

    @dg.asset
    def theirs() -> dg.MaterializeResult[Any]:
        texts(3).write_parquet(shop.folder / "theirs.parquet")
        return dg.MaterializeResult(metadata={"dagster/uri": str(shop.folder / "theirs.parquet")})

    dg.materialize([theirs], instance=shop.instance)
    shop.run(shop.definitions(asset="theirs"), RAW)
    assert shop.ids == ids(3)


@pytest.mark.parametrize("key", ["reviews", "revews"])
def test_never_materialized(shop: Shop, key: str) -> None:
    """An asset without a materialization, or of another name, is told before its IO manager is asked."""
    told = (
        rf"source.asset {key} has never been materialized in this Dagster instance; materialize it, or correct the key"
    )
    with pytest.raises(dg.Failure, match=told):
        shop.run(shop.definitions(reviews, asset=key), RAW)


def test_no_such_metadata(shop: Shop) -> None:
    """With `through: uri` nothing else is tried."""
    definitions = shop.definitions(reviews, asset="reviews", through="uri")
    shop.run(definitions, "reviews")
    with pytest.raises(dg.Failure, match=r"no metadata dagster/uri or path that names .* add it, or set `path`"):
        shop.run(definitions, RAW)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (
            "gs://bucket/reviews.parquet",
            "its IO manager cannot load its value: .*writes a file itself, name that under",
        ),
        ("shop://reviews", "its IO manager cannot load its value"),
        ("/nowhere/reviews.parquet", "source.asset export: source path '/nowhere/reviews.parquet' matches no file"),
    ],
)
def test_uris_that_are_not_read(shop: Shop, uri: str, told: str) -> None:
    """What is no file of a known format is passed over; a file that is gone is told."""

    @dg.asset
    def export(context: dg.AssetExecutionContext) -> dg.Output[None]:
        return dg.Output(None, metadata={"dagster/uri": uri})

    definitions = shop.definitions(export, asset="export")
    shop.run(definitions, "export")
    with pytest.raises(dg.Failure, match=told):
        shop.run(definitions, RAW)


def wrong(value: Any) -> dg.AssetsDefinition:
    """An asset whose value is not what a pipeline can take."""

    @dg.asset
    def odd() -> Any:
        return value

    return odd


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        ([1], ConfigError, r"source.asset odd: its value is a builtins.list; return a polars DataFrame"),
        (texts(0), EmptyDataset, r"source.asset: asset odd: its value has no rows"),
        (pl.DataFrame({"id": ["a"], "txt": ["x"]}), PromptError, r"column 'text' named in prompt"),
    ],
)
def test_values_that_do_not_fit(shop: Shop, value: Any, error: type[BedrockAssetsError], told: str) -> None:
    """A list, an empty table and one of other columns fail before anything is written."""
    definitions = shop.definitions(wrong(value), asset="odd")
    shop.run(definitions, "odd")
    with pytest.raises(dg.Failure, match=told) as failure:
        shop.run(definitions, RAW)
    assert failure.value.metadata["kind"].value == error.__name__
    assert shop.store.files("calls") == []


def test_a_lost_value(shop: Shop) -> None:
    """What an IO manager cannot load is told with the asset, and what it said."""
    definitions = shop.definitions(reviews, asset="reviews")
    shop.run(definitions, "reviews")
    (Path(shop.instance.storage_directory()) / "reviews").unlink()
    with pytest.raises(dg.Failure, match=r"source.asset reviews: its IO manager cannot load its value: FileNotFound"):
        shop.run(definitions, RAW)


def test_a_file_on_s3(shop: Shop, seaweedfs: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """An s3:// URL in the metadata is read as one under `path` is."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    seaweedfs.create_bucket("reviews-bucket")
    texts(3).write_parquet(shop.folder / "a.parquet")
    seaweedfs.client.upload_file(str(shop.folder / "a.parquet"), "reviews-bucket", "day/a.parquet")

    @dg.asset
    def export() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"dagster/uri": "s3://reviews-bucket/day/a.parquet"})

    shop.run(shop.definitions(export, asset="export"), "export", RAW)
    assert shop.ids == ids(3)


def test_a_table_of_ours(shop: Shop, make_pipeline: MakePipeline) -> None:
    """The joined table of a pipeline in another location is an asset like any other."""
    stages = Stages.of(make_pipeline(texts(3), id_column="id"), shop.store)
    stages.answer_all()
    join_table(shop.store, stages.pipeline, stages.raw)
    spec = dg.AssetSpec(["calls", "joined_table"]).with_io_manager_key("tables")
    following = shop.pipeline(asset=["calls", "joined_table"], through="value").spec
    renamed = following.model_copy(update={"name": "next", "output_prefix": "next_"})
    resources = {
        "bedrock_batch_store": StoreResource(url=str(shop.folder / "other")),
        "bedrock_batch": dg.ResourceDefinition.none_resource(),
        "tables": TableIOManager(store=StoreResource(url=shop.store.url)),
    }
    assets = build_assets(Pipeline(renamed, shop.folder))
    shop.run(dg.Definitions(assets=[spec, *assets], resources=resources), ["next", "raw_dataset"])
    manifest = Store(str(shop.folder / "other")).read_model("next/raw/manifest.json", RawManifest)
    assert manifest
    assert manifest.n_rows == 3
    assert "response" in manifest.columns


def test_rows_are_paid_once(tmp_path: Path) -> None:
    """After the asset is materialized anew, only rows that are new or changed are sent; the table has all of them."""
    path = tmp_path / "reviews.parquet"
    rows = pl.DataFrame({"id": [f"c{i}" for i in range(20)], "transcript": [f"Call {i}." for i in range(20)]})

    def export(frame: pl.DataFrame) -> None:
        frame.write_parquet(path)
        event = dg.AssetMaterialization("reviews", metadata={"dagster/uri": str(path)})
        lab.instance.report_runless_asset_event(event)

    def night() -> int:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        return sum(job.n_success for job in lab.jobs()) + lab.n_invoked

    with open_lab(tmp_path, source={"asset": "reviews", "id_column": "id"}) as lab:
        export(rows)
        first = night()
        export(rows)
        second = night()
        changed = rows.with_columns(
            transcript=pl.when(pl.col("id") == "c7").then(pl.lit("Call seven.")).otherwise("transcript")
        )
        export(changed)
        third = night()
        table = Publication.latest(lab.store, "calls").scan().collect()
    assert (first, second, third) == (20, 20, 21)
    assert table.select("id", "transcript").equals(changed)
    assert set(table["status"]) == {"ok"}
