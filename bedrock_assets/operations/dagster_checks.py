"""Check the Dagster instance of a deployment: pools, daemon, run slots, files of inboxes, jobs that nobody collects."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from bedrock_assets.aws.model_invocation_jobs import LOOK_BACK
from bedrock_assets.aws.regions import Regions
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockError, StoreError
from bedrock_assets.inbox.rejections import files_in_folder
from bedrock_assets.jobs.collect_runs import REQUEST_TAG
from bedrock_assets.jobs.gate import how_to_approve
from bedrock_assets.jobs.observe import pool_limit
from bedrock_assets.operations.probes import CheckResult
from bedrock_assets.operations.status import approval_awaited
from bedrock_assets.operations.uncollected import uncollected_jobs
from bedrock_assets.storage.store import Store

HEARTBEAT_S = 300
"""Oldest heartbeat of a running daemon; Dagster's daemons send one every 30 s."""


def run_dagster_checks(
    instance: DagsterInstance | None, regions: Regions | None, specs: Sequence[WorkloadSpec], *, are_all: bool = True
) -> Iterator[CheckResult]:
    """
    Run all checks, one after the other.

    Args:
        instance: None if `DAGSTER_HOME` is not set.
        regions: None if none can be opened; then files and jobs are left out.
        are_all: Whether *specs* are those of all pipelines; if not, jobs of others are left out.
    """
    if instance is None:
        fix = "set DAGSTER_HOME, or name the folder of a local stack with --home"
        yield CheckResult("Dagster", "unknown", "DAGSTER_HOME is not set", fix)
        return
    yield from _daemon_and_pools(instance, specs)
    yield from _run_slots(instance)
    if regions is None:
        return
    for spec in specs:
        if isinstance(spec, InboxSpec):
            yield _inbox_files(instance, regions.store, spec)
        elif isinstance(spec, PipelineSpec) and spec.approval:
            yield _approval(instance, regions.store, spec)
    yield from _uncollected(instance, regions, specs, are_all=are_all)


def _daemon_and_pools(instance: DagsterInstance, specs: Sequence[WorkloadSpec]) -> Iterator[CheckResult]:
    for pool in sorted({pool for spec in specs for pool in spec.pools}):
        explicit = instance.event_log_storage.get_concurrency_info(pool).limit is not None
        limit = pool_limit(instance, pool, specs)
        fix = "" if explicit else f"dagster instance concurrency set {pool} {limit}"
        message = f"{limit} jobs at once" + ("" if explicit else ", from limits.max_jobs: the pool has no limit")
        yield CheckResult(f"pool {pool}", "ok" if explicit else "warn", message, fix)
    monitored = instance.run_monitoring_enabled
    fix = "" if monitored else "set `run_monitoring: {enabled: true}` in dagster.yaml, or killed runs never end"
    yield CheckResult("run monitoring", "ok" if monitored else "warn", "on" if monitored else "off", fix)
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    age = datetime.now(UTC).timestamp() - beat.timestamp if beat else None
    alive = age is not None and age < HEARTBEAT_S
    message = "no heartbeat" if age is None else f"last heartbeat {age:.0f} s ago"
    fix = "" if alive else "start it with `dagster-daemon run` or `dagster dev`; without it no job is submitted"
    yield CheckResult("sensor daemon", "ok" if alive else "fail", message, fix)


def _run_slots(instance: DagsterInstance) -> Iterator[CheckResult]:
    """Whether the runs that wait leave slots to those that collect."""
    queue = instance.get_concurrency_config().run_queue_config
    limit = queue.max_concurrent_runs if queue else -1
    if limit < 0:
        return
    started = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING]))
    n_waiting = sum(REQUEST_TAG not in run.tags and _requests(run) for run in started)
    message = f"{limit} runs at once, {len(started)} in progress, {n_waiting} of them launched and waiting"
    full = n_waiting >= limit
    fix = (
        "nothing else runs until one of them ends; they collect their own answers, one after the other. Raise "
        "`concurrency.runs.max_concurrent_runs` in dagster.yaml, or launch with `wait: false`"
    )
    yield CheckResult("run slots", "warn" if full else "ok", message, fix if full else "")


def _requests(run: DagsterRun) -> bool:
    return any(key.path[-1] == "batch_outputs" for key in run.asset_selection or ())


def _inbox_files(instance: DagsterInstance, store: Store, spec: InboxSpec) -> CheckResult:
    """What lies in the folder of an inbox."""
    check = f"files of {spec.name}"
    try:
        found = files_in_folder(instance, store, spec)
    except StoreError as error:
        return CheckResult(check, "unknown", str(error), "then run the check again")
    refused = [f"{file.shown} ({reason})" for file, reason in found if reason]
    message = f"{len(found) - len(refused)} waiting, {len(refused)} refused in {store.path(spec.dropped_to)}"
    if not refused:
        return CheckResult(check, "ok", message)
    fix = f"correct, rename or remove them; `bedrock-assets status {spec.name}` lists all"
    return CheckResult(check, "warn", f"{message}: {refused[0]}{' ...' if len(refused) > 1 else ''}", fix)


def _approval(instance: DagsterInstance, store: Store, spec: PipelineSpec) -> CheckResult:
    """Whether shards wait for a person."""
    check = f"approval of {spec.name}"
    try:
        note = approval_awaited(instance, spec, store)
    except StoreError as error:
        return CheckResult(check, "unknown", str(error), "then run the check again")
    if not note:
        return CheckResult(check, "ok", "no shard waits for a person")
    return CheckResult(check, "warn", note.partition(":")[0], how_to_approve(spec))


def _uncollected(
    instance: DagsterInstance, regions: Regions, specs: Sequence[WorkloadSpec], *, are_all: bool
) -> Iterator[CheckResult]:
    """Jobs that are paid and that nobody is about to collect."""
    try:
        jobs = list(regions.list(since=datetime.now(UTC) - LOOK_BACK))
        names = {spec.name for spec in specs}
        found = [
            one for one in uncollected_jobs(instance, regions.store, jobs, specs) if are_all or one.pipeline in names
        ]
    except (BedrockError, StoreError) as error:
        yield CheckResult("answers to collect", "unknown", str(error), "then run the check again")
        return
    for one in found:
        yield CheckResult("answers to collect", "warn", f"{one.job.name} is {one.job.status}, and unclaimed", str(one))
    if not found:
        yield CheckResult("answers to collect", "ok", "each job has a request that waits for it, or is collected")
