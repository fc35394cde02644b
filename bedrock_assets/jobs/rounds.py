"""
The next step of a pipeline that runs by itself: from what is there, never from what has happened.

A round begins when `raw_dataset` is materialized: by the schedule, by a person, or because an upstream asset has
changed. Then prompts are made that are not of the current dataset, and shards are requested whose prompts have no
answer yet. The table follows by its own sensor. A round that stops anywhere goes on from there.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.collect_runs import MAX_RUNTIME_TAGS
from bedrock_assets.jobs.gate import approval_note, held_requests
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.shard_request import RequestStatus
from bedrock_assets.jobs.staleness import Dataset
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted

ROUND_TAG = "bedrock_assets/round"
"""On runs that a step launches: which step of which round."""
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
MAX_STEP_RUNS = 3
"""Runs of one step that may fail before a person has to look."""
MAX_RANGES = 8
"""Runs that request shards at once; with more gaps between them, one run requests all from the first to the last."""
_STEPS = ("raw_dataset", "prompt_shards", "batch_outputs")


@dataclass
class Rounds:
    """
    The rounds of one pipeline.

    Args:
        upstream: Assets that `raw_dataset` is made of.
        follows: Whether an update of them begins a round.
        store: Where an approval is looked for, if the pipeline asks for one.
    """

    workload: Workload
    upstream: Sequence[dg.AssetKey] = ()
    follows: bool = False
    store: Store | None = None
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger.of(self.spec)

    @property
    def spec(self) -> WorkloadSpec:
        """The pipeline's."""
        return self.workload.spec

    @property
    def pipeline(self) -> str:
        """Its name."""
        return self.spec.name

    def next(self, instance: DagsterInstance, under_way: UnderWay) -> list[dg.RunRequest] | str:
        """The runs of the next step, or why there are none."""
        self.ledger.refresh(instance)
        if reason := self.busy(under_way):
            return reason
        dataset = self.ledger.staleness.dataset
        if self.follows and self._is_behind(instance, dataset):
            return self._step(under_way, "raw_dataset", self._name_of(dataset), [()])
        if dataset is None:
            return "raw_dataset has not been materialized"
        shards = list(instance.get_dynamic_partitions(f"{self.pipeline}_shards"))
        if old := [shard for shard in shards if self._has_old_prompts(shard, dataset)]:
            return self._step(under_way, "prompt_shards", self._name_of(dataset), list(ranges(shards, old)))
        unanswered = [shard for shard in shards if self._is_to_be_requested(shard, dataset)]
        if unanswered:
            return self._step(under_way, "batch_outputs", self._name_of(dataset), list(ranges(shards, unanswered)))
        return self.approval_note() or self._outcome(shards)

    def _outcome(self, shards: Sequence[str]) -> str:
        """How a round that is over has ended."""
        n_failed = sum(not self._is_answered(shard) for shard in shards)
        failed = counted(n_failed, "shard", "have", of=len(shards))
        if n_failed:
            return f"{failed} failed; the next round, or a launch, sends them again"
        return f"{counted(len(shards), 'shard')} answered"

    def busy(self, under_way: UnderWay) -> str | None:
        """Why no step can be taken now: a round, or a launch by a person, is under way."""
        keys = [dg.AssetKey(self.spec.key_of(name)) for name in _STEPS]
        if under_way.makes(keys):
            return "a run of raw_dataset, prompt_shards or batch_outputs is under way"
        if under_way.will_make(keys):
            return "a backfill is under way"
        # What waits for a person holds up no round: if nobody has said yes by then, the next one replaces it.
        held = held_requests(self.store, self.spec, self.ledger, self.workload).entries if self.store else []
        n_open = sum(self._is_served(entry) for entry in self.ledger.open_entries)
        n_open -= sum(self._is_served(entry) for entry in held)
        return f"a round is under way: {counted(n_open, 'shard', 'wait')} for answers" if n_open else None

    def approval_note(self) -> str:
        """What is told while shards wait for a person; empty if none does."""
        return approval_note(self.store, self.spec, self.ledger, self.workload) if self.store else ""

    def _is_served(self, entry: Entry) -> bool:
        """Whether an open request goes on by itself; others wait for new prompts."""
        if self.workload.changed_since(json.loads(entry.request.configuration or "{}")):
            return False
        return entry.job_arn is not None or self.ledger.status_of(entry.request) is RequestStatus.WANTED

    def _has_old_prompts(self, shard: str, dataset: Dataset) -> bool:
        """Whether prompts are not of the dataset or, in a round that began after them, not of the present settings."""
        prompts = self.ledger.staleness.prompts.get(shard)
        if prompts is None or prompts.raw_revision != dataset.revision:
            return True
        was_edited = self.workload.changed_since(json.loads(prompts.configuration or "{}"))
        return bool(was_edited) and prompts.storage_id < dataset.storage_id

    def _is_behind(self, instance: DagsterInstance, dataset: Dataset | None) -> bool:
        """Whether an upstream asset was materialized after the dataset was read."""
        latest = [instance.fetch_materializations(key, limit=1).records for key in self.upstream]
        ids = [records[0].storage_id for records in latest if records]
        return bool(ids) and len(ids) == len(self.upstream) and (dataset is None or max(ids) > dataset.storage_id)

    def _is_to_be_requested(self, shard: str, dataset: Dataset) -> bool:
        """Whether a shard's prompts were never requested, or failed in a round before this one."""
        entry = self.ledger.entries.get(shard)
        if entry is None or entry.request.fingerprint != self.ledger.staleness.prompts[shard].fingerprint:
            return True
        return not self._is_answered(shard) and not entry.state.is_open and entry.storage_id < dataset.storage_id

    def _is_answered(self, shard: str) -> bool:
        entry = self.ledger.entries.get(shard)
        return entry is not None and entry.state is RequestState.ANSWERED

    def _name_of(self, dataset: Dataset | None) -> str:
        return f"{dataset.storage_id}-{dataset.revision[:8]}" if dataset else "first"

    def _step(
        self, under_way: UnderWay, asset: str, round_name: str, spans: Sequence[tuple[str, ...]]
    ) -> list[dg.RunRequest] | str:
        name = f"{self.pipeline}/{asset}/{round_name}"
        attempts = under_way.attempts(ROUND_TAG, name)
        if attempts.n_ended >= MAX_STEP_RUNS * len(spans):
            return f"{attempts.n_ended} runs of {asset} have failed in this round; materialize it to see why"
        if attempts.busy:
            return f"a run of {asset} has failed; the next one is due soon"
        wait = {"ops": {self.spec.op_of(asset): {"config": {"wait": False}}}} if asset == "batch_outputs" else {}
        return [self._run(asset, f"{name}/{attempts.n_ended}/{i}", name, span, wait) for i, span in enumerate(spans)]

    def _run(
        self, asset: str, run_key: str, step: str, span: tuple[str, ...], run_config: dict[str, Any]
    ) -> dg.RunRequest:
        return dg.RunRequest(
            run_key=run_key,
            asset_selection=[dg.AssetKey(self.spec.key_of(asset))],
            run_config=run_config,
            tags={ROUND_TAG: step, **MAX_RUNTIME_TAGS, **dict(zip(RANGE_TAGS, span, strict=False))},
        )


def upstream_keys(spec: PipelineSpec, table: dg.AssetKey | None = None) -> list[dg.AssetKey]:
    """
    The assets that a pipeline's `raw_dataset` is made of.

    Args:
        table: Key of the table of `source.pipeline`, if that has a `key_prefix`.
    """
    keys = [dg.AssetKey(key) for key in spec.source.upstream]
    return [table, *keys[1:]] if table and spec.source.pipeline else keys


def ranges(keys: Sequence[str], wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """
    The wanted ones of *keys* as ranges of neighbours, first and last; one range of all if there are many gaps.

    Args:
        keys: All partitions, in the order in which Dagster has them.
    """
    positions = sorted(map(keys.index, wanted))
    starts = [i for i, position in enumerate(positions) if i == 0 or position != positions[i - 1] + 1]
    starts = starts if len(starts) <= MAX_RANGES else starts[:1]
    for start, end in zip(starts, [*starts[1:], len(positions)], strict=True):
        yield keys[positions[start]], keys[positions[end - 1]]
