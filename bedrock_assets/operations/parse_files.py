"""Join a job's outputs in plain files with the input, without Dagster and without AWS."""

import tempfile
from collections import Counter
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
    """Counts of what `parse` read."""

    n_rows: int
    n_ok: int
    n_error: int
    n_missing: int
    n_unreadable: int
    n_unknown: int


def parse_files(pipeline: Pipeline, shards: Path, outputs: Path, out: Path) -> ParseNotes:
    """
    Join the rows with the answers in *outputs* and write them to *out*, with one shard in memory at a time.

    Args:
        pipeline: Has the source and model that `format_files` was given. Its prompt is not used.
        shards: Folder that `format_files` wrote.
        outputs: Folder with the job's `*.jsonl.out` files, at any depth. A file that is not named after a shard is
            read for every shard.

    Raises:
        ConfigError: A folder has nothing to read.
        DataError: The source's ids are not usable, or its rows are not those that were formatted.
    """
    plan, n_rows = read_notes(shards), pipeline.source.n_rows()
    if n_rows != plan.n_rows:
        raise StaleShard(
            f"{pipeline.source.describe()} has {n_rows} rows, but `format` had {plan.n_rows}; name the same input, "
            "or format again"
        )
    files = sorted(outputs.rglob("*.jsonl.out"))
    if not files:
        raise ConfigError(f"no *.jsonl.out under {outputs}; download the job's output first, e.g. with `aws s3 sync`")
    names = {f"{shard.key}.jsonl.out" for shard in plan.shards}
    common = [path for path in files if path.name not in names]
    counts = Counter(dict.fromkeys(ParseNotes.model_fields, 0))
    unreadable: dict[Path, int] = {}

    def frames() -> Iterator[pl.DataFrame]:
        for shard, pieces in by_shard(pipeline, plan.shards):
            own = [path for path in files if path.name == f"{shard.key}.jsonl.out"] + common
            rows = pl.concat(pieces)
            yield _join_shard(pipeline, rows, _with_rejections(pipeline, shards, shard, rows), own, counts, unreadable)

    with _aside(out) as path:
        write_frames(frames(), path)
    counts["n_unreadable"] = sum(unreadable.values())
    if common and len(plan.shards) > 1:
        counts["n_unknown"] = 0  # each shard has read the others' answers as well
    return ParseNotes(**counts)


def _join_shard(
    pipeline: Pipeline,
    rows: pl.DataFrame,
    ids: pl.DataFrame,
    outputs: list[Path],
    counts: Counter[str],
    unreadable: dict[Path, int],
) -> pl.DataFrame:
    answers = Answers(pipeline.family, pipeline.schema, buffer_for(pipeline.workload.dimensions))
    for path in outputs:
        n_before = answers.n_unreadable
        with path.open("rb") as file:
            answers.add_all(whole_lines(file))
        unreadable[path] = answers.n_unreadable - n_before
    outcomes, n_unknown = one_outcome_per_row(ids, answers.index(), "see the job's status")
    outcomes = outcomes.with_columns(
        answers.values.gather(outcomes[AT]).alias(answers.answer),
        model_id=pl.lit(pipeline.spec.model),
        answer_source=pl.when("sent").then(pl.lit(InferenceMode.BATCH.value)),
        job_arn=pl.when("sent").then(pl.lit(outputs[0].parent.name if outputs else None, pl.String)),
        attempt=pl.when("sent").then(pl.lit(1, pl.Int64)),
    )
    n_by_status = {f"n_{status}": n for status, n in outcomes["status"].value_counts().iter_rows()}
    counts.update({"n_rows": len(rows), "n_unknown": n_unknown, **n_by_status})
    columns = outcomes.select(answer_columns(pipeline.answer_columns, pipeline.schema))
    return rows.hstack(columns.rename(pipeline.answer_columns))


def _with_rejections(pipeline: Pipeline, folder: Path, shard: Shard, rows: pl.DataFrame) -> pl.DataFrame:
    """record_id, copy_of, code and message of a shard's rows, all String, as `one_outcome_per_row` takes them."""
    none = pl.lit(None, pl.String)
    ids = rows.select(record_id=pipeline.record_id, copy_of=none)
    path = folder / f"{shard.key}.rejected.parquet"
    if not path.exists():
        return ids.with_columns(code=none, message=none)
    rejected = pl.read_parquet(path)
    rejected.columns = ["record_id", "code", "message"]
    return ids.join(rejected, on="record_id", how="left", maintain_order="left")


@contextmanager
def _aside(out: Path) -> Generator[Path]:
    """A temporary file that replaces *out* once it is complete."""
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
