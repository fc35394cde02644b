"""A shard's outputs become one row per input row; what is left unanswered becomes the next attempt's records."""

import hashlib
import io
import json
from dataclasses import dataclass

import polars as pl
from pydantic import ValidationError

from bedrock_assets.campaign import Job
from bedrock_assets.errors import JobFailed, TooFewRecords
from bedrock_assets.ids import PADDING_ID, wire_id
from bedrock_assets.outputs import STATUSES, Answers, JobManifest, settle
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.records import ShardManifest, attempt_folder, attempt_input_key, outputs_key
from bedrock_assets.shards import RecordFile, padded
from bedrock_assets.store import FACTS, Store

MANIFEST = "manifest.json.out"


@dataclass(frozen=True)
class Collected:
    """One row per row of the shard, and what was noticed on the way."""

    rows: pl.DataFrame
    """record_id String, status Enum, the answer, stop_reason String, input_tokens and output_tokens Int64,
    error_code String, error_message String, model_id String, job_arn String, attempt Int64."""
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


def collect(pipeline: Pipeline, store: Store, shard: ShardManifest, job: Job, attempt: int) -> Collected:
    """
    Read the outputs of all attempts of a shard up to this one; of a row answered twice the latest success counts.

    Args:
        job: The job of this *attempt*, ended.

    Raises:
        StoreError: The store cannot be read.
    """
    fates = store.scan_parquet([shard.rows]).collect()
    outcomes, n_unreadable, manifest = [], 0, None
    for number in range(attempt, 0, -1):
        answers, job_id, manifest_of = _read_attempt(pipeline, store, shard, number)
        n_unreadable += answers.n_unreadable
        manifest = manifest_of if number == attempt else manifest
        arn = job.arn.removesuffix(job.id) + job_id if job_id else None
        outcomes.append(
            answers.outcomes().with_columns(job_arn=pl.lit(arn, pl.String), attempt=pl.lit(number, pl.Int64))
        )
    rows, n_unknown = settle(fates, pl.concat(outcomes), f"job {job.id} ended as {job.status}")
    rows = rows.with_columns(
        model_id=pl.lit(pipeline.spec.model),
        job_arn=pl.when(pl.col("sent")).then(pl.col("job_arn").fill_null(job.arn)),
        attempt=pl.when(pl.col("sent")).then(pl.col("attempt").fill_null(attempt)),
    ).select("record_id", *pipeline.answer_columns)
    return Collected(rows, n_unreadable, n_unknown, manifest)


def publish(store: Store, pipeline: Pipeline, shard: ShardManifest, collected: Collected) -> str:
    """
    Write `outputs/{shard}.parquet`, with what it belongs to in the file's own metadata.

    Returns:
        Version of the answers: a hash of the shard's content, the jobs that answered, and the counts.
    """
    names = {"record_id": pipeline.record_id, **pipeline.answer_columns}
    rows = collected.rows.select(pl.col(own).alias(name) for own, name in names.items())
    jobs = collected.rows["job_arn"].unique().drop_nulls().sort().to_list()
    identity = [shard.fingerprint, jobs, [collected.count(status) for status in STATUSES]]
    version = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    facts = {"fingerprint": shard.fingerprint, "raw_revision": shard.raw_revision, "version": version}
    with store.writer(outputs_key(pipeline.spec.name, shard.shard.key)) as file:
        rows.write_parquet(file, metadata={FACTS: json.dumps(facts)})
    return version


def require_success(collected: Collected, job: Job) -> None:
    """
    Raises:
        JobFailed: Not one row was answered; the message carries Bedrock's own, or the most frequent error.
    """
    if collected.count("ok"):
        return
    reason = job.message or ""
    if not reason and len(collected.frequent_errors):
        top = collected.frequent_errors.row(0, named=True)
        reason = f"{top['n_rows']} records failed with {top['error_code']}: {top['error_message']}"
    raise JobFailed(f"job {job.name} ended as {job.status} without one answer: {reason or 'no reason was given'}")


def can_be_sent(pipeline: Pipeline, n_records: int) -> bool:
    """Whether so many records make a job: enough for Bedrock, or padded."""
    return n_records >= pipeline.spec.limits.min_records_per_job or (n_records > 0 and pipeline.spec.on_small == "pad")


def write_remainder(
    store: Store, pipeline: Pipeline, shard: ShardManifest, attempt: int, done: pl.Series
) -> tuple[str, int]:
    """
    Write the records that the earlier attempts left unanswered.

    Args:
        attempt: The attempt they are for, 2 or more.
        done: Record ids that need not be sent again, String.

    Returns:
        Key of the file and its number of records.

    Raises:
        TooFewRecords: Fewer are left than Bedrock accepts in a job, and `on_small` is `error`.
    """
    spec, minimum = pipeline.spec, pipeline.spec.limits.min_records_per_job
    key = attempt_input_key(spec.name, shard.shard.key, shard.fingerprint, attempt)
    sent = done.to_frame("record_id").select(id=wire_id(pl.col("record_id")))
    spare: list[pl.DataFrame] = []
    with store.writer(key) as file:
        records = RecordFile(file)
        for chunk in store.chunks(shard.prompts):
            lines = _lines(chunk).filter(~pl.col("id").str.contains(PADDING_ID))
            records.write(lines.join(sent, on="id", how="anti", maintain_order="left")["line"])
            spare.append(lines.head(minimum))
        n_left = records.n_records
        if n_left < minimum and spec.on_small == "error":
            raise TooFewRecords(
                f"{n_left} records of shard {shard.shard.key} are unanswered, but Bedrock fails a job with fewer "
                f"than {minimum}; set `on_small: pad` to send them together with copies"
            )
        while records.n_records < minimum:
            copies = pl.concat(spare)["line"].head(minimum - records.n_records)
            records.write(padded(copies, records.n_records))
    return key, records.n_records


def _lines(chunk: bytes) -> pl.DataFrame:
    """Our own JSONL records: `line` and `id`, both String. No control character is raw in JSON, so \\x01 separates."""
    lines = pl.read_csv(io.BytesIO(chunk), has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    return lines.with_columns(id=pl.col("line").str.extract(r'^\{"recordId":"([^"]*)"'))


def _read_attempt(
    pipeline: Pipeline, store: Store, shard: ShardManifest, attempt: int
) -> tuple[Answers, str | None, JobManifest | None]:
    """The answers of one attempt, the id of its job, and the job's own manifest where there is a readable one."""
    folder = attempt_folder(pipeline.spec.name, shard.shard.key, shard.fingerprint, attempt)
    answers, job_id, manifest = Answers(pipeline.family), None, None
    for file in store.files(folder):
        if file.key.endswith(".jsonl.out"):
            job_id = file.key.removeprefix(folder).split("/")[1]
            for chunk in store.chunks(file.key):
                answers.add(chunk)
        elif file.key.endswith(f"/{MANIFEST}"):
            try:
                manifest = JobManifest.model_validate_json(store.get(file.key))
            except ValidationError:
                continue
    return answers, job_id, manifest
