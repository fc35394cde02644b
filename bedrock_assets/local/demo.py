"""The demo: a pipeline from end to end on the local stack, with the same calls as the Dagster UI."""

import time
from dataclasses import dataclass, field

import boto3
from rich.console import Console

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.jobs.canary import answered_canary
from bedrock_assets.jobs.gate import APPROVED, approval_of
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.local.following import Moment, Narrator
from bedrock_assets.local.stack import Stack
from bedrock_assets.local.ui import DagsterUI
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import price_of
from bedrock_assets.storage.keys import raw_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import RawManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved
from bedrock_assets.units import counted

POLL_S = 1.0
_OPEN = ("REQUESTED", "CANCELING", "FAILING")
_ASSETS = ("prompt_shards", "batch_outputs", "joined_table")


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
    input_tokens: int | None = None
    """Tokens that the answers report; None if unknown."""
    output_tokens: int | None = None
    cost_usd: float | None = None
    """What AWS would bill for them, in US dollars; None if unknown. The emulator bills nothing."""
    enums: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Columns of the answer with a fixed set of values, and these values."""
    fields: list[str] = field(default_factory=list[str])
    """Columns of the answer's schema."""

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
    ui, store = DagsterUI(stack.ui_url, stack.location), Store(str(stack.store))
    with Narrator(console) as narrator:
        narrator.tell(Moment("starting Dagster: its web server, its daemon and the pipeline's code"))
        ui.wait_until_loaded(stack.require_alive, lambda text: console.print(f"{'':14}{text}", highlight=False))
        console.print(f"              Dagster UI while this runs: [link={stack.ui_url}]{stack.ui_url}[/link]")
        narrator.tell(Moment("reading the rows and planning the jobs"))
        raw = _ingest(ui, store, pipeline)
        shards = counted(len(raw.shards), "shard") + (": parts that are one job each" if len(raw.shards) > 1 else "")
        source = raw.source.rpartition("/")[2] if raw.source.startswith("/") else raw.source
        console.print(f"              {raw.n_rows:,} rows from {source}, in {shards}", highlight=False)
        backfill_id = ui.backfill(
            [pipeline.spec.key_of(asset) for asset in _ASSETS],
            [shard.key for shard in raw.shards],
            {"ops": {pipeline.spec.op_of("batch_outputs"): {"config": {"poll_s": 2.0}}}},
        )
        status = _follow(stack, ui, backfill_id, pipeline, raw, narrator)
    return _result(stack, store, pipeline, raw, status, round(narrator.seconds, 1))


def _ingest(ui: DagsterUI, store: Store, pipeline: Pipeline) -> RawManifest:
    run_id = ui.materialize(pipeline.spec.key_of("raw_dataset"))
    if ui.wait_for_run(run_id) != "SUCCESS":
        raise BedrockAssetsError(f"raw_dataset failed: {'; '.join(ui.failures(run_id)) or 'see dagster.log'}")
    manifest = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if manifest is None:
        raise BedrockAssetsError("raw_dataset succeeded, but its manifest is not in the store")
    return manifest


def _follow(
    stack: Stack, ui: DagsterUI, backfill_id: str, pipeline: Pipeline, raw: RawManifest, narrator: Narrator
) -> str:
    """Say what goes on until the backfill ends; returns its status."""
    bedrock, prefix = _bedrock(stack), name_prefix(pipeline.spec.name)
    while True:
        stack.require_alive()
        status, counts = ui.backfill_status(backfill_id)
        if status not in _OPEN:
            return status
        jobs = list(bedrock.list(name_contains=prefix))
        done = {asset: counts.get(asset, {}).get("materialized", 0) for asset in _ASSETS}
        n_shards, min_records = len(raw.shards), pipeline.spec.limits.min_records_per_job
        moment = Moment.of(done, jobs, n_shards=n_shards, n_records=raw.n_sendable, min_records=min_records)
        narrator.tell(_held(stack, pipeline, raw) or moment)
        time.sleep(POLL_S)


def _held(stack: Stack, pipeline: Pipeline, raw: RawManifest) -> Moment | None:
    """The moment in which a person is waited for."""
    name, store = pipeline.spec.name, Store(str(stack.store))
    if not pipeline.spec.approval or len(raw.shards) == 1:
        return None
    canary = answered_canary(store, name, raw.shards[0].key)
    if canary is None or approval_of(store, canary.shard) is not None:
        return None
    key = "/".join(pipeline.spec.key_of(APPROVED))
    return Moment(
        f"the canary waits for your yes: bedrock-assets approve {name} --home {stack.home}, or materialize {key}"
    )


def _result(
    stack: Stack, store: Store, pipeline: Pipeline, raw: RawManifest, status: str, seconds: float
) -> DemoResult:
    name = pipeline.spec.name
    table = store.read_model(table_manifest_key(name), TableManifest)
    facts = conservation_facts(store, pipeline, raw, table) if table else {"n_rows_out": 0}
    price, schema = price_of(pipeline.spec), pipeline.schema
    counts = list(table.tokens.values()) if table else []
    n_input, n_output = ([getattr(count, side) for count in counts] for side in ("n_input", "n_output"))
    columns = {name: pipeline.answer_columns[name] for name in (schema.fields if schema else ())}
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
        seconds=seconds,
        input_tokens=None if None in n_input or not counts else sum(n_input),
        output_tokens=None if None in n_output or not counts else sum(n_output),
        cost_usd=price.cost_usd(table.tokens) if price and table and counts else None,
        enums={
            columns[name]: list(map(str, node.enum))
            for name, node in (schema.fields if schema else {}).items()
            if node.enum
        },
        fields=list(columns.values()),
    )


def _bedrock(stack: Stack) -> Bedrock:
    client = boto3.client(
        "bedrock",
        endpoint_url=stack.emulator_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the emulator takes any
    )
    return Bedrock(client, role_arn="")
