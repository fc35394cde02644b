"""
Collects answers in a launched run that waits, where the runs that are to collect them get no slot.

A launched run holds a run slot for as long as it waits. If such runs hold all slots, the runs that collect their
answers stay in the queue, and nothing would end. So a run that waits does the work of its pipeline's runs that are in
the queue for long: whatever is launched, and whatever `max_concurrent_runs` is, it comes to its end.

A materialization counts for the backfill of the run that logs it. So the runs of another backfill are left to the run
of that backfill which waits for them, if there is one and it gets to them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from bedrock_assets.assets.approval import observe_canary
from bedrock_assets.assets.collect import CollectRun
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG, REQUEST_TAG, TAKEN_TAG, collect_job
from bedrock_assets.jobs.event_log import log_materialization
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.storage.store import Store

OTHERS = 10
"""So many times longer other runs are left in the queue: those of another backfill, as the run that waits for it may
have been killed without Dagster's noticing, and those that make prompts or the dataset anew."""


@dataclass(frozen=True)
class QueuedCollectRuns:
    """
    The runs of a pipeline that wait for a slot to collect answers.

    Args:
        context: Of the run that waits.
        on_answered: Called when a shard's answers are published, before it is materialized.
        queued_s: Seconds in the queue after which a run's work is done here.
    """

    context: dg.AssetExecutionContext
    workload: Workload
    store: Store
    bedrock: BedrockResource
    on_answered: Callable[[Store, str], None]
    queued_s: float

    def collect(self) -> None:
        """Do the work of those that are in the queue for long, the oldest first, each in place of its run."""
        since = datetime.now(UTC) - timedelta(seconds=self.queued_s)
        job = collect_job(self.workload.spec.name)
        filters = RunsFilter(job_name=job, statuses=[DagsterRunStatus.QUEUED], created_before=since)
        for record in self.context.instance.get_run_records(filters, ascending=True):
            if not self._is_left(record) and self._take(record.dagster_run):
                self._collect(record.dagster_run)

    def blocked(self) -> DagsterRun | None:
        """A run that makes the dataset or prompts alone anew, and has got no slot for `OTHERS` times as long."""
        since = datetime.now(UTC) - timedelta(seconds=OTHERS * self.queued_s)
        cures = {dg.AssetKey(self.workload.spec.key_of(name)) for name in ("raw_dataset", "prompt_shards")}
        filters = RunsFilter(statuses=[DagsterRunStatus.QUEUED], created_before=since)
        runs = self.context.instance.get_runs(filters)
        return next((run for run in runs if run.asset_selection and run.asset_selection <= cures), None)

    def _is_left(self, record: RunRecord) -> bool:
        """Whether the work of a run is left to the waiting run of another backfill."""
        backfill = record.dagster_run.tags.get(BACKFILL_TAG)
        age_s = (datetime.now(UTC) - record.create_timestamp.replace(tzinfo=UTC)).total_seconds()
        if backfill in (None, self.context.run.tags.get(BACKFILL_TAG)) or age_s > OTHERS * self.queued_s:
            return False
        filters = RunsFilter(tags={BACKFILL_TAG: backfill}, statuses=[DagsterRunStatus.STARTED])
        key = Ledger.of(self.workload.spec).asset_key
        runs = self.context.instance.get_runs(filters)
        return any(key in (run.asset_selection or ()) and REQUEST_TAG not in run.tags for run in runs)

    def _take(self, run: DagsterRun) -> bool:
        """Take a run out of the queue; False if it was just started."""
        instance, own_id = self.context.instance, self.context.run.run_id
        # The tag first: it keeps the sensor from launching another run for the request.
        instance.add_run_tags(own_id, {TAKEN_TAG: run.tags[REQUEST_TAG]})
        found = instance.get_run_by_id(run.run_id)
        if found is None or found.status is not DagsterRunStatus.QUEUED:
            return False
        instance.delete_run(run.run_id)
        return True

    def _collect(self, run: DagsterRun) -> None:
        shard, log = run.tags["dagster/partition"], self.context.log
        log.info(
            f"no run slot was free for {self.queued_s:.0f} s, so this run collects the answers of {shard} itself; to "
            "have them collected side by side, raise `concurrency.runs.max_concurrent_runs` in dagster.yaml"
        )
        try:
            published = CollectRun(self.context, self.workload, self.store, self.bedrock, shard, run.tags).run()
            if published:
                self.on_answered(self.store, shard)
                observe_canary(self.context, self.store, self.workload, shard)
                key = Ledger.of(self.workload.spec).asset_key
                log_materialization(self.context.log_event, key, shard, published.metadata, published.version)
        except dg.Failure as failure:
            log.warning(f"{shard} has failed: {failure.description}")
        except BedrockAssetsError as error:
            log.warning(f"{shard} is not collected yet; the sensor launches another run: {error}")
        finally:
            self.context.instance.add_run_tags(self.context.run.run_id, {TAKEN_TAG: ""})
