"""Estimate what the files in the folder of an inbox will take, each read and checked as a run that takes it would."""

from dataclasses import dataclass, replace
from functools import reduce

import polars as pl

from bedrock_assets.aws.model_invocation_jobs import Jobs
from bedrock_assets.errors import InvalidInboxFile, StoreError
from bedrock_assets.inbox.check_records import Lines
from bedrock_assets.inbox.files import InboxFile, list_files
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.jobs.attempts import mode_for
from bedrock_assets.jobs.budget import estimator_of
from bedrock_assets.operations.errors import outputs_of
from bedrock_assets.operations.estimate import PipelineEstimate, job_hours_of
from bedrock_assets.prices import Tokens, add, price_of, total_of
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store

_MAX_TOKENS = (
    r'"(?:max_tokens|max_completion_tokens|max_new_tokens|max_gen_len|maxTokens|maxTokenCount|maxNewTokens)"'
    r"\s*:\s*(\d+)"
)
"""How the families' requests limit an answer."""


_NO_TOKENS: Tokens = {}


@dataclass(frozen=True)
class _Counted:
    """One file that would be taken."""

    mode: InferenceMode
    n_records: int
    n_bytes: int
    max_output_tokens: int
    """Sum of what its requests allow."""


def estimate_inbox(inbox: Inbox, store: Store, bedrock: Jobs | None) -> tuple[PipelineEstimate, list[str]]:
    """
    Estimate the files that wait in the folder of an inbox. Nothing is written.

    Args:
        bedrock: Lists earlier jobs, to estimate hours; None leaves the hours out.

    Returns:
        The estimate, and for each file that would be refused its name and why.

    Raises:
        StoreError: The folder cannot be listed.
    """
    spec, counted, refused = inbox.spec, list[_Counted](), list[str]()
    for file in list_files(store, spec.dropped_to):
        try:
            counted.append(_count(inbox, store, file))
        except (InvalidInboxFile, StoreError) as error:
            refused.append(f"{file.shown} would not be taken: {error}")
    n_records, n_bytes = sum(one.n_records for one in counted), sum(one.n_bytes for one in counted)
    most = -(-sum(one.max_output_tokens for one in counted) // max(1, n_records))
    estimator = replace(estimator_of(store, inbox.workload, list(outputs_of(store, spec))), max_tokens=most)
    parts = [estimator.tokens(one.n_records, one.n_bytes, one.mode) for one in counted]
    price, tokens = price_of(spec), reduce(add, parts, _NO_TOKENS)
    total = total_of(tokens)
    n_jobs = sum(one.mode is InferenceMode.BATCH for one in counted)
    n_waves, job_hours = -(-n_jobs // spec.all_limits.max_jobs), job_hours_of(spec.name, bedrock)
    estimate = PipelineEstimate(
        pipeline=spec.name,
        model=spec.model,
        n_rows=n_records,
        n_rejected=0,
        n_reused=0,
        n_records=n_records,
        n_bytes=n_bytes,
        n_jobs=n_jobs,
        n_waves=n_waves,
        inference_mode=(InferenceMode.BATCH if n_jobs or not counted else InferenceMode.ON_DEMAND).value,
        input_tokens=total.n_input or 0,
        output_tokens=total.n_output or 0,
        cost_usd=price.most_usd(tokens) if price else None,
        on_demand_usd=price.most_usd({InferenceMode.ON_DEMAND: total}) if price else None,
        basis=estimator.basis,
        price_source=price.source if price else None,
        job_hours=job_hours,
        hours=None if job_hours is None else job_hours * n_waves,
    )
    return estimate, refused


def _count(inbox: Inbox, store: Store, file: InboxFile) -> _Counted:
    """
    Raises:
        InvalidInboxFile: The file would be refused.
        StoreError: It cannot be read.
    """
    if file.fault:
        raise InvalidInboxFile(file.fault)
    lines, n_bytes, most = Lines(inbox), 0, 0
    for chunk in store.chunks(f"{inbox.spec.dropped_to}/{file.name}"):
        records = lines.read(chunk)
        n_bytes += int(records.str.len_bytes().sum()) + len(records)
        most += int(records.str.extract(_MAX_TOKENS).cast(pl.Int64, strict=False).sum())
    n_records, minimum = len(lines.all_ids()), inbox.spec.limits.min_records_per_job
    mode = mode_for(inbox.workload, n_records)
    if mode is None:
        raise InvalidInboxFile(f"it has {n_records} records, but Bedrock fails a job with fewer than {minimum}")
    n_sent = max(n_records, minimum) if mode is InferenceMode.BATCH else n_records
    return _Counted(mode, n_sent, n_bytes * n_sent // n_records, most * n_sent // n_records)
