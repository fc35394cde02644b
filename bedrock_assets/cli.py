"""The command `bedrock-assets`. Exit codes: 0 done, 1 the work failed, 2 the input or a setting is wrong."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from bedrock_assets.commands.act import errors_command, gc, stop
from bedrock_assets.commands.aws import app as aws
from bedrock_assets.commands.common import (
    Json,
    Name,
    console,
    errors,
    fail,
    notes_console,
    open_store,
    pipeline_of,
    print_json,
    working,
)
from bedrock_assets.commands.create import new
from bedrock_assets.commands.deployment import deployment
from bedrock_assets.commands.look import doctor, estimate, sample, status
from bedrock_assets.commands.metrics import metrics
from bedrock_assets.emulate import emulate

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
Home = Annotated[Path, typer.Option(help="Folder for everything the local stack keeps.")]
Speed = Annotated[float, typer.Option(min=0.001, help="Emulated seconds of a job's life per real second.")]
MaxJobs = Annotated[int, typer.Option(min=1, help="Limit of the pool bedrock_batch, set when the folder is new.")]
DEMO_PIPELINE = "conversation_summaries"


def main() -> None:
    """Entry point of the console script."""
    app()


@app.command()
def demo(
    pipeline: Annotated[str, typer.Argument(help="Pipeline to run.")] = DEMO_PIPELINE,
    home: Home = Path("bedrock-assets-demo"),
    speed: Speed = 30.0,
    max_jobs: MaxJobs = 2,
    as_json: Json = False,
) -> None:
    """Run the main job from end to end on this machine: emulator, Dagster with its daemon, real conversations."""
    from bedrock_assets.local.demo import run_demo, show
    from bedrock_assets.local.stack import Settings, local_stack

    with errors():
        chosen = pipeline_of(pipeline)
        with local_stack(Settings(home, speed=speed, max_jobs=max_jobs)) as stack:
            result = run_demo(stack, chosen, notes_console if as_json else console)
        if as_json:
            print_json(dataclasses.asdict(result))
        else:
            show(result, console)
            console.print(f"look around in the UI with: bedrock-assets dev --home {home}", soft_wrap=True)
    raise typer.Exit(0 if result.succeeded else 1)


@app.command()
def dev(
    home: Home = Path("bedrock-assets-dev"),
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 takes a free one.")] = 3000,
    speed: Speed = 30.0,
    max_jobs: MaxJobs = 2,
    workspace: Annotated[Path | None, typer.Option(exists=True, help="workspace.yaml of your own project.")] = None,
    as_json: Json = False,
) -> None:
    """Keep the local stack running, with the Dagster UI; end it with Ctrl-C."""
    from bedrock_assets.local.stack import Settings, local_stack
    from bedrock_assets.local.ui import DagsterUI

    with errors(), local_stack(Settings(home, port, speed, max_jobs, workspace)) as stack:
        DagsterUI(stack.ui_url).wait_until_loaded(stack.require_alive)
        if as_json:
            print_json({"ui": stack.ui_url, "emulator": stack.emulator_url, "store": str(stack.store)})
        else:
            console.print(f"Dagster UI   {stack.ui_url}\nemulator     {stack.emulator_url}\nstore        {stack.store}")
            console.print(f"more         bedrock-assets status|doctor|errors ... --home {home}\nend with Ctrl-C")
        try:
            stack.dagster.wait()
        except KeyboardInterrupt:
            console.print("stopping")


@app.command()
def iam(
    store: Annotated[str, typer.Option(help="s3://bucket/prefix of the store.")],
    role_arn: Annotated[str, typer.Option(help="Service role that Bedrock takes on.")],
    region: Annotated[str, typer.Option(envvar="AWS_REGION", help="Region of the jobs.")],
    key_arn: Annotated[str | None, typer.Option(help="KMS key under which the bucket's files are.")] = None,
    events_queue: Annotated[str, typer.Option(help="ARN of the SQS queue of events, if there is one.")] = "",
    subnet_ids: Annotated[str, typer.Option(help="Subnets of jobs in a VPC, with commas between.")] = "",
    security_group_ids: Annotated[str, typer.Option(help="Their security groups.")] = "",
    tags: Annotated[bool, typer.Option("--tags", help="Jobs are tagged.")] = False,
    cloudwatch: Annotated[bool, typer.Option("--cloudwatch", help="Metrics are read from CloudWatch.")] = False,
    assume_role_arn: Annotated[str, typer.Option(help="Role of another account that calls are made as.")] = "",
) -> None:
    """Print the IAM documents of a deployment, as JSON: the caller's policy, the role's policy and its trust."""
    from bedrock_assets.iam import Deployment, caller_policy, doctor_policy, role_policy, role_trust
    from bedrock_assets.job_settings import Vpc, parse_list

    with errors():
        vpc = Vpc.of(parse_list(subnet_ids), parse_list(security_group_ids))
        subnets, groups = (vpc.subnet_ids, vpc.security_group_ids) if vpc else ((), ())
        deployment = Deployment(
            store, role_arn, region, key_arn, events_queue, subnets, groups, tags, cloudwatch, assume_role_arn
        )
    makers = (caller_policy, doctor_policy, role_policy, role_trust)
    documents = {make.__name__: make(deployment) for make in makers}
    print_json(documents)


@app.command()
def reference(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON schema, for editors.")] = False,
) -> None:
    """Print every key of a defs.yaml, with its meaning and default."""
    from bedrock_assets.reference import json_schema, page

    if as_json:
        print_json(json_schema())
    else:
        typer.echo(page(), nl=False)


for command in (new, sample, estimate, doctor, status, stop, gc, emulate, deployment, metrics):
    app.command()(command)
app.command("errors")(errors_command)
app.add_typer(aws, name="aws")


@app.command()
def plan(
    pipeline: Name,
    as_json: Json = False,
) -> None:
    """Show rows, shards, bytes and the first prompt of a pipeline, without any side effect."""
    from bedrock_assets.preview import preview

    with errors():
        named = pipeline_of(pipeline)
        with working(f"reading {named.source.describe()}", quiet=as_json):
            found = preview(named, open_store() if named.spec.source.pipeline else None)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        console.print(f"[bold]{name:<18}[/bold] ", end="")
        console.print(str(value) if not isinstance(value, int) else f"{value:,}", markup=False, soft_wrap=True)


@app.command("format")
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
    as_json: Json = False,
) -> None:
    """Write the JSONL shards that a job would be given, without Dagster and without AWS."""
    from bedrock_assets.plain import format_files, plain_pipeline
    from bedrock_assets.templates import read_template

    with errors():
        if (prompt_file is None) == (embed is None):
            fail("name exactly one of --prompt-file and --embed", 2)
        if prompt_file:
            prompt = read_template(prompt_file, prompt_file.name).text
            task: dict[str, Any] = {"text": {"prompt": prompt, "max_tokens": max_tokens}}
        else:
            task = {"embedding": {"column": embed, "dimensions": dimensions}}
        pipeline = plain_pipeline(source, model, task, id_column, max_records)
        with working(f"formatting {source}", quiet=as_json):
            notes = format_files(pipeline, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    for warning in notes.warnings:
        notes_console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    console.print(
        f"{notes.n_rows:,} rows: {notes.n_records:,} records in {len(notes.shards)} shards, {notes.n_bytes:,} bytes, "
        f"{notes.n_rejected:,} rows without a record; {out}/*.jsonl",
        soft_wrap=True,
    )


@app.command()
def parse(
    source: Annotated[str, typer.Option("--input", help="The same input as for `format`.")],
    shards: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The folder that `format` wrote.")],
    outputs: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with the job's *.jsonl.out.")],
    model: Annotated[str, typer.Option(help="The model the job ran on.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: every input column, then the answer.")],
    as_json: Json = False,
) -> None:
    """Join a job's outputs with its input, without Dagster and without AWS."""
    from bedrock_assets.plain import plain_pipeline, read_notes
    from bedrock_assets.plain_parse import parse_files

    with errors():
        formatted = read_notes(shards)
        embedding = {"column": formatted.embed, "dimensions": formatted.dimensions}
        task = {"embedding": embedding} if formatted.embed else {"text": {"prompt": "-"}}
        pipeline = plain_pipeline(source, model, task, formatted.id_column)
        with working(f"reading {outputs}", quiet=as_json):
            notes = parse_files(pipeline, shards, outputs, out)
    if as_json:
        print_json({"out": str(out), **notes.model_dump(mode="json")})
        return
    console.print(
        f"{notes.n_rows:,} rows: {notes.n_ok:,} ok, {notes.n_error:,} error, {notes.n_missing:,} missing; "
        f"{notes.n_unreadable:,} lines could not be read, {notes.n_unknown:,} were not of this input; {out}",
        soft_wrap=True,
    )
