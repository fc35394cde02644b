"""The two assets of an inbox, and the check that each record of a file has one outcome."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from bedrock_assets.assets.checks import CONSERVATION, PARTITION_TAG
from bedrock_assets.assets.failures import sentence_first
from bedrock_assets.assets.metadata import shared_metadata
from bedrock_assets.assets.pipeline import build_batch_outputs
from bedrock_assets.errors import StaleShard
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.take import FileIntake, TakenFiles, has_earlier_run
from bedrock_assets.jobs.event_log import materialize
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import Facts, conserved


class DroppedFilesConfig(dg.Config):
    """Which files a run of `dropped_files` takes."""

    files: dict[str, str] | None = Field(
        default=None, description="Names and etags, as the sensor saw them; without it all files that have settled."
    )
    given_up: dict[str, str] = Field(default={}, description="Names and etags of files to refuse after many runs.")


def build_inbox_assets(inbox: Inbox) -> list[dg.AssetsDefinition]:
    """`dropped_files` and `batch_outputs`."""
    return [_dropped_files(inbox), build_batch_outputs(inbox.workload, "dropped_files")]


def _dropped_files(inbox: Inbox) -> dg.AssetsDefinition:
    spec = inbox.spec

    @dg.asset(
        key=spec.key_of("dropped_files"),
        description=f"{spec.description or ''}\n\nThe folder `{spec.dropped_to}` of the store. A run takes the JSONL "
        f"files in it: each becomes a partition of `batch_outputs`, and moves to `{spec.processed_to}`. A file that "
        "is refused stays where it is, with an observation that says why.\n\nA sensor launches it when a file has "
        "arrived; launch it by hand to take the files now.",
        metadata={
            "model": ", ".join(t.name for t in spec.targets),
            "dropped_to": spec.dropped_to,
            "processed_to": spec.processed_to,
        },
        **shared_metadata(inbox.spec, {"jsonlines"}),
    )
    @sentence_first
    def dropped_files(
        context: dg.AssetExecutionContext,
        config: DroppedFilesConfig,
        bedrock_batch_store: StoreResource,
        bedrock_batch: BedrockResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        if has_earlier_run(context, spec.name):
            raise dg.Failure("another run is taking files of this inbox; wait until it has ended", allow_retries=False)
        regions = bedrock_batch.open(bedrock_batch_store.open(), local=True)
        files = FileIntake(context, inbox, regions).take(config.files, config.given_up)
        uri = {"dagster/uri": regions.store.path(spec.dropped_to)}
        yield from materialize("dropped_files", uri | _metadata(files))

    return dropped_files  # pyright: ignore[reportReturnType] - the decorator is untyped


def build_inbox_checks(inbox: Inbox) -> list[dg.AssetChecksDefinition]:
    """The check that each record of the file that was collected last has one outcome."""

    @dg.asset_check(
        name=CONSERVATION,
        asset=dg.AssetKey(inbox.spec.key_of("batch_outputs")),
        description="One outcome for each record of the file that was collected last.",
    )
    def file_check(context: dg.AssetCheckExecutionContext, bedrock_batch_store: StoreResource) -> dg.AssetCheckResult:
        key = context.run.tags.get(PARTITION_TAG)
        if key is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "a partition; launch one with its check"})
        facts = file_facts(bedrock_batch_store.open(), inbox, key)
        return dg.AssetCheckResult(passed=conserved(facts), metadata=dict(facts))

    return [file_check]


def file_facts(store: Store, inbox: Inbox, key: str) -> Facts:
    """Compare a file's records with the answers: n_rows_in, n_rows_out, n_lost, n_without_status."""
    try:
        shard = current_shard(store, inbox.spec.name, key)
    except StaleShard:
        return {"n_rows_in": 0, "n_rows_out": 0, "n_lost": 0, "n_without_status": 1}
    ids, outputs = store.read_parquet(shard.rows).select("record_id"), outputs_key(inbox.spec.name, key, shard.folder)
    if not store.exists(outputs):
        return {"n_rows_in": len(ids), "n_rows_out": 0, "n_lost": len(ids), "n_without_status": 0}
    rows = store.read_parquet(outputs, lambda rows: rows.select("record_id", "status"))
    known = pl.col("status").is_in(["ok", "error", "missing"]).fill_null(value=False)
    return {
        "n_rows_in": len(ids),
        "n_rows_out": len(rows),
        "n_lost": len(ids.join(rows, on="record_id", how="anti")),
        "n_without_status": len(rows.filter(~known)),
    }


def _metadata(files: TakenFiles) -> dict[str, Any]:
    groups = {"taken": files.taken, "refused": files.refused, "waiting": files.waiting}
    metadata: dict[str, Any] = {f"n_{name}": len(group) for name, group in groups.items()}
    for name, group in groups.items():
        if group:
            lines = [f"| {file} | {' '.join(note.split()).replace('|', '/')} |" for file, note in group.items()]
            metadata[name] = dg.MetadataValue.md("\n".join(["| file | |", "|---|---|", *lines]))
    return metadata
