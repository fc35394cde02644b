"""A shard's outputs become one row per input row, failures included."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from pydantic import ValidationError

from bedrock_assets.columns import column
from bedrock_assets.config.target import model_of
from bedrock_assets.errors import JobFailed, panics_are_errors
from bedrock_assets.outputs.buffers import SeriesBuffer, VectorBuffer, buffer_for
from bedrock_assets.outputs.error_groups import group_errors
from bedrock_assets.outputs.job_manifest import AttemptRead, JobManifest, paid_tokens
from bedrock_assets.outputs.outcomes import SCHEMA_CODE, answer_columns, apply_schema, repairable
from bedrock_assets.outputs.parse import ANSWERS, AT, CACHED, STATUSES, Answers, one_outcome_per_row
from bedrock_assets.outputs.thoughts import began
from bedrock_assets.pipeline.ids import GIVEN_ID, PADDING_ID, wire_id
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.answer_cache import ANSWER_KEY, answers_key, read_answers, write_answers
from bedrock_assets.storage.keys import job_folder, outputs_key
from bedrock_assets.storage.manifests import InferenceMode, OutputFacts, ReusedFrom, ShardManifest, TokenCount
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import FACTS, Store

MANIFEST = "manifest.json.out"
KEPT_COLUMNS = ("stop_reason", "input_tokens", "output_tokens")
"""Columns kept with an answer."""
_PAID = [mode.value for mode in InferenceMode]


@dataclass(frozen=True)
class Collected:
    """One row per row of the shard, and what is wrong with the outputs."""

    rows: pl.DataFrame
    """record_id String, given_id String if the shard has it, status Enum, the answer, the fields of a schema,
    stop_reason String, input_tokens and output_tokens Int64, error_code String, error_message String, model_id String,
    answer_source String, job_arn String, attempt Int64."""
    unanswered: pl.Series
    """Record ids, String, of the rows that another attempt may answer: missing ones, errors that may pass, answers that
    are to be repaired."""
    n_unreadable: int
    n_unknown: int
    """Answers with an id that is not the shard's."""
    manifest: JobManifest | None
    """Of the last attempt's job."""
    tokens: Mapping[str, TokenCount] = field(default_factory=dict[str, TokenCount])
    """What was paid for, as `prices.Tokens`."""
    difference: str = ""
    """How the counts of the last job's manifest differ from ours; empty if they do not."""

    def count(self, status: str) -> int:
        """Rows with that status."""
        return int((self.rows["status"] == status).sum())

    @property
    def frequent_errors(self) -> pl.DataFrame:
        """The five most frequent errors: error_code, error_message (of the example), n_rows, example (a record id)."""
        groups = group_errors(self.rows.filter(pl.col("status") != "ok")).head(5)
        return groups.select("error_code", "error_message", "n_rows", "example")

    @property
    def violations(self) -> pl.DataFrame:
        """Unanswered rows whose answer broke the schema: record_id, error_message, both String."""
        unanswered = pl.col("record_id").is_in(self.unanswered.implode())
        broken = self.rows.filter(pl.col("error_code").eq_missing(SCHEMA_CODE) & unanswered)
        return broken.select("record_id", "error_message")

    def require_success(self, subject: str, message: str | None) -> None:
        """
        Args:
            subject: What has ended, and how.
            message: Bedrock's own, if it gave one.

        Raises:
            JobFailed: Records were sent and none was answered; the text has Bedrock's message, or the most frequent
                error.
        """
        if self.count("ok") or self.rows["attempt"].null_count() == len(self.rows):
            return
        reason = message or ""
        if not reason and len(self.frequent_errors):
            top = self.frequent_errors.row(0, named=True)
            reason = f"{top['n_rows']} records failed with {top['error_code']}: {top['error_message']}"
        raise JobFailed(f"{subject} without a single answer: {reason or 'Bedrock gave no reason'}")


