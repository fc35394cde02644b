"""Format plain files, without Dagster and without AWS: a look at the records before anything is paid."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.dataset.plan import Block, plan_shards
from bedrock_assets.errors import ConfigError, EmptyDataset, StoreError
from bedrock_assets.pipeline.ids import require_ids, require_unique
from bedrock_assets.pipeline.records import ERROR_CODE, Pipeline
from bedrock_assets.shards.record_file import RecordFile
from bedrock_assets.storage.manifests import Document, Shard

NOTES = "format.json"


class FormatNotes(Document):
    """What `format` leaves beside the shard files, so that `parse` finds the same rows."""

    id_column: str | None
    embed: str | None = None
    """Column that was embedded; none for prompts."""
    dimensions: int | None = None
    """Length of each vector."""
    shards: tuple[Shard, ...]
    n_rows: int
    n_records: int
    n_rejected: int
    n_bytes: int
    warnings: tuple[str, ...] = ()


def plain_pipeline(
    source: str, model: str, task: dict[str, Any], id_column: str | None, max_records: int = 50_000
) -> Pipeline:
    """
    A pipeline without YAML, for files.

    Raises:
        ConfigError: The model, the prompt or the input is wrong.
    """
    # Nobody waits for a wave of jobs here: as few files as the number of records allows.
    limits = {"max_records_per_job": max_records, "min_records_per_job": min(100, max_records), "max_jobs": 1}
    spec = PipelineSpec.model_validate(
        {
            "name": "plain",
            "source": {"path": source, "id_column": id_column},
            "model": model,
            "task": task,
            "limits": limits,
        }
    )
    return Pipeline(spec, Path.cwd())


def format_files(pipeline: Pipeline, out: Path) -> FormatNotes:
    """
    Write `{shard}.jsonl` and, where rows have no record, `{shard}.rejected.parquet` into *out*.

    Raises:
        DataError: The input is empty, cannot be cut into shards, or its ids are unusable.
        StoreError: *out* cannot be written.
    """
    limits, embedding = pipeline.spec.limits, pipeline.spec.task.embedding
    n_rows = pipeline.source.n_rows()
    if n_rows == 0:
        raise EmptyDataset(f"{pipeline.source.describe()} has no rows; there is nothing to format")
    if pipeline.spec.source.id_column is not None:
        require_unique(_Ids(pipeline), n_rows, pipeline.spec.source.id_column)
    # Too few rows are worth a look as well: a warning tells that Bedrock would refuse them.
    shards = plan_shards([Block(n_rows, n_rows, 0)], limits, on_small="pad")
    _prepare(out)
    n_records = n_bytes = n_rejected = 0
    warnings: list[str] = []
    for shard, pieces in by_shard(pipeline, shards):
        rejected: list[pl.DataFrame] = []
        with (out / f"{shard.key}.jsonl").open("wb") as file:
            records = RecordFile(file, digest=None)
            for content, fates in made_records(pipeline, pieces):
                records.append(content, fates[ERROR_CODE].null_count())
                rejected.append(fates.filter(pl.col(ERROR_CODE).is_not_null()))
        n_records += records.n_records
        n_bytes += records.n_bytes
        n_rejected += shard.n_rows - records.n_records
        if records.n_records < shard.n_rows:
            pl.concat(rejected).write_parquet(out / f"{shard.key}.rejected.parquet")
        warnings += _warnings(pipeline, shard, records)
    notes = FormatNotes(
        id_column=pipeline.spec.source.id_column,
        embed=embedding.column if embedding else None,
        dimensions=pipeline.dimensions,
        shards=shards,
        n_rows=n_rows,
        n_records=n_records,
        n_rejected=n_rejected,
        n_bytes=n_bytes,
        warnings=tuple(warnings),
    )
    (out / NOTES).write_text(notes.model_dump_json(indent=2))
    return notes


def read_notes(shards: Path) -> FormatNotes:
    """
    Raises:
        ConfigError: *shards* was not written by `format`.
    """
    try:
        return FormatNotes.model_validate_json((shards / NOTES).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shards} has no readable {NOTES}; name the folder that `format --out` wrote") from error


@dataclass(frozen=True)
class _Ids:
    """The record ids of all rows, read from the source each time."""

    pipeline: Pipeline

    def __iter__(self) -> Iterator[pl.Series]:
        name, position = self.pipeline.spec.source.id_column or "", 0
        next(read_rows(self.pipeline), None)  # tells of a column that is missing, as reading all of it would
        for ids in self.pipeline.source.column(name):
            require_ids(ids.to_frame(), name, position)
            yield ids.cast(pl.String)
            position += len(ids)


def by_shard(pipeline: Pipeline, shards: tuple[Shard, ...]) -> Iterator[tuple[Shard, Iterator[pl.DataFrame]]]:
    """The source's rows, cut at the borders of shards; each group is read before the next."""

    def pieces() -> Iterator[tuple[Shard, pl.DataFrame]]:
        following, position = iter(shards), 0
        shard = next(following)
        for rows in read_rows(pipeline):
            rest = rows
            while len(rest):
                n_here = min(len(rest), shard.offset + shard.n_rows - position)
                yield shard, rest.head(n_here)
                rest, position = rest.slice(n_here), position + n_here
                if position == shard.offset + shard.n_rows:
                    shard = next(following, shard)

    for shard, group in groupby(pieces(), key=lambda piece: piece[0]):
        yield shard, (rows for _, rows in group)


def _prepare(out: Path) -> None:
    """An empty folder, or one of an earlier `format`, whose files are replaced."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in out.iterdir()]
        if others and NOTES not in others:
            raise StoreError(f"{out} is not empty and not a folder that `format` wrote; name another one")
        for pattern in ("*.jsonl", "*.rejected.parquet", NOTES):
            for path in out.glob(pattern):
                path.unlink()
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}") from error


def _warnings(pipeline: Pipeline, shard: Shard, records: RecordFile) -> list[str]:
    limits = pipeline.spec.limits
    found: list[str] = []
    if records.n_records < limits.min_records_per_job:
        found.append(
            f"{shard.key} has {records.n_records} records; Bedrock fails a job with fewer than "
            f"{limits.min_records_per_job}"
        )
    if records.n_bytes > limits.max_bytes_per_file:
        found.append(
            f"{shard.key} has {records.n_bytes} bytes; Bedrock refuses files above {limits.max_bytes_per_file}"
        )
    return found
