"""The demo: a pipeline from end to end on the local stack, with the same calls as the Dagster UI."""

import time
from collections.abc import Sequence
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
from bedrock_assets.local.ui import ENDED, DagsterUI
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.prices import price_of
from bedrock_assets.sinks import sinks_of
from bedrock_assets.storage.keys import raw_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import RawManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved
from bedrock_assets.units import counted

POLL_S = 1.0
PATIENCE_S = 60
"""Patience with the sensors that build the table and write sinks; they look every few seconds."""
_ANSWERS = ("prompt_shards", "batch_outputs")


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo."""

    pipeline: str
    run: str
    """Final status of the run that failed, or of the last one; "not written" if no run wrote a sink."""
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
        """Whether the runs succeeded and every row is in the table once."""
        return self.run == "SUCCESS" and self.conserved


def run_demo(stack: Stack, pipeline: Pipeline, console: Console) -> DemoResult:
    """
    Materialize `raw_dataset`, all shards in one run, and the table; check that every row arrived.

    Not by a backfill, which Dagster's daemon looks at every 30 seconds only.

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
        status = _Runs(stack, ui, pipeline, raw, narrator).follow()
        narrator.tell(Moment("checking that every row is in the table"))
    return _result(stack, store, pipeline, raw, status, round(narrator.seconds, 1))


def _ingest(ui: DagsterUI, store: Store, pipeline: Pipeline) -> RawManifest:
    run_id = ui.materialize(pipeline.spec.key_of("raw_dataset"))
    if ui.wait_for_run(run_id) != "SUCCESS":
        raise BedrockAssetsError(f"raw_dataset failed: {'; '.join(ui.failures(run_id)) or 'see dagster.log'}")
    manifest = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    if manifest is None:
        raise BedrockAssetsError("raw_dataset succeeded, but its manifest is not in the store")
    return manifest


@dataclass(frozen=True)
class _Runs:
    """The runs that follow the dataset's: of the answers, the table and the sinks."""

    stack: Stack
    ui: DagsterUI
    pipeline: Pipeline
    raw: RawManifest
    narrator: Narrator
    since: float = field(default_factory=time.time)
    """When they begin, in seconds since 1970."""

    def follow(self) -> str:
        """Launch what no sensor launches, and say what goes on until all is made; returns `DemoResult.run`."""
        status, spec = self._get_answers(), self.pipeline.spec
        if status == "SUCCESS":
            self.narrator.tell(Moment("building the table"))
            key = spec.key_of("joined_table")
            status = self._await_sensor(key) or self.ui.wait_for_run(self.ui.materialize(key))
        for sink in sinks_of(spec):
            if status == "SUCCESS" and sink.is_automatic:
                self.narrator.tell(Moment(f"writing {sink.asset}"))
                status = self._await_sensor(spec.key_of(sink.asset)) or "not written"
        return status

    def _get_answers(self) -> str:
        spec = self.pipeline.spec
        keys, shards = [spec.key_of(asset) for asset in _ANSWERS], [shard.key for shard in self.raw.shards]
        config = {"ops": {spec.op_of("batch_outputs"): {"config": {"poll_s": 2.0}}}}
        run_id = self.ui.materialize(*keys, partitions=shards, run_config=config)
        while (status := self.ui.run_status(run_id)) not in ENDED:
            self.stack.require_alive()
            made = {asset: len(runs) for asset, runs in self.ui.runs_since(self.since, keys, shards).items()}
            self.narrator.tell(_held(self.stack, self.pipeline, self.raw) or self._moment(made))
            time.sleep(POLL_S)
        return status

    def _await_sensor(self, asset: Sequence[str]) -> str | None:
        """Wait for the run by which a sensor makes an asset; returns its status, None if that takes too long."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_S:
            self.stack.require_alive()
            if made := self.ui.runs_since(self.since, [asset])[asset[-1]]:
                return self.ui.wait_for_run(made[0])
            time.sleep(POLL_S)
        return None

    def _moment(self, made: dict[str, int]) -> Moment:
        spec = self.pipeline.spec
        return Moment.of(
            made,
            list(_bedrock(self.stack).list(name_contains=name_prefix(spec.name))),
            n_shards=len(self.raw.shards),
            n_records=self.raw.n_sendable,
            min_records=spec.limits.min_records_per_job,
        )


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
        run=status,
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
