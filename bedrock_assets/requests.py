"""What a launched `batch_outputs` run does: ask for the shards it was launched for, then watch until they are done."""

import dataclasses
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

import dagster as dg
import polars as pl

from bedrock_assets.attempts import following, lane_for
from bedrock_assets.bedrock import Jobs
from bedrock_assets.campaign import Job, JobStatus, Lane, Request, Standing, Unpaid, name_prefix
from bedrock_assets.census import LOOK_BACK
from bedrock_assets.collect import collect, violations
from bedrock_assets.effects import Effect, announced
from bedrock_assets.errors import BedrockUnavailable, StaleShard, TooFewRecords
from bedrock_assets.gauges import Gauges
from bedrock_assets.launches import BACKFILL_TAG
from bedrock_assets.ledger import Entry, Ledger, State
from bedrock_assets.money import estimate
from bedrock_assets.parallel import N_READERS, ordered
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.places import Places
from bedrock_assets.records import RawManifest, ShardManifest, job_folder, raw_manifest_key
from bedrock_assets.shards import current_shard
from bedrock_assets.work import Work

QUIET_POLLS = 8
"""After so many polls without any change the log says something, so that nobody thinks the run hangs."""
OVER = frozenset({State.FAILED, State.WITHDRAWN})
"""A shard in one of these states is asked for anew."""
EXPIRY_WARNING = 0.1
"""Warn of a job that has not started when less than this share of its time is left."""


def ask(context: dg.AssetExecutionContext, pipeline: Work, places: Places, *, retry_errors: bool = False) -> Ledger:
    """
    Record one request for each partition of the run, the sensor does the rest.

    A shard whose last attempt failed is asked for as a new attempt, with the records that are still unanswered; any
    other shard is asked for as it was, so that a job which exists already is adopted and nothing is paid twice.

    Args:
        retry_errors: Ask for answered shards in the same way as for failed ones.

    Raises:
        StaleShard: A shard has no prompts yet, or they were made of an earlier dataset.
        OverBudget: The launch may cost more than `budget_usd`.
        TooFewRecords: A shard has fewer records than Bedrock takes in a job, and `on_small` is `error`.
        ConfigError: The deployment has no place for one of the pipeline's models.
    """
    ledger, store, used = Ledger(pipeline.spec.name), places.store, places.used_by(pipeline.spec.targets)
    ledger.refresh(context.instance)
    keys = list(context.partition_keys)
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    shards = list(ordered(lambda key: current_shard(store, pipeline.spec.name, key), keys, N_READERS))
    _require_fresh(pipeline, raw, shards)
    over = OVER | ({State.ANSWERED} if retry_errors else set[State]())
    requests = [request_for(context, pipeline, places, ledger, shard, over) for shard in shards]
    if isinstance(pipeline, Pipeline):
        done = [_is_answered(ledger, request) for request in requests]
        planned = [shard.key for shard in raw.shards] if raw else keys
        estimated = estimate(pipeline, store, planned, list(zip(requests, shards, done, strict=True)))
        context.log.info(str(estimated))
        requests = list(estimated.requests)
    used.stage([request for request in requests if request.lane is Lane.BATCH])
    for request in requests:
        with announced(Effect.RECORD, State.REQUESTED):
            context.log_event(ledger.record(request, State.REQUESTED))
    context.log.info(f"asked for {len(keys)} shards with {sum(r.n_records for r in requests):,} records")
    return ledger


def _is_answered(ledger: Ledger, request: Request) -> bool:
    """Whether the same was answered before: it is read again, and not paid."""
    former = ledger.entries.get(request.shard)
    same = former and (former.request.fingerprint, former.request.attempt) == (request.fingerprint, request.attempt)
    return bool(same and former and former.state is State.ANSWERED)


def _require_fresh(pipeline: Work, raw: RawManifest | None, shards: Sequence[ShardManifest]) -> None:
    old = [shard.shard.key for shard in shards if raw and shard.raw_revision != raw.revision]
    if old:
        raise StaleShard(
            f"the prompts of {len(old)} shards ({', '.join(old[:3])}) were made of an earlier dataset, so their "
            f"answers could not be joined; materialize {pipeline.spec.name}/prompt_shards for them first"
        )


def request_for(
    context: dg.AssetExecutionContext,
    pipeline: Work,
    places: Places,
    ledger: Ledger,
    shard: ShardManifest,
    over: Set[State] = OVER,
) -> Request:
    """
    What the run asks for a shard; in the states *over* it is a new attempt for what is unanswered.

    Raises:
        TooFewRecords: It has fewer records than Bedrock takes in a job, and `on_small` is `error`.
    """
    first = Request(
        pipeline=pipeline.spec.name,
        shard=shard.shard.key,
        fingerprint=shard.fingerprint,
        attempt=1,
        prompts=shard.prompts,
        n_records=shard.n_records,
        lane=lane_for(pipeline, shard.n_records) or _refuse(shard, pipeline),
        run_id=context.run.run_id,
        backfill_id=context.run.tags.get(BACKFILL_TAG),
        raw_revision=shard.raw_revision,
        waits_for=int(shard.waits_for, 16),
        last_attempt=pipeline.spec.max_attempts,
        folder=shard.folder,
    )
    former = ledger.entries.get(shard.shard.key)
    if former is None or former.request.fingerprint != shard.fingerprint:
        return first
    again = _resumed(pipeline, places, shard, former) if former.state in over else former.request
    context.log.info(f"{again.shard}: attempt {again.attempt}, {again.n_records:,} records; was {former.state}")
    last_attempt = again.attempt + pipeline.spec.max_attempts - 1
    ours = {name: getattr(first, name) for name in ("run_id", "backfill_id", "raw_revision")}
    return dataclasses.replace(again, **ours, last_attempt=last_attempt)


