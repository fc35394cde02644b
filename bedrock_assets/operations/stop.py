"""Stop a pipeline by hand: withdraw its pending requests and stop its jobs in flight. Answers are kept."""

from collections.abc import Collection
from dataclasses import dataclass, field

from dagster import DagsterInstance

from bedrock_assets.aws.model_invocation_jobs import Jobs
from bedrock_assets.config.asset_attributes import is_asset
from bedrock_assets.errors import BedrockError
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState

BY_HAND = "stopped by hand; launch the partition again to send what is unanswered"


@dataclass
class StopResult:
    """What `stop_requests` did."""

    withdrawn: list[str] = field(default_factory=list)
    """Shards whose requests were withdrawn."""
    stopped: list[str] = field(default_factory=list)
    """ARNs of the jobs that were stopped."""
    refused: list[str] = field(default_factory=list)
    """Errors of jobs that could not be stopped; their shards are unchanged."""


def open_requests(instance: DagsterInstance, pipeline: str, shards: Collection[str] = ()) -> tuple[Ledger, list[Entry]]:
    """The open requests of a pipeline, or of *shards* only, and the ledger that they are from."""
    ledger = Ledger(pipeline, _key_prefix(instance, pipeline))
    ledger.refresh(instance)
    return ledger, [entry for entry in ledger.open_entries if not shards or entry.request.shard in shards]


def _key_prefix(instance: DagsterInstance, pipeline: str) -> tuple[str, ...]:
    """The prefix of the keys, from the log: a pipeline may be stopped when its YAML is gone."""
    keys = instance.all_asset_keys()
    return next((tuple(key.path[:-2]) for key in keys if is_asset(key.path, pipeline, "batch_outputs")), ())


def stop_requests(instance: DagsterInstance, ledger: Ledger, entries: list[Entry], bedrock: Jobs) -> StopResult:
    """
    Stop the jobs of *entries* and withdraw their requests.

    A job is stopped before its request is withdrawn: if this process dies in between, the sensor still watches the
    job, and the command can be run again.
    """
    result = StopResult()
    for entry in entries:
        if entry.job_arn:
            try:
                bedrock.stop(entry.job_arn)
            except BedrockError as error:
                result.refused.append(f"{entry.request.shard}: {error}")
                continue
            result.stopped.append(entry.job_arn)
        facts = {"message": BY_HAND} | ({"job_arn": entry.job_arn} if entry.job_arn else {})
        ledger.log(instance.report_runless_asset_event, entry.request, RequestState.WITHDRAWN, **facts)
        result.withdrawn.append(entry.request.shard)
    return result
