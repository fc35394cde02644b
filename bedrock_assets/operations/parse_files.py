"""Read a job's outputs from plain files and join them with the input, without Dagster and without AWS."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from bedrock_assets.errors import ConfigError, StaleShard, StoreError
from bedrock_assets.operations.format_files import by_shard, read_notes
from bedrock_assets.outputs.buffers import buffer_for
from bedrock_assets.outputs.outcomes import answer_columns
from bedrock_assets.outputs.parse import AT, Answers, one_outcome_per_row
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.manifests import Document, InferenceMode, Shard
from bedrock_assets.storage.objects import whole_lines
from bedrock_assets.storage.parquet import write_frames


class ParseNotes(Document):
    """What `parse` found."""

    n_rows: int
    n_ok: int
    n_error: int
    n_missing: int
    n_unreadable: int
    n_unknown: int


def parse_files(pipeline: Pipeline, shards: Path, outputs: Path, out: Path) -> ParseNotes:
    """
    Join the rows with the answers in *outputs* and write them to *out*, one shard in memory at a time.

    Args:
        pipeline: With the source and model that `format_files` was given; its prompt is not used.
        shards: Folder that `format_files` wrote.
        outputs: Folder with the job's `*.jsonl.out`, at any depth; files named after no shard go to all of them.

    Raises:
        ConfigError: A folder holds nothing to read.
        DataError: The source's ids are unusable, or its rows are not those that were formatted.
    """
    plan, n_rows = read_notes(shards), pipeline.source.n_rows()
    if n_rows != plan.n_rows:
        raise StaleShard(
            f"{pipeline.source.describe()} has {n_rows} rows, but `format` was given {plan.n_rows}; name the same "
            "input, or format again"
        )
    found = sorted(outputs.rglob("*.jsonl.out"))
    if not found:
        raise ConfigError(
            f"no *.jsonl.out under {outputs}; name the folder that Bedrock wrote, e.g. with `aws s3 sync`"
        )
    names = {f"{shard.key}.jsonl.out" for shard in plan.shards}
    common = [path for path in found if path.name not in names]
    counts: dict[str, int] = dict.fromkeys(ParseNotes.model_fields, 0)
    unreadable: dict[Path, int] = {}

    def frames() -> Iterator[pl.DataFrame]:
        for shard, pieces in by_shard(pipeline, plan.shards):
            mine = [path for path in found if path.name == f"{shard.key}.jsonl.out"] + common
            rows = pl.concat(pieces)
            yield _settle_shard(pipeline, rows, _fates(pipeline, shards, shard, rows), mine, counts, unreadable)

    with _aside(out) as path:
        write_frames(frames(), path)
    counts["n_unreadable"] = sum(unreadable.values())
    if common and len(plan.shards) > 1:
        counts["n_unknown"] = 0  # each shard saw the others' answers
    return ParseNotes(**counts)


def _settle_shard(
    pipeline: Pipeline,
    rows: pl.DataFrame,
    fates: pl.DataFrame,
    outputs: list[Path],
    counts: dict[str, int],
    unreadable: dict[Path, int],
) -> pl.DataFrame:
    answers = Answers(pipeline.family, pipeline.schema, buffer_for(pipeline.dimensions))
    job_ids = list[str]()
    for path in outputs:
        job_ids.append(path.parent.name)
        n_before = answers.n_unreadable
        with path.open("rb") as file:
            answers.add_all(whole_lines(file))
        unreadable[path] = answers.n_unreadable - n_before
    settled, n_unknown = one_outcome_per_row(fates, answers.index(), "see the job's status")
    answer = settled.with_columns(
        answers.values.take(settled[AT]).alias(answers.answer),
        model_id=pl.lit(pipeline.spec.model),
        answer_source=pl.when("sent").then(pl.lit(InferenceMode.BATCH.value)),
        job_arn=pl.when("sent").then(pl.lit(job_ids[0] if job_ids else None, pl.String)),
        attempt=pl.when("sent").then(pl.lit(1, pl.Int64)),
    )
    for status in ("ok", "error", "missing"):
        counts[f"n_{status}"] += int((answer["status"] == status).sum())
    counts["n_rows"] += len(rows)
    counts["n_unknown"] += n_unknown
    found = answer.select(answer_columns(pipeline.answer_columns, pipeline.schema))
    return rows.hstack(found.rename(pipeline.answer_columns))


def _fates(pipeline: Pipeline, folder: Path, shard: Shard, rows: pl.DataFrame) -> pl.DataFrame:
    none = pl.lit(None, pl.String)
    ids = rows.select(record_id=pipeline.record_id, copy_of=none)
    path = folder / f"{shard.key}.rejected.parquet"
    if not path.exists():
        return ids.with_columns(code=none, message=none)
    rejected = pl.read_parquet(path)
    named = dict(zip(rejected.columns, ("record_id", "code", "message"), strict=True))
    return ids.join(rejected.rename(named), on="record_id", how="left", maintain_order="left")


@contextmanager
def _aside(out: Path) -> Generator[Path]:
    """A file that appears as *out* when it is whole."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}-", delete=False) as file:
            path = Path(file.name)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}") from error
    try:
        yield path
        path.replace(out)
    finally:
        path.unlink(missing_ok=True)
