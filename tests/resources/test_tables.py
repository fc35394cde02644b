"""Downstream assets take the table as a parameter, of five types, in its code location and in another, also on S3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typing_extensions import override

from bedrock_assets import TableIOManager
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.errors import BedrockAssetsError, ConfigError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.store import Store
from tests.labs.instances import in_memory
from tests.labs.stages import MakePipeline, Stages, texts

LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
ROWS = [(f"c{i}", f"to c{i}") for i in range(10)]
TABLE = dg.AssetKey(["calls", "joined_table"])
TAKEN: list[Any] = []
"""What the downstream assets were given."""


@dg.asset(group_name="calls")
def lazy(joined_table: pl.LazyFrame) -> None:
    """By the parameter's name, as the asset is in the table's group."""
    TAKEN.append(joined_table.select("id", "response").collect().rows())


@dg.asset(ins={"calls": dg.AssetIn(TABLE)})
def untyped(calls) -> None:  # type: ignore[no-untyped-def]
    """Without a type it is lazy as well."""
    assert isinstance(calls, pl.LazyFrame)
    TAKEN.append(calls.select("id", "response").collect().rows())


@dg.asset(ins={"calls": dg.AssetIn(TABLE)})
def eager(calls: pl.DataFrame) -> None:
    """A polars frame."""
    TAKEN.append(calls.select("id", "response").rows())


@dg.asset(ins={"calls": dg.AssetIn(TABLE)})
def pandas(calls: pd.DataFrame) -> None:
    """A pandas frame."""
    TAKEN.append(list(calls[["id", "response"]].itertuples(index=False, name=None)))


@dg.asset(ins={"calls": dg.AssetIn(TABLE)})
def arrow(calls: pa.Table) -> None:
    """An Arrow table."""
    TAKEN.append([tuple(row.values()) for row in calls.select(["id", "response"]).to_pylist()])


@dg.asset(ins={"calls": dg.AssetIn(TABLE)})
def relation(calls: duckdb.DuckDBPyRelation) -> None:
    """A relation, which SQL can name like a table."""
    TAKEN.append(duckdb.sql("SELECT id, response FROM calls ORDER BY id").fetchall())


DOWNSTREAM = [lazy, untyped, eager, pandas, arrow, relation]


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    """Ten rows in three shards."""
    return make_pipeline(texts(10), id_column="id", limits=LIMITS)


@pytest.fixture
def answered(store: Store, pipeline: Pipeline) -> StoreResource:
    """The store, once all shards are answered."""
    Stages.of(pipeline, store).answer_all()
    return resource(store)


def resource(store: Store) -> StoreResource:
    """The same store as a resource."""
    return StoreResource(url=store.url, region_name=store.region, endpoint_url=store.endpoint_url)


def run(pipeline: Pipeline, store: StoreResource, *assets: dg.AssetsDefinition, instance: dg.DagsterInstance) -> bool:
    """One run of some assets of the table's code location."""
    return dg.materialize(
        [*build_assets(pipeline), *DOWNSTREAM],
        selection=[key for asset in assets for key in asset.keys],
        resources={"bedrock_batch_store": store, "bedrock_batch": dg.ResourceDefinition.none_resource()},
        instance=instance,
    ).success


def test_in_the_same_code_location(pipeline: Pipeline, answered: StoreResource) -> None:
    """No resource is written down: in the run that builds the table, and in a later one, all types have its rows."""
    table = next(asset for asset in build_assets(pipeline) if asset.keys == {TABLE})
    TAKEN.clear()
    with in_memory() as instance:
        assert run(pipeline, answered, table, *DOWNSTREAM, instance=instance)
        for asset in DOWNSTREAM:
            assert run(pipeline, answered, asset, instance=instance)
    assert TAKEN == [ROWS] * 12


def test_a_definitions_object(pipeline: Pipeline, answered: StoreResource) -> None:
    """The location's own job does the same, and a notebook may ask the definitions for the table's value."""
    built = Stages.of(pipeline, answered.open())
    built.answer_all()
    resources = {"bedrock_batch_store": answered, "bedrock_batch": dg.ResourceDefinition.none_resource()}
    definitions = dg.Definitions(assets=[*build_assets(pipeline), eager], resources=resources)
    dg.Definitions.validate_loadable(definitions)
    TAKEN.clear()
    with in_memory() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[TABLE]).success
        assert job.execute_in_process(instance=instance, asset_selection=[eager.key]).success
        value = definitions.load_asset_value(TABLE, instance=instance)
    assert isinstance(value, pl.LazyFrame)
    assert [*TAKEN, value.select("id", "response").collect().rows()] == [ROWS] * 2


def elsewhere(
    asset: dg.AssetsDefinition,
    tables: TableIOManager,
    spec: dg.AssetSpec | None = None,
    key: str = "bedrock_batch_tables",
) -> bool:
    """One run in a code location that has nothing of ours but the table's key and the IO manager."""
    external = spec or dg.AssetSpec(TABLE, group_name="calls").with_io_manager_key(key)
    definitions = dg.Definitions(assets=[asset, external], resources={key: tables})
    with in_memory() as instance:
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success


