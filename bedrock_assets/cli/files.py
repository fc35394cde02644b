"""`bedrock-assets format` and `parse`: JSONL files without Dagster and without AWS."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bedrock_assets.cli.common import Json, fail, print_json, say, session, warn, working


def format_command(
    source: Annotated[str, typer.Option("--input", help="Parquet, CSV or JSONL file or glob, local or s3://.")],
    model: Annotated[str, typer.Option(help="Model id, inference profile or ARN.")],
    out: Annotated[Path, typer.Option(help="Folder for the shard files; created, or replaced if `format` wrote it.")],
    prompt_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Template with {column} placeholders.")
    ] = None,
    embed: Annotated[str | None, typer.Option(help="Column to embed, instead of a prompt.")] = None,
    max_records: Annotated[int, typer.Option(min=1, help="Most records in a shard.")] = 50_000,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 512,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Length of each vector; the model's default without it.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with a unique id; derived otherwise.")] = None,
    output_prefix: Annotated[
        str, typer.Option(help="Prefix for the names of the answer columns, if the input has columns with these names.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the JSONL shards of a job, without Dagster and without AWS."""
    from bedrock_assets.operations.format_files import format_files, plain_pipeline

    with session():
        task = _task(prompt_file, max_tokens, embed, dimensions)
        pipeline = plain_pipeline(source, model, task, id_column, max_records, output_prefix)
        with working(f"formatting {source}", quiet=as_json):
            notes = format_files(pipeline, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    for warning in notes.warnings:
        warn(warning)
    say(
        f"{notes.n_rows:,} rows: {notes.n_records:,} records in {len(notes.shards)} shards, {notes.n_bytes:,} bytes, "
        f"{notes.n_rejected:,} rows without a record; {out}/*.jsonl"
    )


def parse(
    source: Annotated[str, typer.Option("--input", help="The same input as for `format`.")],
    shards: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The folder that `format` wrote.")],
    outputs: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with the job's *.jsonl.out.")],
    model: Annotated[str, typer.Option(help="The model the job ran on.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: every input column, then the answer.")],
    as_json: Json = False,
) -> None:
    """Join a job's outputs with its input, without Dagster and without AWS."""
    from bedrock_assets.operations.format_files import plain_pipeline, read_notes
    from bedrock_assets.operations.parse_files import parse_files

    with session():
        formatted = read_notes(shards)
        embedding = {"column": formatted.embed, "dimensions": formatted.dimensions}
        task = {"embedding": embedding} if formatted.embed else {"text": {"prompt": "-"}}
        pipeline = plain_pipeline(source, model, task, formatted.id_column, output_prefix=formatted.output_prefix)
        with working(f"reading {outputs}", quiet=as_json):
            notes = parse_files(pipeline, shards, outputs, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    say(
        f"{notes.n_rows:,} rows: {notes.n_ok:,} ok, {notes.n_error:,} error, {notes.n_missing:,} missing; "
        f"{notes.n_unreadable:,} lines could not be read, {notes.n_unknown:,} were not of this input; {out}"
    )


def _task(prompt_file: Path | None, max_tokens: int, embed: str | None, dimensions: int | None) -> dict[str, Any]:
    from bedrock_assets.pipeline.templates import read_template

    if (prompt_file is None) == (embed is None):
        fail("name exactly one of --prompt-file and --embed", 2)
    if prompt_file is None:
        return {"embedding": {"column": embed, "dimensions": dimensions}}
    return {"text": {"prompt": read_template(prompt_file, prompt_file.name).text, "max_tokens": max_tokens}}
