"""
Whether a pipeline's table is to be built.

It looks at what is there, not at what has changed: a table that is older than the answers or the dataset is built,
however that came about, and built again if the run that was to do so did not start.
"""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.collect_runs import MAX_RUNTIME_TAGS
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.jobs.partitions import shards_of
from bedrock_assets.jobs.shard_request import RequestStatus
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.units import counted

TABLE_TAG = "bedrock_assets/table"
"""On runs that build a table: of which answers and dataset."""
UNANSWERED = "answers to the prompts"
"""In what is said where shards have none: waiting builds no table then."""


@dataclass
class TableRounds:
    """Whether one pipeline's table is to be built."""

    spec: WorkloadSpec
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger.of(self.spec)

    @property
    def pipeline(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def key(self) -> dg.AssetKey:
        """The table."""
        return dg.AssetKey(self.spec.key_of("joined_table"))

    def next(self, instance: DagsterInstance, under_way: UnderWay) -> dg.RunRequest | str:
        """The run that builds the table, or why there is none."""
        self.ledger.refresh(instance)
        wanted = self._wanted(instance)
        if not wanted.startswith(f"{self.pipeline}/"):
            return wanted
        if under_way.will_make([self.key]):
            return "a backfill builds the table at its end"
        upstream = {dg.AssetKey(self.spec.key_of(name)) for name in ("raw_dataset", "prompt_shards")}
        if under_way.makes({self.key, *upstream}):
            return "a run of the table, or of what it depends on, is under way"
        attempts = under_way.attempts(TABLE_TAG, wanted)
        if attempts.exhausted:
            return f"{attempts.n_ended} runs that were to build the table have failed; materialize it to see why"
        if attempts.busy:
            return f"the run that was to build the table has failed; the next of {attempts.n_ended + 1} is due soon"
        tags = {TABLE_TAG: wanted, **MAX_RUNTIME_TAGS}
        return dg.RunRequest(run_key=f"{wanted}/{attempts.n_ended}", asset_selection=[self.key], tags=tags)

    def _wanted(self, instance: DagsterInstance) -> str:
        """Names the answers and the dataset that a table is to be built of; or why none is, which has a space."""
        shards, dataset = shards_of(instance, self.pipeline), self.ledger.staleness.dataset
        entries = [entry for shard in shards if (entry := self.ledger.entries.get(shard)) and self._is_answered(shard)]
        n_planned = dataset.n_shards if dataset else len(shards)
        if not entries or len(entries) < max(n_planned, len(shards)):
            return counted(len(entries), "shard", "have", of=max(n_planned, len(shards))) + f" {UNANSWERED}"
        newest, revision = max(entry.storage_id for entry in entries), dataset.revision if dataset else ""
        for record in instance.fetch_materializations(self.key, limit=1).records:
            event = record.asset_materialization
            built_of = event.metadata.get("raw_revision") if event else None
            if record.storage_id > newest and (built_of is None or not revision or built_of.value == revision):
                return "the table is up to date"
        run = max(entries, key=lambda entry: entry.storage_id).request.run_id[:8]
        return f"{self.pipeline}/{newest}-{run}-{revision[:8]}"

    def _is_answered(self, shard: str) -> bool:
        entry = self.ledger.entries[shard]
        return entry.state is RequestState.ANSWERED and self.ledger.status_of(entry.request) is RequestStatus.WANTED
