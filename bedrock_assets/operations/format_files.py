"""Format plain files as JSONL shards, without Dagster and without AWS."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.source import KINDS
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.dataset.plan import Block, plan_shards
from bedrock_assets.errors import ConfigError, EmptyDataset, StaleShard, StoreError, describe_validation_error
from bedrock_assets.limits import JobLimits
from bedrock_assets.pipeline.ids import require_ids, require_unique
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_CODE, LINE
from bedrock_assets.pipeline.templates import as_text
from bedrock_assets.shards.format import encode_batches
from bedrock_assets.shards.record_file import RecordFile
from bedrock_assets.storage.manifests import Document, Shard

NOTES = "format.json"


class FormatNotes(Document):
    """Facts that `format` writes beside the shard files, so that `parse` finds the same rows."""

    id_column: str | None
    output_prefix: str = ""
    """Put before the names of our columns."""
    embed: str | None = None
    """Column that was embedded; None for prompts."""
    dimensions: int | None = None
    """Length of each vector."""
    pipeline: str | None = None
    """The pipeline that the records were made with; None if they were made with a prompt or a column alone."""
    shards: tuple[Shard, ...]
    n_rows: int
    n_records: int
    n_rejected: int
    n_bytes: int
    warnings: tuple[str, ...] = ()


PLAIN = "plain"
"""Name of a pipeline without a defs.yaml."""


def over_files(pipeline: Pipeline, source: str, max_records: int | None = None) -> Pipeline:
    """
    A pipeline of a project with the rows of plain files: task, schema, images, parameters, groups and ids are its own.

    Args:
        source: Path or glob of the input files.
        max_records: Most records in a shard; by default what the pipeline's limits say.

    Raises:
        ConfigError: The files do not fit the pipeline.
    """
    others = dict.fromkeys((*KINDS, "through", "limit"))
    path = source if "://" in source else str(Path(source).absolute())  # the option's, and not the YAML's
    files = pipeline.spec.source.model_copy(update={**others, "path": path, "partitions": "all"})
    limits = pipeline.spec.limits.model_copy(update={"max_jobs": 1})
    if max_records is not None:
        least = min(limits.min_records_per_job, max_records)
        limits = limits.model_copy(update={"max_records_per_job": max_records, "min_records_per_job": least})
    return Pipeline(pipeline.spec.model_copy(update={"source": files, "limits": limits}), pipeline.folder)


def plain_pipeline(
    source: str,
    model: str,
    task: dict[str, Any],
    id_column: str | None,
    max_records: int = 50_000,
    output_prefix: str = "",
) -> Pipeline:
    """
    A pipeline for plain files, without a defs.yaml.

    Args:
        source: Path or glob of the input files.
        task: As under `task:` in a defs.yaml.
        max_records: Most records in a shard.
        output_prefix: Put before the names of our columns.

    Raises:
        ConfigError: The model, the prompt or the input is wrong.
    """
    # As few files as possible: with one job at a time, shards need not fill waves of jobs.
    limits = {"max_records_per_job": max_records, "min_records_per_job": min(100, max_records), "max_jobs": 1}
    written = {
        "name": PLAIN,
        "source": {"path": source, "id_column": id_column},
        "model": model,
        "task": task,
        "limits": limits,
        "output_prefix": output_prefix,
    }
    try:
        return Pipeline(PipelineSpec.model_validate(written), Path())
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error)) from error


def format_files(pipeline: Pipeline, out: Path) -> FormatNotes:
    """
    Write `{shard}.jsonl` into *out*, and `{shard}.rejected.parquet` for rows without a record.

    Raises:
        DataError: The input is empty, cannot be cut into shards, or its ids are missing or not unique.
        StoreError: *out* cannot be written.
    """
    limits, embedding = pipeline.spec.limits, pipeline.spec.task.embedding
    n_rows = pipeline.source.n_rows()
    if n_rows == 0:
        raise EmptyDataset(f"{pipeline.source.describe()} has no rows, so there is nothing to format")
    next(read_rows(pipeline), None)  # raises if a column is missing or in the way, before anything is written
    if pipeline.spec.source.id_column is not None:
        require_unique(_Ids(pipeline), n_rows, pipeline.spec.source.id_column)
    # Too few rows are formatted as well, with a warning that Bedrock would fail the job.
    shards = plan_shards([Block(n_rows, n_rows, 0)], limits, on_small="pad")
    _prepare(out)
    files = [_write_shard(pipeline, out, shard, frames) for shard, frames in by_shard(pipeline, shards)]
    n_records = sum(records.n_records for records in files)
    notes = FormatNotes(
        id_column=pipeline.spec.source.id_column,
        output_prefix=pipeline.spec.output_prefix,
        embed=embedding.column if embedding else None,
        dimensions=pipeline.workload.dimensions,
        pipeline=None if pipeline.spec.name == PLAIN else pipeline.spec.name,
        shards=shards,
        n_rows=n_rows,
        n_records=n_records,
        n_rejected=n_rows - n_records,
        n_bytes=sum(records.n_bytes for records in files),
        warnings=tuple(
            text for shard, one in zip(shards, files, strict=True) for text in _warnings(limits, shard, one)
        ),
    )
    (out / NOTES).write_text(notes.model_dump_json(indent=2))
    return notes


def _write_shard(pipeline: Pipeline, out: Path, shard: Shard, frames: Iterator[pl.DataFrame]) -> RecordFile:
    rejected: list[pl.DataFrame] = []
    with (out / f"{shard.key}.jsonl").open("wb") as file:
        records = RecordFile(file, digest=None)
        for jsonl, rows in encode_batches(pipeline, frames):
            records.append(jsonl, rows[LINE].count())
            rejected.append(rows.drop(LINE).drop_nulls(ERROR_CODE))
    if records.n_records < shard.n_rows:
        pl.concat(rejected).write_parquet(out / f"{shard.key}.rejected.parquet")
    return records


def read_notes(shards: Path) -> FormatNotes:
    """
    Read what `format_files` wrote into folder *shards*.

    Raises:
        ConfigError: *shards* was not written by `format`.
    """
    try:
        return FormatNotes.model_validate_json((shards / NOTES).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shards} has no readable {NOTES}; name the folder that `format --out` wrote") from error


@dataclass(frozen=True)
class _Ids:
    """The record ids of all rows, String; each iteration reads the source."""

    pipeline: Pipeline

    def __iter__(self) -> Iterator[pl.Series]:
        if self.pipeline.spec.expansions:
            yield from (rows[self.pipeline.record_id] for rows in read_rows(self.pipeline))
            return
        name, position = self.pipeline.spec.source.id_column or "", 0
        for ids in self.pipeline.source.column(name):
            require_ids(ids.to_frame(), name, position)
            yield ids.to_frame().select(as_text(name, ids.dtype)).to_series()
            position += len(ids)


def by_shard(pipeline: Pipeline, shards: tuple[Shard, ...]) -> Iterator[tuple[Shard, Iterator[pl.DataFrame]]]:
    """
    The source's rows by shard, in several frames each. Read all frames of a shard before the next shard.

    Raises:
        StaleShard: There are more rows than *shards* have.
    """

    def pieces() -> Iterator[tuple[Shard, pl.DataFrame]]:
        following, position = iter(shards), 0
        shard = next(following)
        for rows in read_rows(pipeline):
            rest = rows
            while len(rest):
                n_rows = min(len(rest), shard.offset + shard.n_rows - position)
                if n_rows == 0:
                    raise StaleShard(
                        f"{pipeline.source.describe()} has more rows than when they were counted: it was written to "
                        "while it was read; run this again when it is complete"
                    )
                yield shard, rest.head(n_rows)
                rest, position = rest.slice(n_rows), position + n_rows
                if position == shard.offset + shard.n_rows:
                    shard = next(following, shard)

    for shard, group in groupby(pieces(), key=lambda piece: piece[0]):
        yield shard, (rows for _, rows in group)


def _prepare(out: Path) -> None:
    """Create folder *out*, or delete the files of an earlier `format` in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in out.iterdir()]
        if names and NOTES not in names:
            raise StoreError(f"{out} is not empty, and `format` did not write it; name another folder")
        for pattern in ("*.jsonl", "*.rejected.parquet", NOTES):
            for path in out.glob(pattern):
                path.unlink()
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}") from error


def _warnings(limits: JobLimits, shard: Shard, records: RecordFile) -> list[str]:
    warnings: list[str] = []
    if records.n_records < (least := limits.min_records_per_job):
        warnings.append(f"{shard.key} has {records.n_records} records; Bedrock fails a job with fewer than {least}")
    if records.n_bytes > (most := limits.max_bytes_per_file):
        warnings.append(f"{shard.key} has {records.n_bytes} bytes; Bedrock refuses files above {most}")
    return warnings
