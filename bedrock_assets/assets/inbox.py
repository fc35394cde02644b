"""The two assets of an inbox, and the check that each record of a file has one outcome."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from bedrock_assets.assets.checks import CONSERVATION, PARTITION_TAG
from bedrock_assets.assets.metadata import shared_metadata
from bedrock_assets.assets.pipeline import build_batch_outputs
from bedrock_assets.audit import Effect, announce
from bedrock_assets.errors import StaleShard
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.inbox.take import FileIntake, TakenFiles, is_taken_elsewhere
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import Facts, conserved


class DroppedFilesConfig(dg.Config):
    """Which files a run of `dropped_files` takes."""

    files: dict[str, str] | None = Field(
        default=None, description="Names and etags, as the sensor saw them; without it all that have settled."
    )
    given_up: dict[str, str] = Field(default={}, description="Names and etags of files to refuse after many tries.")


def build_inbox_assets(inbox: Inbox) -> list[dg.AssetsDefinition]:
    """`dropped_files` and `batch_outputs`."""
    return [_dropped_files(inbox), build_batch_outputs(inbox, "dropped_files")]


def _dropped_files(inbox: Inbox) -> dg.AssetsDefinition:
    spec = inbox.spec

    @dg.asset(
        key=[spec.name, "dropped_files"],
        description=f"{spec.description or ''}\n\nThe folder `{spec.dropped_to}` of the store. A run takes the JSONL "
        f"files that lie there: each becomes a partition of `batch_outputs`, and moves to `{spec.processed_to}`. What "
        "is refused stays where it is, with an observation that says why.",
        metadata={
            "model": ", ".join(t.name for t in spec.targets),
            "dropped_to": spec.dropped_to,
            "processed_to": spec.processed_to,
        },
        **shared_metadata(inbox, {"jsonlines"}),
    )
    def dropped_files(
        context: dg.AssetExecutionContext, config: DroppedFilesConfig, store: StoreResource, bedrock: BedrockResource
    ) -> dg.MaterializeResult[Any]:
        if is_taken_elsewhere(context, spec.name):
            raise dg.Failure("another run takes files of this inbox; wait for its end", allow_retries=False)
        regions = bedrock.open(store.open(), local=True)
        taken = FileIntake(context, inbox, regions).take(config.files, config.given_up)
        announce(Effect.MATERIALIZE, "before", "dropped_files")
        return dg.MaterializeResult(metadata=_metadata(taken))

    return dropped_files  # pyright: ignore[reportReturnType] - the decorator is untyped


def build_inbox_checks(inbox: Inbox) -> list[dg.AssetChecksDefinition]:
    """That each record of the file that was collected last has one outcome."""
    name = inbox.spec.name

    @dg.asset_check(
        name=CONSERVATION,
        asset=dg.AssetKey([name, "batch_outputs"]),
        description="One outcome for each record of the file that was collected last.",
    )
    def file_check(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        key = context.run.tags.get(PARTITION_TAG)
        if key is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "a partition; launch one with its check"})
        facts = file_facts(store.open(), inbox, key)
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
    rows = store.scan_parquet([outputs]).select("record_id", "status").collect()
    known = pl.col("status").is_in(["ok", "error", "missing"]).fill_null(value=False)
    return {
        "n_rows_in": len(ids),
        "n_rows_out": len(rows),
        "n_lost": len(ids.join(rows, on="record_id", how="anti")),
        "n_without_status": len(rows.filter(~known)),
    }


def _metadata(taken: TakenFiles) -> dict[str, Any]:
    groups = {"taken": taken.files, "refused": taken.refused, "waiting": taken.waiting}
    found: dict[str, Any] = {f"n_{name}": len(files) for name, files in groups.items()}
    for name, files in groups.items():
        if files:
            lines = [f"| {file} | {' '.join(told.split()).replace('|', '/')} |" for file, told in files.items()]
            found[name] = dg.MetadataValue.md("\n".join(["| file | |", "|---|---|", *lines]))
    return found
