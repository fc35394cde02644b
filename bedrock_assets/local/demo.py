"""The demo: a pipeline from end to end on the local stack, with the same calls as the Dagster UI."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.local.stack import Stack
from bedrock_assets.local.ui import DagsterUI
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.keys import raw_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import RawManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved

POLL_S = 1.0
_OPEN = ("REQUESTED", "CANCELING", "FAILING")


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo."""

    pipeline: str
    backfill: str
    """The backfill's final status."""
    shards: int
    rows_in: int
    rows_out: int
    ok: int
    error: int
    missing: int
    conserved: bool
    jobs: int
    """Jobs of this pipeline that the emulator ever ran."""
    table: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the backfill succeeded and every row is in the table once."""
        return self.backfill == "COMPLETED_SUCCESS" and self.conserved


def run_demo(stack: Stack, pipeline: Pipeline, console: Console) -> DemoResult:
    """
    Materialize `raw_dataset`, backfill the rest, and check that every row arrived.

    Raises:
        BedrockAssetsError: Dagster does not load the pipeline, or `raw_dataset` failed.
    """
    started, ui, name, store = (
        time.monotonic(),
        DagsterUI(stack.ui_url, stack.location),
        pipeline.spec.name,
        Store(str(stack.store)),
    )
    with console.status("starting Dagster"):
        ui.wait_until_loaded(stack.require_alive, console.print)
    console.print(f"Dagster UI while this runs: [link={stack.ui_url}]{stack.ui_url}[/link]")
    with console.status(f"materializing {name}/raw_dataset"):
        raw = _ingest(ui, store, pipeline)
    console.print(f"{raw.n_rows:,} rows from {raw.source} in {len(raw.shards)} shards")
    backfill_id = ui.backfill(
        [pipeline.spec.key_of(asset) for asset in ("prompt_shards", "batch_outputs", "joined_table")],
        [shard.key for shard in raw.shards],
        {"ops": {pipeline.spec.op_of("batch_outputs"): {"config": {"poll_s": 2.0}}}},
    )
    status = _follow(stack, ui, backfill_id, pipeline, raw, console)
    table = store.read_model(table_manifest_key(name), TableManifest)
    facts = conservation_facts(store, pipeline, raw, table) if table else {"n_rows_out": 0}
    return DemoResult(
        pipeline=name,
        backfill=status,
        shards=len(raw.shards),
        rows_in=raw.n_rows,
        rows_out=facts["n_rows_out"],
        ok=table.n_ok if table else 0,
        error=table.n_error if table else 0,
        missing=table.n_missing if table else 0,
        conserved=table is not None and conserved(facts),
        jobs=len(list(_bedrock(stack).list(name_contains=name_prefix(name)))),
        table=store.path(f"{name}/table"),
        seconds=round(time.monotonic() - started, 1),
    )


def show(result: DemoResult, console: Console) -> None:
    """Print the counts, the first rows and the table's path."""
    verdict = "[green]every row is in the table once[/green]" if result.conserved else "[red]rows are missing[/red]"
    console.print(
        f"\nbackfill {result.backfill}: {result.rows_in:,} rows in, {result.rows_out:,} rows out "
        f"({result.ok:,} ok, {result.error:,} error, {result.missing:,} missing) from {result.jobs} jobs; {verdict}"
    )
    parts = sorted(Path(result.table).glob("*.parquet"))
    if parts:
        rows = pl.read_parquet(parts[0], n_rows=3)
        columns = [column for column in ("id", "n_turns", "status", "response", "embedding") if column in rows.columns]
        with pl.Config(tbl_hide_dataframe_shape=True, fmt_str_lengths=150, tbl_width_chars=console.width):
            console.print(str(rows.select(columns)))
    console.print(f"table: {result.table}/part-*.parquet", soft_wrap=True)


def _ingest(ui: DagsterUI, store: Store, pipeline: Pipeline) -> RawManifest:
    run_id = ui.materialize(pipeline.spec.key_of("raw_dataset"))
    if ui.wait_for_run(run_id) != "SUCCESS":
        raise BedrockAssetsError(f"raw_dataset failed: {'; '.join(ui.failures(run_id)) or 'see dagster.log'}")
    manifest = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if manifest is None:
        raise BedrockAssetsError("raw_dataset succeeded, but its manifest is not in the store")
    return manifest


def _follow(
    stack: Stack, ui: DagsterUI, backfill_id: str, pipeline: Pipeline, raw: RawManifest, console: Console
) -> str:
    """Show progress until the backfill ends; returns its status."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    bedrock, prefix = _bedrock(stack), name_prefix(pipeline.spec.name)
    with Progress(*columns, console=console) as progress:
        records = progress.add_task("records answered", total=raw.n_sendable)
        shards = progress.add_task("shards done", total=len(raw.shards))
        table = progress.add_task("table", total=1)
        while True:
            stack.require_alive()
            status, counts = ui.backfill_status(backfill_id)
            jobs = list(bedrock.list(name_contains=prefix))
            n_running = sum(job.status.in_flight for job in jobs)
            done: dict[str, Any] = counts.get("batch_outputs", {})
            progress.update(records, completed=min(raw.n_sendable, sum(job.n_processed for job in jobs)))
            progress.update(
                shards, completed=done.get("materialized", 0), description=f"shards done ({n_running} jobs in flight)"
            )
            progress.update(table, completed=counts.get("joined_table", {}).get("materialized", 0))
            if status not in _OPEN:
                return status
            time.sleep(POLL_S)


def _bedrock(stack: Stack) -> Bedrock:
    client = boto3.client(
        "bedrock",
        endpoint_url=stack.emulator_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the emulator takes any
    )
    return Bedrock(client, role_arn="")