@dataclass(frozen=True)
class Collector:
    """Reads the outputs of one shard's attempts, and publishes its answers."""

    workload: Workload
    store: Store
    shard: ShardManifest

    @panics_are_errors("the answers cannot be read")
    def collect(self, jobs: Sequence[str], ended: str, where: Sequence[str] = ()) -> Collected:
        """
        Read the outputs of all attempts; of a row answered twice the latest success counts.

        Args:
            jobs: ARN of the job of each attempt so far, the first first; empty for an attempt on demand.
            ended: How the last attempt ended, for the message of a row without an answer.
            where: Name of the target of each attempt; empty for the pipeline's first.

        Raises:
            StoreError: The store cannot be read.
        """
        workload, fates = self.workload, self.store.read_parquet(self.shard.rows)
        outcomes: list[pl.DataFrame] = []
        n_unreadable, attempts, buffer = 0, dict[int, AttemptRead](), buffer_for(workload.dimensions)
        for attempt, arn in reversed(list(enumerate(jobs, 1))):
            answers, manifest = self._read_attempt(attempt, arn, buffer)
            n_unreadable += answers.n_unreadable
            index = answers.index()
            attempts[attempt] = AttemptRead(
                answers.n_lines, answers.n_answered, manifest, _share(index, fates, manifest)
            )
            outcomes.append(index.with_columns(attempt=pl.lit(attempt, pl.Int64)))
        outcomes += self._reused(fates, buffer, outcomes[0].schema)
        rows, n_unknown = one_outcome_per_row(fates, repairable(pl.concat(outcomes), workload.n_repairs), ended)
        # A copy's answer is that of the row it is a copy of, which alone is sent.
        unanswered = rows.filter(pl.col("retryable") & pl.col("copy_of").is_null())["record_id"]
        models = [model_of(name) or workload.spec.model for name in where or ("",) * len(jobs)]
        rows = _with_origin(rows, jobs, models)
        if len({target.model for target in workload.spec.targets}) == 1:
            rows = rows.with_columns(pl.col("model_id").fill_null(workload.spec.model))
        rows = rows.with_columns(buffer.gather(rows[AT]).alias(self._answer))
        ids = [name for name in ("record_id", GIVEN_ID) if name in fates.columns]
        columns = answer_columns(workload.answer_columns, workload.schema)
        last = attempts[len(jobs)]
        tokens = paid_tokens(rows, workload.spec.model, attempts)
        rows = rows.select(*ids, *columns)
        return Collected(rows, unanswered, n_unreadable, n_unknown, last.manifest, tokens, last.difference)

    def publish(self, collected: Collected) -> str:
        """
        Write `outputs/{shard}.parquet`, with what it belongs to in the file's own metadata, and keep paid answers.

        Returns:
            Version of the answers: a hash of the shard's content, the jobs that answered, and the counts.
        """
        workload, shard = self.workload, self.shard
        self._keep(collected.rows)
        given = {GIVEN_ID: GIVEN_ID} if GIVEN_ID in collected.rows.columns else {}
        names = {"record_id": workload.record_id, **given, **workload.answer_columns}
        rows = collected.rows.select(column(own).alias(name) for own, name in names.items())
        attempts = collected.rows.select("attempt", "job_arn").unique().drop_nulls("attempt").sort("attempt").rows()
        identity = [shard.fingerprint, attempts, [collected.count(status) for status in STATUSES]]
        version = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        facts = OutputFacts(
            fingerprint=shard.fingerprint,
            version=version,
            tokens=dict(collected.tokens),
            n_records=int(collected.rows["answer_source"].is_in(_PAID).sum()),
            n_bytes=shard.n_bytes,
        )
        with self.store.writer(outputs_key(workload.spec.name, shard.shard.key, shard.folder)) as file:
            write_frames([rows], file, {FACTS: facts.model_dump_json()})
        return version

    @property
    def _answer(self) -> str:
        """Name of the column that holds the answer."""
        return ANSWERS[self.workload.family.kind]

    def _reused(
        self, fates: pl.DataFrame, buffer: SeriesBuffer | VectorBuffer, schema: pl.Schema
    ) -> list[pl.DataFrame]:
        """The answers that were paid for elsewhere, as outcomes of no attempt."""
        reused = fates.filter(pl.col("elsewhere").is_not_null())
        ids = reused.select("key", "elsewhere", wire_id=wire_id(pl.col("record_id")))
        constants = {
            "status": pl.lit("ok").cast(schema["status"]),
            **{name: pl.lit(None, schema[name]) for name in (*CACHED, "error_code", "error_message", "attempt")},
            "retryable": pl.lit(value=False),
        }
        outcomes: list[pl.DataFrame] = []
        for answers in read_answers(self.store, ids):
            usable = answers.with_columns(buffer.cast(column(self._answer))).drop_nulls(self._answer)
            if self.workload.family.kind == "text":
                usable = usable.filter(began(usable, self.workload.family))
            at = pl.int_range(buffer.n, buffer.n + len(usable), dtype=pl.Int64, eager=True).alias(AT)
            rows = apply_schema(usable.with_columns(**constants), self.workload.family, self.workload.schema)
            outcomes.append(rows.with_columns(at).select(schema.names()))
            buffer.add(usable[self._answer])
        return outcomes

    def _keep(self, rows: pl.DataFrame) -> None:
        """Keep the answers that were paid for this shard for rows with the same prompts, now and later."""
        if not self.workload.keeps_answers:
            return
        is_paid = pl.col("answer_source").is_in(_PAID) & (pl.col("status") == "ok")
        keys = self.store.read_parquet(self.shard.rows).select("record_id", ANSWER_KEY)
        answers = rows.filter(is_paid).join(keys, on="record_id", how="left", maintain_order="left")
        key = answers_key(self.workload.spec.name, self.shard.shard.key, self.shard.fingerprint)
        write_answers(self.store, key, answers, [self._answer, *KEPT_COLUMNS])

    def _read_attempt(
        self, attempt: int, arn: str, buffer: SeriesBuffer | VectorBuffer
    ) -> tuple[Answers, JobManifest | None]:
        """The answers of one attempt, and the job's own manifest where there is a readable one."""
        answers, manifest = Answers(self.workload.family, self.workload.schema, buffer), None
        for file in self.store.files(job_folder(self.shard, attempt, arn)):
            if file.key.endswith(".jsonl.out"):
                answers.add_all(self.store.chunks(file.key))
            elif file.key.endswith(f"/{MANIFEST}"):
                try:
                    manifest = JobManifest.model_validate_json(self.store.get(file.key))
                except ValidationError:
                    continue
        return answers, manifest


