"""A shard's outputs become one row per input row, failures included."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from pydantic import ValidationError

from bedrock_assets.config.target import model_of
from bedrock_assets.errors import JobFailed
from bedrock_assets.outputs.buffers import SeriesBuffer, VectorBuffer, buffer_for
from bedrock_assets.outputs.outcomes import SCHEMA_CODE, answer_columns, apply_schema, repairable
from bedrock_assets.outputs.parse import ANSWERS, AT, STATUSES, Answers, JobManifest, one_outcome_per_row
from bedrock_assets.pipeline.ids import wire_id
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import tokens_of
from bedrock_assets.shards.answer_cache import ANSWER_KEY, answers_key, read_answers, write_answers
from bedrock_assets.storage.keys import job_folder, outputs_key
from bedrock_assets.storage.manifests import InferenceMode, OutputFacts, ReusedFrom, ShardManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import FACTS, Store

MANIFEST = "manifest.json.out"
COUNTED = ("stop_reason", "input_tokens", "output_tokens")
"""What is kept of an answer beside itself."""


@dataclass(frozen=True)
class Collected:
    """One row per row of the shard, and what was noticed on the way."""

    rows: pl.DataFrame
    """record_id String, status Enum, the answer, the fields of a schema, stop_reason String, input_tokens and
    output_tokens Int64, error_code String, error_message String, model_id String, answer_source String, job_arn String,
    attempt Int64."""
    unanswered: pl.Series
    """Record ids, String, of the rows that another attempt may answer: missing ones, errors that may pass, answers that
    are to be repaired."""
    n_unreadable: int
    n_unknown: int
    """Answers with an id that is not the shard's."""
    manifest: JobManifest | None

    def count(self, status: str) -> int:
        """Rows with that status."""
        return int((self.rows["status"] == status).sum())

    @property
    def frequent_errors(self) -> pl.DataFrame:
        """The five most frequent errors: error_code, error_message, n_rows, example (a record id)."""
        return (
            self.rows.filter(pl.col("status") != "ok")
            .group_by("error_code", "error_message", maintain_order=True)
            .agg(n_rows=pl.len(), example=pl.col("record_id").first())
            .sort("n_rows", descending=True, maintain_order=True)
            .head(5)
        )


def collect(
    pipeline: Workload, store: Store, shard: ShardManifest, jobs: Sequence[str], ended: str, targets: Sequence[str] = ()
) -> Collected:
    """
    Read the outputs of all attempts of a shard; of a row answered twice the latest success counts.

    Args:
        jobs: ARN of the job of each attempt so far, the first first; empty for one that was answered on demand.
        ended: How the last attempt ended, for the message of a row without an answer.
        targets: Name of the target of each attempt, where it is not the pipeline's first.

    Raises:
        StoreError: The store cannot be read.
    """
    fates = store.read_parquet(shard.rows)
    outcomes: list[pl.DataFrame] = []
    n_unreadable, manifest, held = 0, None, buffer_for(pipeline.dimensions)
    for attempt, arn in reversed(list(enumerate(jobs, 1))):
        answers, manifest_of = _read_attempt(pipeline, store, shard, attempt, arn, held)
        n_unreadable += answers.n_unreadable
        manifest = manifest_of if attempt == len(jobs) else manifest
        outcomes.append(answers.index().with_columns(attempt=pl.lit(attempt, pl.Int64)))
    outcomes += _reused(pipeline, store, fates, held, outcomes[0].schema)
    settled, n_unknown = one_outcome_per_row(fates, repairable(pl.concat(outcomes), pipeline.n_repairs), ended)
    rows = _with_origin(settled, jobs, [model_of(name) or pipeline.spec.model for name in targets or ("",) * len(jobs)])
    if len({target.model for target in pipeline.spec.targets}) == 1:
        rows = rows.with_columns(pl.col("model_id").fill_null(pipeline.spec.model))
    # A copy's answer is that of the row it is a copy of, which alone is sent.
    unanswered = settled.filter(pl.col("retryable") & pl.col("copy_of").is_null())["record_id"]
    rows = rows.with_columns(held.take(rows[AT]).alias(ANSWERS[pipeline.family.kind]))
    columns = answer_columns(pipeline.answer_columns, pipeline.schema)
    return Collected(rows.select("record_id", *columns), unanswered, n_unreadable, n_unknown, manifest)


def violations(rows: pl.DataFrame, wanted: pl.Series) -> pl.DataFrame:
    """Of the *wanted* rows of `Collected.rows`, those that broke the schema: record_id, error_message."""
    broken = rows.filter(pl.col("error_code").eq_missing(SCHEMA_CODE) & pl.col("record_id").is_in(wanted.implode()))
    return broken.select("record_id", "error_message")


def publish(store: Store, pipeline: Workload, shard: ShardManifest, collected: Collected) -> str:
    """
    Write `outputs/{shard}.parquet`, with what it belongs to in the file's own metadata, and keep what was paid for.

    Returns:
        Version of the answers: a hash of the shard's content, the jobs that answered, and the counts.
    """
    _keep(store, pipeline, shard, collected.rows)
    names = {"record_id": pipeline.record_id, **pipeline.answer_columns}
    rows = collected.rows.select(pl.col(own).alias(name) for own, name in names.items())
    attempts = collected.rows.select("attempt", "job_arn").unique().drop_nulls("attempt").sort("attempt").rows()
    identity = [shard.fingerprint, attempts, [collected.count(status) for status in STATUSES]]
    version = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    tokens = tokens_of(collected.rows, pipeline.spec.model)
    facts = OutputFacts(
        fingerprint=shard.fingerprint,
        version=version,
        tokens=tokens,
        n_records=int(collected.rows["answer_source"].is_in([*InferenceMode]).sum()),
        n_bytes=shard.n_bytes,
    )
    with store.writer(outputs_key(pipeline.spec.name, shard.shard.key, shard.folder)) as file:
        write_frames([rows], file, {FACTS: facts.model_dump_json()})
    return version