def _resumed(pipeline: Work, places: Places, shard: ShardManifest, former: Entry) -> Request:
    """The request for a shard that was asked for before with the same prompts."""
    request, arn = former.request, former.job_arn or ""
    begun = arn or request.lane is Lane.ON_DEMAND
    if not begun:
        # Where it was refused it need not go again.
        return dataclasses.replace(request, target="") if former.state is State.FAILED else request
    if arn:
        places.fetch(arn, job_folder(shard, request.attempt, arn), request.prompts)
    store = places.store
    rows = collect(pipeline, store, shard, (*request.former_jobs, arn), "").rows
    # A person asks again: what was refused is asked again as well, but for rows that make no record.
    asked = pl.col("attempt").is_not_null() & (pl.col("lane") != Unpaid.DUPLICATE)
    left = rows.filter((pl.col("status") != "ok") & asked)["record_id"]
    return following(pipeline, store, shard, request, arn, left, violations(rows, left)) or request


def _refuse(shard: ShardManifest, pipeline: Work) -> NoReturn:
    raise TooFewRecords(
        f"shard {shard.shard.key} has {shard.n_records} records, but Bedrock fails a job with fewer than "
        f"{pipeline.spec.limits.min_records_per_job}; set `on_small: on_demand` to have them answered one by one"
    )


@dataclass
class Watch:
    """Waits for shards and tells how they get on. It changes nothing: if it dies, the sensor goes on."""

    context: dg.AssetExecutionContext
    pipeline: Work
    ledger: Ledger
    bedrock: Jobs
    poll_s: float
    gauges: Gauges | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    warned: set[str] = field(default_factory=set)

    def until_done(self) -> None:
        """
        Raises:
            dagster.Failure: Shards failed, or were withdrawn; the message lists them.
        """
        keys, told, n_quiet = list(self.context.partition_keys), "", 0
        while True:
            self.ledger.refresh(self.context.instance)
            waiting = [key for key in keys if self.ledger.entries[key].state.is_open]
            line = self._line(keys, waiting)
            n_quiet = n_quiet + 1 if line == told else 0
            if line != told or n_quiet % QUIET_POLLS == 0:
                self.context.log.info(line if line != told else f"{line} (no change; is the sensor running?)")
            told = line
            if self.gauges:
                self.gauges.observe()
            if not waiting:
                break
            time.sleep(self.poll_s)
        self._fail_if_any(keys)

    def _line(self, keys: Sequence[str], waiting: Sequence[str]) -> str:
        """One line of progress: shards done, running and queued, records, and when it may end."""
        entries = [self.ledger.entries[key] for key in keys]
        n_failed = sum(entry.state in (State.FAILED, State.WITHDRAWN) for entry in entries)
        jobs = self._jobs([entry.job_arn for key, entry in zip(keys, entries, strict=True) if key in set(waiting)])
        n_records = sum(entry.request.n_records for entry in entries)
        n_done = sum(entry.request.n_records for entry in entries if not entry.state.is_open)
        n_done += sum(job.n_processed for job in jobs)
        n_running = sum(job.status is JobStatus.IN_PROGRESS for job in jobs)
        self._warn(jobs)
        return (
            f"{len(keys) - len(waiting)} of {len(keys)} shards done ({n_failed} failed), {n_running} running, "
            f"{len(jobs) - n_running} at Bedrock, {len(waiting) - len(jobs)} to be submitted{self._held(waiting)}; "
            f"{n_done:,} of {n_records:,} records{self._pace(n_done, n_records)}"
        )

    def _held(self, waiting: Sequence[str]) -> str:
        entries = [entry for key in waiting if (entry := self.ledger.entries[key]).job_arn is None]
        n_held = sum(self.ledger.standing(entry.request) is Standing.HELD for entry in entries)
        return f" ({n_held} held: the dataset has changed since; materialize prompt_shards)" if n_held else ""

    def _pace(self, n_done: int, n_records: int) -> str:
        minutes = (datetime.now(UTC) - self.started_at).total_seconds() / 60
        if not n_done or n_done >= n_records or minutes < 1:
            return ""
        left = (n_records - n_done) * minutes / n_done
        return f", {n_done / minutes:,.0f} records/min, about {left / 60:.1f} h left"

    def _jobs(self, arns: Sequence[str | None]) -> list[Job]:
        wanted = {arn for arn in arns if arn}
        if not wanted:
            return []
        try:
            jobs = list(
                self.bedrock.list(
                    since=datetime.now(UTC) - LOOK_BACK, name_contains=name_prefix(self.pipeline.spec.name)
                )
            )
        except BedrockUnavailable as error:
            self.context.log.warning(f"no news from Bedrock for now: {error}")
            return []
        return [job for job in jobs if job.arn in wanted]

    def _warn(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            queued = job.status in (JobStatus.SUBMITTED, JobStatus.VALIDATING, JobStatus.SCHEDULED)
            if not queued or job.expires_at is None or job.arn in self.warned:
                continue
            if job.expires_at - datetime.now(UTC) < EXPIRY_WARNING * (job.expires_at - job.submitted_at):
                self.context.log.warning(f"{job.name} has not started and will expire at {job.expires_at:%H:%M} UTC")
                self.warned.add(job.arn)

    def _fail_if_any(self, keys: Sequence[str]) -> None:
        bad = [self.ledger.entries[key] for key in keys if self.ledger.entries[key].state is not State.ANSWERED]
        if bad:
            listed = "\n".join(f"{entry.request.shard}: {entry.message or entry.state}" for entry in bad)
            raise dg.Failure(
                f"{len(bad)} of {len(keys)} shards have no answers:\n{listed}\n"
                "Launch these partitions again for a new attempt; what was answered is kept.",
                allow_retries=False,
            )
