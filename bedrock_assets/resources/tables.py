"""The IO manager that hands published tables to downstream assets, as the type that their parameter has."""

import sys
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field
from typing_extensions import override

from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.store import StoreResource, store_resource
from bedrock_assets.storage.publication import Publication, read_latest
from bedrock_assets.storage.store import Store

PIPELINE = "bedrock_assets/pipeline"
"""Metadata of an asset: the pipeline whose table it is, if its key does not end in `PIPELINE/joined_table`."""
TABLE = "joined_table"


class TableIOManager(dg.ConfigurableIOManager):
    """
    Loads the table of a pipeline in another code location; it writes nothing.

    The parameter's type decides: `pl.LazyFrame` (also without a type), `pl.DataFrame`, `pd.DataFrame`, `pa.Table` or
    `duckdb.DuckDBPyRelation`. All but a LazyFrame hold the whole table in memory.
    """

    store: StoreResource | None = Field(
        default=None, description="The store of the tables; by default the one that the environment names."
    )

    @override
    def load_input(self, context: dg.InputContext) -> Any:
        return load_table((self.store or store_resource()).open(), context)

    @override
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        raise _refusal(context)


@dg.io_manager(
    required_resource_keys={"bedrock_batch_store"}, description="Hands the tables of this code location's store on."
)
def location_tables(context: dg.InitResourceContext) -> dg.IOManager:
    """The same, for the store of this code location, whoever has set it."""
    return TableIOManager(store=context.resources.bedrock_batch_store)


def load_table(store: Store, context: dg.InputContext) -> Any:
    """
    The latest publication of the table that an input is, as the type of the input.

    Raises:
        ConfigError: The asset is no table, the type is not known, or the table has not been materialized.
        StoreConflict: A build of the table is under way.
    """
    pipeline, wanted = _pipeline_of(context), context.dagster_type.typing_type
    if wanted in (pl.LazyFrame, Any, None):
        return Publication.latest(store, pipeline).scan()
    for (module, name), convert in _CONVERSIONS.items():
        # Who uses a type has imported its module.
        if module in sys.modules and wanted is getattr(sys.modules[module], name):
            return convert(read_latest(store, pipeline))
    names = ", ".join(f"{module}.{name}" for module, name in _CONVERSIONS)
    raise ConfigError(
        f"parameter {context.name!r}: {pipeline}/joined_table cannot be loaded as {wanted}; annotate the parameter as "
        f"polars.LazyFrame, {names}"
    )


def _pipeline_of(context: dg.InputContext) -> str:
    upstream = context.upstream_output
    for metadata in (context.definition_metadata, upstream.definition_metadata if upstream else None):
        if name := (metadata or {}).get(PIPELINE):
            return str(name)
    key = context.asset_key
    if len(key.path) > 1 and key.path[-1] == TABLE:
        return key.path[-2]
    raise ConfigError(
        f"parameter {context.name!r}: {key.to_user_string()} is not a pipeline's joined_table, which is all that "
        f"TableIOManager loads; name another `input_manager_key`, or the pipeline in the metadata `{PIPELINE}`"
    )


def _refusal(context: dg.OutputContext) -> ConfigError:
    return ConfigError(
        f"{context.asset_key.to_user_string()}: TableIOManager loads the tables of pipelines and writes nothing; give "
        f"the asset another io_manager_key, and name TableIOManager as `input_manager_key` of its parameter"
    )


def _to_arrow(table: pl.DataFrame) -> Any:
    # Older readers do not know Arrow's string views.
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())


def _to_duckdb(table: pl.DataFrame) -> Any:
    import duckdb

    return duckdb.from_arrow(_to_arrow(table))


_CONVERSIONS: dict[tuple[str, str], Callable[[pl.DataFrame], Any]] = {
    ("polars", "DataFrame"): lambda table: table,
    ("pandas", "DataFrame"): lambda table: table.to_pandas(),
    ("pyarrow", "Table"): _to_arrow,
    ("duckdb", "DuckDBPyRelation"): _to_duckdb,
}
"""By module and name of a type."""