def _share(index: pl.DataFrame, fates: pl.DataFrame, manifest: JobManifest | None) -> float:
    """
    The share of a job's records that are the shard's own, 0 to 1; 1 where it does not matter.

    Args:
        index: As `Answers.index` returns it.
        fates: record_id String, of the shard's rows.
    """
    if manifest is None or not index["input_tokens"].has_nulls():
        return 1.0
    own = fates.select(wire_id=wire_id(pl.col("record_id"))).to_series()
    is_own = pl.col("wire_id").is_in(own.implode()) | pl.col("wire_id").str.contains(PADDING_ID)
    return float(index.select(is_own.mean()).item() or 0)


def _with_origin(rows: pl.DataFrame, jobs: Sequence[str], models: Sequence[str]) -> pl.DataFrame:
    """
    Add where each row's answer is from: `attempt` Int64, `answer_source`, `job_arn` and `model_id` String; null for a
    row that was never sent.
    """
    is_reused = pl.col("attempt").is_null() & (pl.col("status") == "ok")
    # A row without an answer was the last attempt's to answer.
    attempt = pl.when(pl.col("sent") & ~is_reused).then(pl.col("attempt").fill_null(len(jobs)))
    modes = [InferenceMode.BATCH.value if arn else InferenceMode.ON_DEMAND.value for arn in jobs]
    schema = {"attempt": pl.Int64, "answer_source": pl.String, "job_arn": pl.String, "model_id": pl.String}
    columns = [list(range(1, len(jobs) + 1)), modes, [arn or None for arn in jobs], models]
    attempts = pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=schema)
    rows = rows.with_columns(attempt=attempt).join(attempts, on="attempt", how="left", maintain_order="left")
    is_duplicate = pl.col("sent") & pl.col("copy_of").is_not_null()
    source = pl.when(is_duplicate).then(pl.lit(ReusedFrom.DUPLICATE.value))
    return rows.with_columns(
        answer_source=source.when(is_reused).then(pl.lit(ReusedFrom.CACHE.value)).otherwise("answer_source")
    )