def require_success(collected: Collected, subject: str, message: str | None) -> None:
    """
    Args:
        subject: What has ended, and how.
        message: Bedrock's own, if it gave one.

    Raises:
        JobFailed: Records were sent and not one was answered; the text carries Bedrock's message, or the most
            frequent error.
    """
    if collected.count("ok") or collected.rows["attempt"].null_count() == len(collected.rows):
        return
    reason = message or ""
    if not reason and len(collected.frequent_errors):
        top = collected.frequent_errors.row(0, named=True)
        reason = f"{top['n_rows']} records failed with {top['error_code']}: {top['error_message']}"
    raise JobFailed(f"{subject} without one answer: {reason or 'no reason was given'}")


def _reused(
    pipeline: Workload, store: Store, fates: pl.DataFrame, held: SeriesBuffer | VectorBuffer, schema: pl.Schema
) -> list[pl.DataFrame]:
    """The answers that were paid for elsewhere, as outcomes of no attempt."""
    wanted = fates.filter(pl.col("elsewhere").is_not_null())
    ids = wanted.select("key", "elsewhere", wire_id=wire_id(pl.col("record_id")))
    as_outcomes = {
        "status": pl.lit("ok").cast(schema["status"]),
        **{name: pl.lit(None, schema[name]) for name in ("error_code", "error_message", "attempt")},
        "retryable": pl.lit(value=False),
    }
    answer, outcomes = ANSWERS[pipeline.family.kind], list[pl.DataFrame]()
    for found in read_answers(store, ids):
        usable = found.with_columns(held.fit(pl.col(answer))).drop_nulls(answer)
        place = pl.int_range(held.n, held.n + len(usable), dtype=pl.Int64, eager=True).alias(AT)
        judged = apply_schema(usable.with_columns(**as_outcomes), pipeline.family, pipeline.schema)
        outcomes.append(judged.with_columns(place).select(schema.names()))
        held.add(usable[answer])
    return outcomes


def _with_origin(settled: pl.DataFrame, jobs: Sequence[str], models: Sequence[str]) -> pl.DataFrame:
    """
    Add where each row's answer is from: `attempt` Int64, `answer_source`, `job_arn` and `model_id` String; null for a
    row that was never sent.
    """
    reused = pl.col("attempt").is_null() & (pl.col("status") == "ok")
    # A row without an answer was the last attempt's to answer.
    attempt = pl.when(pl.col("sent") & ~reused).then(pl.col("attempt").fill_null(len(jobs)))
    lanes = [InferenceMode.BATCH.value if arn else InferenceMode.ON_DEMAND.value for arn in jobs]
    schema = {"attempt": pl.Int64, "answer_source": pl.String, "job_arn": pl.String, "model_id": pl.String}
    columns = [list(range(1, len(jobs) + 1)), lanes, [arn or None for arn in jobs], models]
    attempts = pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=schema)
    rows = settled.with_columns(attempt=attempt).join(attempts, on="attempt", how="left", maintain_order="left")
    return rows.with_columns(
        answer_source=pl.when(pl.col("sent") & pl.col("copy_of").is_not_null())
        .then(pl.lit(ReusedFrom.DUPLICATE.value))
        .otherwise(pl.when(reused).then(pl.lit(ReusedFrom.CACHE.value)).otherwise("answer_source"))
    )


def _keep(store: Store, pipeline: Workload, shard: ShardManifest, rows: pl.DataFrame) -> None:
    """Keep the answers that were paid for this shard for rows with the same prompts, now and later."""
    if not pipeline.keeps_answers:
        return
    paid = pl.col("answer_source").is_in([InferenceMode.BATCH.value, InferenceMode.ON_DEMAND.value]) & (
        pl.col("status") == "ok"
    )
    keys = store.read_parquet(shard.rows).select("record_id", ANSWER_KEY)
    answers = rows.filter(paid).join(keys, on="record_id", how="left", maintain_order="left")
    columns = [ANSWERS[pipeline.family.kind], *COUNTED]
    write_answers(store, answers_key(pipeline.spec.name, shard.shard.key, shard.fingerprint), answers, columns)


def _read_attempt(
    pipeline: Workload, store: Store, shard: ShardManifest, attempt: int, arn: str, held: SeriesBuffer | VectorBuffer
) -> tuple[Answers, JobManifest | None]:
    """The answers of one attempt, and the job's own manifest where there is a readable one."""
    answers, manifest = Answers(pipeline.family, pipeline.schema, held), None
    for file in store.files(job_folder(shard, attempt, arn)):
        if file.key.endswith(".jsonl.out"):
            answers.add_all(store.chunks(file.key))
        elif file.key.endswith(f"/{MANIFEST}"):
            try:
                manifest = JobManifest.model_validate_json(store.get(file.key))
            except ValidationError:
                continue
    return answers, manifest
