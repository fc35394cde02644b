"""`bedrock-assets format` and `parse`: JSONL files without Dagster and without AWS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bedrock_assets.cli.common import Json, fail, print_json, say, session, warn, working
from bedrock_assets.units import counted

Input = Annotated[str, typer.Option("--input", help="Parquet, CSV or JSONL file or glob, local or s3://.")]
PipelineName = Annotated[
    str | None,
    typer.Option(
        "--pipeline", help="A pipeline's name, or the path of a defs.yaml: its model, task and schema, and its own ids."
    ),
]
MAX_RECORDS, MAX_TOKENS = 50_000, 512


def format_command(
    source: Input,
    out: Annotated[Path, typer.Option(help="Folder for the shard files; created, or replaced if `format` wrote it.")],
    name: PipelineName = None,
    model: Annotated[str | None, typer.Option(help="Model id, inference profile or ARN, without a pipeline.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Template with {column} placeholders.")
    ] = None,
    embed: Annotated[str | None, typer.Option(help="Column to embed, instead of a prompt.")] = None,
    max_records: Annotated[
        int | None, typer.Option(min=1, help=f"Most records in a shard; the pipeline's limit, or {MAX_RECORDS}.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help=f"Most tokens of an answer; {MAX_TOKENS}.")] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Length of each vector; the model's default without it.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with a unique id; derived otherwise.")] = None,
    output_prefix: Annotated[
        str | None,
        typer.Option(help="Prefix for the names of the answer columns, if the input has columns with these names."),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Write the JSONL shards of a job, without Dagster and without AWS.

    Example: bedrock-assets format --input calls.parquet --pipeline call_summaries --out shards
    """
    from bedrock_assets.operations.format_files import format_files, over_files, plain_pipeline

    options = {"--model": model, "--prompt-file": prompt_file, "--embed": embed, "--max-tokens": max_tokens}
    options |= {"--dimensions": dimensions, "--id-column": id_column, "--output-prefix": output_prefix}
    with session() as env:
        if name is not None:
            _refuse(options)
            pipeline = over_files(env.pipeline(name), source, max_records)
        else:
            task = _task(prompt_file, max_tokens or MAX_TOKENS, embed, dimensions)
            most, prefix = max_records or MAX_RECORDS, output_prefix or ""
            pipeline = plain_pipeline(source, _named(model), task, id_column, most, prefix)
        with working(f"formatting {source}", quiet=as_json):
            notes = format_files(pipeline, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    for warning in notes.warnings:
        warn(warning)
    say(
        f"{counted(notes.n_rows, 'row')}: {counted(notes.n_records, 'record')} in "
        f"{counted(len(notes.shards), 'shard')}, {notes.n_bytes:,} bytes, "
        f"{notes.n_rejected:,} rows without a record; {out}/*.jsonl"
    )


def parse(
    source: Annotated[str, typer.Option("--input", help="The same input as for `format`.")],
    shards: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The folder that `format` wrote.")],
    outputs: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with the job's *.jsonl.out.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: every input column, then the answer.")],
    name: PipelineName = None,
    model: Annotated[str | None, typer.Option(help="The model the job ran on, without a pipeline.")] = None,
    as_json: Json = False,
) -> None:
    """
    Join a job's outputs with its input, without Dagster and without AWS.

    Example: bedrock-assets parse --input calls.parquet --pipeline call_summaries --shards shards --outputs outputs
    --out answers.parquet
    """
    from bedrock_assets.operations.format_files import over_files, plain_pipeline, read_notes
    from bedrock_assets.operations.parse_files import parse_files

    with session() as env:
        formatted = read_notes(shards)
        if name is not None:
            _refuse({"--model": model})
            pipeline = over_files(env.pipeline(name), source)
        elif formatted.pipeline:
            fail(
                f"{shards} was formatted with --pipeline {formatted.pipeline}; name it here too, instead of --model", 2
            )
        else:
            embedding = {"column": formatted.embed, "dimensions": formatted.dimensions}
            task = {"embedding": embedding} if formatted.embed else {"text": {"prompt": "-"}}
            ids, prefix = formatted.id_column, formatted.output_prefix
            pipeline = plain_pipeline(source, _named(model), task, ids, output_prefix=prefix)
        with working(f"reading {outputs}", quiet=as_json):
            notes = parse_files(pipeline, shards, outputs, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    say(
        f"{notes.n_rows:,} rows: {notes.n_ok:,} ok, {notes.n_error:,} error, {notes.n_missing:,} missing; "
        f"{notes.n_unreadable:,} lines could not be read, {notes.n_unknown:,} were not of this input; {out}"
    )


def _refuse(options: Mapping[str, object]) -> None:
    """Exit 2 if one of *options* is given beside a pipeline, which has a value of its own."""
    if given := [option for option, value in options.items() if value is not None]:
        fail(f"{given[0]} and --pipeline exclude each other; leave it out, or change the pipeline", 2)


def _named(model: str | None) -> str:
    return model if model is not None else fail("name --pipeline, or --model and what to send", 2)


def _task(prompt_file: Path | None, max_tokens: int, embed: str | None, dimensions: int | None) -> dict[str, Any]:
    from bedrock_assets.pipeline.templates import read_template

    if (prompt_file is None) == (embed is None):
        fail("name exactly one of --prompt-file and --embed", 2)
    if prompt_file is None:
        return {"embedding": {"column": embed, "dimensions": dimensions}}
    return {"text": {"prompt": read_template(prompt_file, prompt_file.name).text, "max_tokens": max_tokens}}
