"""Group the rows without an answer by what went wrong."""

from dataclasses import dataclass

import polars as pl
from dagster import DagsterInstance

from bedrock_assets.columns import column
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.outputs.error_groups import group_errors as error_groups
from bedrock_assets.outputs.published import read_outputs
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.keys import outputs_folder, outputs_key
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class ErrorGroup:
    """Rows that failed for the same reason."""

    error_code: str | None
    message: str
    """Message with `#` in place of quotations, ids and numbers."""
    n_rows: int
    example: str
    """Record id of the first row."""
    example_message: str | None
    shards: list[str]


def group_errors(store: Store, workload: Workload) -> list[ErrorGroup]:
    """Group the rows of all shards that are not `ok`; the most frequent failure comes first."""
    outputs = outputs_of(store, workload.spec)
    if not outputs:
        return []
    groups = error_groups(pl.concat(_failed(store, workload, shard, key) for shard, key in outputs.items()))
    columns = ("error_code", "pattern", "n_rows", "example", "error_message", "shards")
    return [ErrorGroup(*row) for row in groups.select(columns).iter_rows()]


def failed_shards(instance: DagsterInstance, spec: WorkloadSpec) -> dict[str, str]:
    """Why the last request of a shard has failed, by shard, from Dagster's event log."""
    ledger = Ledger.of(spec)
    ledger.refresh(instance)
    failed = {key: entry for key, entry in ledger.entries.items() if entry.state is RequestState.FAILED}
    return {key: failed[key].message or "see its run" for key in sorted(failed)}


def outputs_of(store: Store, spec: WorkloadSpec) -> dict[str, str]:
    """By shard, the keys of the answers that there are."""
    folder = spec.processed_to if isinstance(spec, InboxSpec) else outputs_folder(spec.name)
    named = ((file.key.rpartition("/")[2].removesuffix(".parquet"), file.key) for file in store.files(folder))
    # An inbox's folders also have the files themselves, and the jobs' own outputs.
    return {shard: key for shard, key in named if key == outputs_key(spec.name, shard, spec.folder_of(shard))}


def _failed(store: Store, workload: Workload, shard: str, key: str) -> pl.DataFrame:
    own = {name: workload.answer_columns[name] for name in ("status", "error_code", "error_message")}
    id_column = column(workload.record_id).alias("record_id")
    rows = read_outputs(store, key, workload.output_prefix, lambda rows: rows.select(id_column, **own))
    return rows.filter(pl.col("status").cast(pl.String) != "ok").with_columns(shard=pl.lit(shard))