@pytest.fixture
def published(pipeline: Pipeline, answered: StoreResource) -> StoreResource:
    """The store with the table."""
    table = next(asset for asset in build_assets(pipeline) if asset.keys == {TABLE})
    with in_memory() as instance:
        assert run(pipeline, answered, table, instance=instance)
    return answered


def test_in_another_code_location(published: StoreResource) -> None:
    """The table is an asset elsewhere; one resource loads it, for each of the types."""
    for asset in DOWNSTREAM:
        TAKEN.clear()
        assert elsewhere(asset, TableIOManager(store=published)), asset.key
        assert TAKEN == [ROWS], asset.key


class OwnStore(StoreResource):
    """A store resource of the user's own, whose settings come from elsewhere."""

    folder: str

    @override
    def open(self) -> Store:
        return Store(self.folder)


@pytest.mark.parametrize("kind", ["variable", "subclass"])
def test_stores_that_are_known_in_the_run(
    store: Store, pipeline: Pipeline, published: StoreResource, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store whose URL is in a variable, or of a class of its own, is opened as its owner means it, in both places."""
    if kind == "subclass" and not store.is_local:
        return  # a class of its own has a folder
    monkeypatch.setenv("MY_STORE", published.url)
    settings = {"region_name": published.region_name, "endpoint_url": published.endpoint_url}
    named = (
        StoreResource(url=dg.EnvVar("MY_STORE"), **settings)
        if kind == "variable"
        else OwnStore(url="s3://elsewhere/none", folder=published.url)
    )
    TAKEN.clear()
    with in_memory() as instance:
        assert run(pipeline, named, eager, instance=instance)
    assert elsewhere(eager, TableIOManager(store=named))
    assert TAKEN == [ROWS] * 2


def test_an_input_manager(published: StoreResource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameter itself may name the IO manager, whose store then is the environment's."""

    @dg.asset(ins={"calls": dg.AssetIn(TABLE, input_manager_key="bedrock_batch_tables")})
    def named(calls: pl.DataFrame) -> None:
        TAKEN.append(len(calls))

    monkeypatch.setenv("BEDROCK_ASSETS_STORE", published.url)
    for name, value in {"AWS_REGION": published.region_name, "AWS_ENDPOINT_URL_S3": published.endpoint_url}.items():
        if value:
            monkeypatch.setenv(name, value)
    TAKEN.clear()
    assert elsewhere(named, TableIOManager(), dg.AssetSpec(TABLE))
    assert TAKEN == [10]


def test_a_table_under_another_key(published: StoreResource) -> None:
    """If a location calls the table otherwise, metadata name the pipeline."""

    @dg.asset(ins={"answers": dg.AssetIn("answers")})
    def renamed(answers: pl.DataFrame) -> None:
        TAKEN.append(len(answers))

    tables, told = TableIOManager(store=published), {"bedrock_assets/pipeline": "calls"}
    TAKEN.clear()
    assert elsewhere(
        renamed, tables, dg.AssetSpec("answers", metadata=told).with_io_manager_key("bedrock_batch_tables")
    )
    assert TAKEN == [10]
    spec = dg.AssetSpec("answers").with_io_manager_key("bedrock_batch_tables")
    with pytest.raises(ConfigError, match="answers is not a pipeline's joined_table"):
        elsewhere(renamed, tables, spec)


def test_an_unknown_type(published: StoreResource) -> None:
    """A type that the table cannot have is refused with those that it can."""

    @dg.asset(ins={"calls": dg.AssetIn(TABLE)})
    def listed(calls: list) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(ConfigError, match=r"'calls': calls/joined_table .* as typing.List.* duckdb.DuckDBPyRelation"):
        elsewhere(listed, TableIOManager(store=published))


def test_it_writes_nothing(published: StoreResource) -> None:
    """As the IO manager of other assets it says what to do instead."""

    @dg.asset
    def own() -> int:
        return 1

    definitions = dg.Definitions(assets=[own], resources={"io_manager": TableIOManager(store=published)})
    with (
        in_memory() as instance,
        pytest.raises(ConfigError, match=r"own: TableIOManager .* writes nothing"),
    ):
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)


def wrong(change: Callable[[Path], str], folder: Path) -> str:
    """What a run says of a store that is not right."""
    with pytest.raises(BedrockAssetsError) as raised:
        elsewhere(eager, TableIOManager(store=StoreResource(url=change(folder))))
    return str(raised.value)


def test_no_store(tmp_path: Path) -> None:
    """A store that is not there is not made."""
    told = wrong(lambda folder: str(folder / "none"), tmp_path)
    assert "there is no store at" in told
    assert not (tmp_path / "none").exists()


def test_not_materialized(pipeline: Pipeline, answered: StoreResource) -> None:
    """A pipeline without a table says what to materialize."""
    with pytest.raises(ConfigError, match=r"calls/joined_table has not been materialized in .*; materialize it"):
        elsewhere(eager, TableIOManager(store=answered))


def test_no_warning(pipeline: Pipeline, recwarn: pytest.WarningsRecorder) -> None:
    """The IO manager of the table's own, which Dagster calls beta, warns nobody."""
    build_assets(pipeline)
    assert [str(warning.message) for warning in recwarn if "io_manager" in str(warning.message)] == []
