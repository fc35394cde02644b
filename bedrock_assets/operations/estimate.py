"""Estimate a pipeline before anything is sent: records, jobs, tokens, cost, hours."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import polars as pl

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.aws.model_invocation_jobs import LOOK_BACK, Jobs
from bedrock_assets.dataset.ingest import count_blocks, read_rows
from bedrock_assets.dataset.plan import Block, plan_with_canary
from bedrock_assets.jobs.attempts import mode_for
from bedrock_assets.jobs.budget import estimator_of
from bedrock_assets.jobs.count_tokens import MAX_COUNTED, CountingEstimator, TokenCounter, spread
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_CODE, KEY, LINE
from bedrock_assets.prices import price_of
from bedrock_assets.shards.answer_cache import PromptIndex, read_prompt_index
from bedrock_assets.storage.keys import raw_manifest_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

_LOOKED_AT = 256
"""Records of each part of the data of which some are kept to be counted."""


@dataclass(frozen=True)
class PipelineEstimate:
    """Estimate of launching all shards of a pipeline."""

    pipeline: str
    model: str
    n_rows: int
    n_rejected: int
    """Rows without a record."""
    n_reused: int
    """Rows whose prompt has an answer already, or is also another row's."""
    n_records: int
    """Records to send."""
    n_bytes: int
    n_jobs: int
    n_waves: int
    """Jobs divided by `limits.max_jobs`, the number that runs at once, rounded up."""
    inference_mode: str
    """`batch`, or `on_demand` if there are too few records for a job."""
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None if the price is unknown."""
    on_demand_usd: float | None
    """Cost of the same records on demand."""
    basis: str
    """How tokens were estimated."""
    price_source: str | None
    job_hours: float | None
    """Mean duration of this pipeline's recently completed jobs; None if there are none."""
    hours: float | None
    """Time until the last answer, at that pace."""


def estimate_pipeline(
    pipeline: Pipeline, store: Store, bedrock: Jobs | None, counter: TokenCounter | None = None
) -> PipelineEstimate:
    """
    Estimate a pipeline in one pass over its source. Nothing is written.

    Args:
        bedrock: Lists earlier jobs, to estimate hours; None leaves the hours out.
        counter: Asks the model to count the tokens of a few records; None estimates them.

    Raises:
        ConfigError: The source cannot be read.
        DataError: The rows cannot be cut into shards.
    """
    spec, counted = pipeline.spec, _count(pipeline, store)
    shards = plan_with_canary(counted.blocks, spec.all_limits, spec.on_small, spec.canary)
    n_jobs = min(len(shards), -(-counted.n_new // max(1, spec.limits.min_records_per_job))) if counted.n_new else 0
    inference_mode = mode_for(pipeline.workload, counted.n_new) or InferenceMode.BATCH
    raw = store.read_model(raw_manifest_key(spec.name), RawManifest)
    estimator = estimator_of(store, pipeline.workload, [shard.key for shard in (raw.shards if raw else shards)])
    if counter and counted.sample:
        estimator = CountingEstimator(estimator, counter.count(spread(counted.sample, MAX_COUNTED)))
    price, tokens = price_of(spec), estimator.tokens(counted.n_new, counted.n_bytes, inference_mode)
    n_waves = -(-n_jobs // spec.all_limits.max_jobs)
    job_hours = job_hours_of(spec.name, bedrock)
    return PipelineEstimate(
        pipeline=spec.name,
        model=spec.model,
        n_rows=counted.n_rows,
        n_rejected=counted.n_rejected,
        n_reused=counted.n_rows - counted.n_rejected - counted.n_new,
        n_records=counted.n_new,
        n_bytes=counted.n_bytes,
        n_jobs=0 if inference_mode is InferenceMode.ON_DEMAND else n_jobs,
        n_waves=0 if inference_mode is InferenceMode.ON_DEMAND else n_waves,
        inference_mode=inference_mode.value,
        input_tokens=tokens[inference_mode].n_input or 0,
        output_tokens=tokens[inference_mode].n_output or 0,
        cost_usd=price.most_usd(tokens) if price else None,
        on_demand_usd=price.most_usd({InferenceMode.ON_DEMAND: tokens[inference_mode]}) if price else None,
        basis=estimator.basis,
        price_source=price.source if price else None,
        job_hours=job_hours,
        hours=None if job_hours is None else job_hours * n_waves,
    )


@dataclass
class _Counted:
    """Totals of one pass over the rows."""

    blocks: list[Block]
    n_rows: int = 0
    n_rejected: int = 0
    n_new: int = 0
    n_bytes: int = 0
    """Size of the records to send."""
    sample: list[str] = field(default_factory=list[str])
    """Some of the records to send."""

    def keep(self, lines: pl.Series) -> None:
        """Keep some of these records: as many of each part of the data, whatever its size."""
        self.sample += spread(lines.head(_LOOKED_AT).to_list(), MAX_COUNTED)
        if len(self.sample) > 2 * MAX_COUNTED:
            self.sample = self.sample[::2]


def _count(pipeline: Pipeline, store: Store) -> _Counted:
    counted, own = _Counted([]), PromptIndex()
    known = read_prompt_index(store, pipeline, prune=False) if pipeline.spec.reuse_answers_days else PromptIndex()
    for rows in map_ordered(partial(pipeline.records.make, keyed=True), read_rows(pipeline, store)):
        counted.blocks += count_blocks(rows)
        counted.n_rows += len(rows)
        counted.n_rejected += rows[ERROR_CODE].count()
        sendable = rows.drop_nulls(LINE)
        fresh = sendable[KEY].is_first_distinct() & known.find(sendable[KEY]).is_null()
        new = sendable.filter(fresh & own.find(sendable[KEY]).is_null())
        own.add(new[KEY], "")
        counted.keep(new[LINE])
        counted.n_new += len(new)
        counted.n_bytes += int(new[LINE].str.len_bytes().sum()) + len(new)
    return counted


def job_hours_of(name: str, bedrock: Jobs | None) -> float | None:
    """Mean hours from submission to end, of the recently completed jobs of a pipeline or an inbox."""
    if bedrock is None:
        return None
    jobs = bedrock.list(since=datetime.now(UTC) - LOOK_BACK, name_contains=name_prefix(name))
    hours: Sequence[float] = [
        (job.ended_at - job.submitted_at).total_seconds() / 3600
        for job in jobs
        if job.status is JobStatus.COMPLETED and job.ended_at
    ]
    return sum(hours) / len(hours) if hours else None
