"""Collect a request's answers and publish them, or say why there are none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import dagster as dg

from bedrock_assets.assets import metadata
from bedrock_assets.assets.cloudwatch import WorkloadMetrics
from bedrock_assets.aws.regions import Regions
from bedrock_assets.errors import BedrockError, JobFailed, StaleShard
from bedrock_assets.jobs.attempts import FinishedAttempt, ShardAttempts
from bedrock_assets.jobs.collect_runs import FINAL_TAG, JOB_TAG, REFUSAL_TAG, REQUEST_TAG
from bedrock_assets.jobs.enqueue import stage
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.on_demand import answer_on_demand
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.outputs.collect import Collected
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.resources.bedrock import BedrockResource
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import job_folder
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store


class Published(NamedTuple):
    """The answers of a partition, before it is materialized."""

    metadata: dict[str, Any]
    version: str
    """Its data version."""


@dataclass(frozen=True)
class CollectRun:
    """
    What a run that the sensor has launched does for one partition of `batch_outputs`.

    Args:
        context: Of the run that does it: the one that was launched for it, or one that waits and helps.
        shard: The partition.
        tags: Of the run that was launched for it.
    """

    context: dg.AssetExecutionContext
    workload: Workload
    store: Store
    bedrock: BedrockResource
    shard: str
    tags: Mapping[str, str]

    def run(self) -> Published | None:
        """
        Publish the partition's answers, or record a request for its next attempt.

        Returns:
            None if the partition is not complete.

        Raises:
            dagster.Failure: There is no usable answer; the message has Bedrock's own.
            BedrockUnavailable: Bedrock is not reachable; the sensor tries again.
        """
        entry, log = self._entry, self.context.log
        if entry is None:
            log.info("this request is done, or another request has replaced it; nothing to do")
            return None
        if changed := self.workload.changed_since(json.loads(entry.request.configuration or "{}")):
            log.warning(
                f"the pipeline has another {' and '.join(changed)} by now; nothing is collected, see the sensor"
            )
            return None
        try:
            finished, collected, request = self._collect(entry.request)
        except (JobFailed, StaleShard, BedrockError) as error:
            self._fail(entry.request, error)
            raise dg.Failure(str(error), self._links, allow_retries=False) from None
        if request is not None:
            log.warning(f"{finished}: {request.n_records} records are sent again, {request.inference_mode}")
            self._ledger.log(self.context.log_event, request, RequestState.REQUESTED)
            return None
        if collected.difference:
            log.warning(f"{finished}: {collected.difference}")
        version = self._attempts.collector.publish(collected)
        facts = metadata.answers_metadata(
            self._attempts,
            collected,
            finished.job,
            entry,
            self._regions.page_of(finished.job.arn) if finished.job else None,
        )
        # What the ledger reads is there even if what people read could not be made.
        internals = metadata.ledger_facts(self._attempts, finished.job, entry)
        return Published(facts | self._metrics(finished) | internals, version)

    @cached_property
    def _ledger(self) -> Ledger:
        ledger = Ledger.of(self.workload.spec)
        ledger.refresh(self.context.instance)
        return ledger

    @cached_property
    def _entry(self) -> Entry | None:
        """The request that the run was launched for; None if it is done or was replaced."""
        entry = self._ledger.entries.get(self.shard)
        if entry is None or entry.request.identity != self.tags[REQUEST_TAG]:
            return None
        return entry if entry.state.is_open else None

    @cached_property
    def _attempts(self) -> ShardAttempts:
        shard = current_shard(self.store, self.workload.spec.name, self.shard)
        return ShardAttempts(self.workload, self.store, shard)

    @cached_property
    def _regions(self) -> Regions:
        return self.bedrock.open(self.store)

    def _collect(self, request: Request) -> tuple[FinishedAttempt, Collected, Request | None]:
        """The attempt that has ended, all answers so far, and the request for the next attempt, if any."""
        attempts = self._attempts
        attempts.require_current(request)
        finished = self._finish(request)
        collected = attempts.collect(finished)
        following = attempts.after(finished, collected)
        if following and following.inference_mode is InferenceMode.BATCH:
            stage(self._regions.used_by(self.workload.spec.targets, strict=False), [following])
        if following is None:
            collected.require_success(str(finished), finished.message)
        return finished, collected, following

    def _finish(self, request: Request) -> FinishedAttempt:
        """
        Bring the attempt's outputs into the store: the job's own, or those of calls that are made now.

        Raises:
            JobFailed: Bedrock refused the job, or the canary's answers do not let it be sent.
        """
        if REFUSAL_TAG in self.tags:
            raise JobFailed(self.tags[REFUSAL_TAG])
        if request.inference_mode is InferenceMode.ON_DEMAND:
            runtime = self.bedrock.open_runtime(self._regions.at(self.workload.spec.targets[0]))
            answer_on_demand(self.workload, self.store, runtime, request, final=FINAL_TAG in self.tags)
            return FinishedAttempt(request)
        job = self._regions.get(self.tags[JOB_TAG])
        self._regions.fetch(job.arn, job_folder(self._attempts.shard, request.attempt, job.arn), request.prompts)
        return FinishedAttempt(request, job)

    @property
    def _links(self) -> dict[str, dg.UrlMetadataValue]:
        """Where people see more of a job that has failed."""
        page = self._regions.page_of(self.tags[JOB_TAG]) if JOB_TAG in self.tags else None
        return {"job_console": dg.MetadataValue.url(page)} if page else {}

    def _metrics(self, finished: FinishedAttempt) -> dict[str, Any]:
        """CloudWatch's metrics of the job's model, if they are read."""
        if finished.job is None:
            return {}
        values = WorkloadMetrics.of(self.context, self.workload, self.bedrock, self._regions).read()
        return values.metadata if values else {}

    def _fail(self, request: Request, error: Exception) -> None:
        """
        Record that the request has failed.

        Raises:
            BedrockUnavailable: *error*, if the same may succeed later: then the request stays open.
        """
        if isinstance(error, BedrockError) and error.retryable:
            raise error
        arn = self.tags.get(JOB_TAG)
        facts = {"job_arn": arn} if arn else {}
        self._ledger.log(self.context.log_event, request, RequestState.FAILED, message=str(error), **facts)
