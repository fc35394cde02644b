"""What a launched `batch_outputs` run does first: record a request for each shard it was launched for."""

import dataclasses
import json
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg

from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.errors import StaleShard, TooFewRecords
from bedrock_assets.families import require_living
from bedrock_assets.jobs.attempts import ShardAttempts, mode_for
from bedrock_assets.jobs.budget import estimate_launch
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG
from bedrock_assets.jobs.count_tokens import TokenCounter
from bedrock_assets.jobs.event_log import write_observation
from bedrock_assets.jobs.ledger import Entry, Ledger, RequestState
from bedrock_assets.jobs.preflight import Preflight
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.format import current_shard
from bedrock_assets.storage.keys import job_folder, raw_manifest_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest, ShardManifest
from bedrock_assets.threads import N_READERS, map_ordered
from bedrock_assets.units import counted

TERMINAL_STATES = frozenset({RequestState.FAILED, RequestState.WITHDRAWN})
"""A shard in one of these states gets a new attempt when it is launched again."""


@dataclass(frozen=True)
class Launch:
    """A launched run that records requests; the sensor does the rest."""

    context: dg.AssetExecutionContext
    workload: Workload
    regions: Regions
    open_runtime: Callable[[Region], Runtime] | None = None
    """Opens the runtime of a Region to count tokens and for the pre-flight; None leaves both out."""

    @cached_property
    def ledger(self) -> Ledger:
        """The requests so far, as the event log has them."""
        ledger = Ledger.of(self.workload.spec)
        ledger.refresh(self.context.instance)
        return ledger

    def enqueue(self, *, retry_errors: bool = False) -> Ledger:
        """
        Record one request for each partition of the run.

        A shard whose last attempt failed gets a new attempt, with the records that are still unanswered; any other
        shard is requested as it was, so that a job which exists already is adopted and nothing is paid twice.

        Args:
            retry_errors: Treat answered shards like failed ones.

        Raises:
            StaleShard: A shard has no prompts yet, or they were made from an earlier dataset, or with another model,
                prompt, parameters or schema than the pipeline has now.
            RetiredModel: A model of the pipeline is Legacy or has ended its life.
            OverBudget: The launch may cost more than `budget_usd`.
            PreflightFailed: No record of a job would be answered.
            TooFewRecords: A shard has fewer records than Bedrock takes in a job, and `on_small` is `error`.
            ConfigError: The deployment does not name the Region of one of the pipeline's models.
        """
        spec, store = self.workload.spec, self.regions.store
        require_living(spec, datetime.now(UTC).date())
        used, ledger, keys = self.regions.used_by(spec.targets), self.ledger, list(self.context.partition_keys)
        raw = store.read_model(raw_manifest_key(spec.name), RawManifest)
        shards = list(map_ordered(lambda key: current_shard(store, spec.name, key), keys, N_READERS))
        self._require_fresh(raw, shards)
        terminal_states = TERMINAL_STATES | ({RequestState.ANSWERED} if retry_errors else set[RequestState]())
        requests = [self.request_or_resume(shard, terminal_states) for shard in shards]
        if self.workload.records is not None:
            is_answered = [self._is_answered(request) for request in requests]
            planned = [shard.key for shard in raw.shards] if raw else keys
            launch = list(zip(requests, shards, is_answered, strict=True))
            estimate = estimate_launch(self.workload, store, planned, launch, self._counter)
            self.context.log.info(str(estimate))
            requests = list(estimate.requests)
            self._require_preflight([request for request, done in zip(requests, is_answered, strict=True) if not done])
        stage(used, [request for request in requests if request.inference_mode is InferenceMode.BATCH])
        for request in requests:
            ledger.log(self.context.log_event, request, RequestState.REQUESTED)
        self.context.log.info(
            f"requested {counted(len(keys), 'shard')}, {counted(sum(r.n_records for r in requests), 'record')}"
        )
        return ledger

    @property
    def _counter(self) -> TokenCounter | None:
        return TokenCounter(self.workload.spec, self.regions, self.open_runtime) if self.open_runtime else None

    def _require_preflight(self, requests: Sequence[Request]) -> None:
        """
        Raises:
            PreflightFailed: No record of a job would be answered.
        """
        if self.open_runtime is None:
            return
        for result in Preflight(self.workload, self.regions, self.open_runtime).run(requests):
            self.context.log.info(str(result))
            for warning in result.warnings:
                self.context.log.warning(f"pre-flight of {result.target}: {warning}")
            told = dg.AssetObservation(self.ledger.asset_key, description="pre-flight", metadata=result.metadata)
            write_observation(self.context.log_event, told, "preflight")

    def request_or_resume(self, shard: ShardManifest, terminal_states: Set[RequestState] = TERMINAL_STATES) -> Request:
        """
        The request for a shard: a new attempt for what is unanswered if it is in one of *terminal_states*.

        Raises:
            TooFewRecords: It has fewer records than Bedrock takes in a job, and `on_small` is `error`.
        """
        first = self._first_request(shard)
        former = self.ledger.entries.get(shard.shard.key)
        if former is None or former.request.fingerprint != shard.fingerprint:
            return first
        request = self._resume(shard, former) if former.state in terminal_states else former.request
        n_records = f"{request.n_records:,} records"
        self.context.log.info(f"{request.shard}: attempt {request.attempt}, {n_records}; was {former.state}")
        return dataclasses.replace(
            request,
            run_id=first.run_id,
            backfill_id=first.backfill_id,
            raw_revision=first.raw_revision,
            configuration=first.configuration,
            last_attempt=request.attempt + self.workload.spec.max_attempts - 1,
        )

    def _first_request(self, shard: ShardManifest) -> Request:
        return Request(
            pipeline=self.workload.spec.name,
            shard=shard.shard.key,
            fingerprint=shard.fingerprint,
            attempt=1,
            prompts=shard.prompts,
            n_records=shard.n_records,
            inference_mode=self._mode_of(shard),
            run_id=self.context.run.run_id,
            backfill_id=self.context.run.tags.get(BACKFILL_TAG),
            raw_revision=shard.raw_revision,
            blocked_by=int(shard.blocked_by, 16),
            last_attempt=self.workload.spec.max_attempts,
            configuration=json.dumps(shard.configuration) if shard.configuration else "",
            folder=shard.folder,
        )

    def _resume(self, shard: ShardManifest, former: Entry) -> Request:
        """The request for a shard that was requested before with the same prompts."""
        request, arn = former.request, former.job_arn or ""
        if not arn and request.inference_mode is InferenceMode.BATCH:
            # Where it was refused it need not go again.
            return dataclasses.replace(request, where="") if former.state is RequestState.FAILED else request
        if arn:
            self.regions.fetch(arn, job_folder(shard, request.attempt, arn), request.prompts)
        return ShardAttempts(self.workload, self.regions.store, shard).resume(request, arn)

    def _mode_of(self, shard: ShardManifest) -> InferenceMode:
        mode = mode_for(self.workload, shard.n_records)
        if mode is None:
            raise TooFewRecords(
                f"shard {shard.shard.key} has {shard.n_records} records, but Bedrock fails a job with fewer than "
                f"{self.workload.spec.limits.min_records_per_job}; set `on_small: on_demand` to send them one by one"
            )
        return mode

    def _is_answered(self, request: Request) -> bool:
        """Whether the same content was answered before: it is read again, and not paid again."""
        former = self.ledger.entries.get(request.shard)
        if former is None or former.state is not RequestState.ANSWERED:
            return False
        return (former.request.fingerprint, former.request.attempt) == (request.fingerprint, request.attempt)

    def _require_fresh(self, raw: RawManifest | None, shards: Sequence[ShardManifest]) -> None:
        cure = f"materialize {self.workload.spec.name}/prompt_shards for them first"
        old = [shard.shard.key for shard in shards if raw and shard.raw_revision != raw.revision]
        if old:
            raise StaleShard(
                f"the prompts of {counted(len(old), 'shard')} ({', '.join(old[:3])}) were made from an earlier "
                f"dataset, so the answers could not be joined; {cure}"
            )
        changes = [(shard.shard.key, self.workload.changed_since(shard.configuration)) for shard in shards]
        if others := [(key, parts) for key, parts in changes if parts]:
            raise StaleShard(
                f"the prompts of {counted(len(others), 'shard')} ({', '.join(key for key, _ in others[:3])}) were made "
                f"with another {' and '.join(others[0][1])}; {cure}, or undo the change"
            )


def stage(regions: Regions, requests: Sequence[Request]) -> None:
    """Copy prompts to each Region with a bucket of its own; a later attempt's file may have been written again."""
    regions.stage([request.prompts for request in requests if request.attempt == 1], rewritten=False)
    regions.stage([request.prompts for request in requests if request.attempt > 1], rewritten=True)
