"""Stops a pipeline by hand: what is pending is withdrawn, jobs in flight are asked to stop; answers are kept."""

from collections.abc import Collection
from dataclasses import dataclass, field

from dagster import DagsterInstance

from bedrock_assets.aws.batch import Jobs
from bedrock_assets.errors import BedrockError
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState

BY_HAND = "stopped by hand; launch the partition again to send what is unanswered"


@dataclass
class StopResult:
    """What was stopped."""

    withdrawn: list[str] = field(default_factory=list)
    """Shards."""
    stopped: list[str] = field(default_factory=list)
    """ARNs of jobs."""
    refused: list[str] = field(default_factory=list)
    """Why a job could not be stopped; its shard is left as it is."""


def open_requests(instance: DagsterInstance, pipeline: str, shards: Collection[str] = ()) -> tuple[Ledger, list[Entry]]:
    """The shards of a pipeline, or those of *shards*, that wait for answers."""
    ledger = Ledger(pipeline)
    ledger.refresh(instance)
    return ledger, [entry for entry in ledger.open_entries if not shards or entry.request.shard in shards]


def stop_requests(instance: DagsterInstance, ledger: Ledger, entries: list[Entry], bedrock: Jobs) -> StopResult:
    """
    Stop the jobs and withdraw the requests. A job is stopped before its request is withdrawn: if this process dies in
    between, the sensor still looks after it, and doing it again does the rest.
    """
    done = StopResult()
    for entry in entries:
        if entry.job_arn:
            try:
                bedrock.stop(entry.job_arn)
            except BedrockError as error:
                done.refused.append(f"{entry.request.shard}: {error}")
                continue
            done.stopped.append(entry.job_arn)
        facts = {"message": BY_HAND} | ({"job_arn": entry.job_arn} if entry.job_arn else {})
        ledger.log(instance.report_runless_asset_event, entry.request, RequestState.WITHDRAWN, **facts)
        done.withdrawn.append(entry.request.shard)
    return done
