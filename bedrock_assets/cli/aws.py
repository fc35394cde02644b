"""The commands `bedrock-assets aws`: the resources of an account, and what a pipeline left in it."""

import os
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import (
    LocalHome,
    bedrock_resource,
    console,
    errors,
    notes_console,
    open_instance,
    open_store,
    print_json,
    use,
)
from bedrock_assets.errors import ConfigError

if TYPE_CHECKING:
    from bedrock_assets.aws.regions import Regions
    from bedrock_assets.operations.clean import CleanPlan
    from bedrock_assets.storage.store import Store


TEMPLATE = files("bedrock_assets") / "deploy" / "aws-resources.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

app = typer.Typer(help="What this needs, and leaves, in an AWS account.", no_args_is_help=True)


@app.command()
def template() -> None:
    """
    Print a CloudFormation template: bucket, service role, caller's policies, key and the queue of events.

    Example: bedrock-assets aws template > bedrock-assets.yaml
    """
    typer.echo(TEMPLATE.read_text("utf-8"), nl=False)


@app.command()
def clean(
    pipeline: Annotated[str, typer.Argument(help="A pipeline's name; the pipeline itself may be gone.")],
    keep_table: Annotated[bool, typer.Option("--keep-table", help="Leave the final table where it is.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: LocalHome = None,
    timeout_s: Annotated[float, typer.Option(min=0, help="Seconds to wait for jobs to stop.")] = 1800,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; nothing is deleted without --yes.")] = False,
) -> None:
    """
    List what a pipeline left in the store and at Bedrock; when confirmed, stop its jobs and delete its files.

    Example: bedrock-assets aws clean call_summaries --keep-table
    """
    from bedrock_assets.operations.clean import delete_files, plan_clean, stop_jobs

    with errors():
        use(home)
        regions = _opened(pipeline)
        found = plan_clean(regions, pipeline, keep_table=keep_table)
        if not as_json:
            _show(found, regions.store)
        if not (
            yes or (not as_json and (found.all_files or found.jobs) and typer.confirm("Stop and delete all of it?"))
        ):
            _end(found, deleted=False, as_json=as_json)
            return
        n_withdrawn = _withdraw(pipeline, regions)
        tell = (lambda _: None) if as_json else console.print
        stop_jobs(regions, pipeline, timeout_s=timeout_s, report=tell)
        found = plan_clean(regions, pipeline, keep_table=keep_table)
        for n_gone in delete_files(regions.store, found):
            tell(f"{n_gone:,} of {len(found.all_files):,} files deleted")
    _end(found, deleted=True, n_withdrawn=n_withdrawn, as_json=as_json)


def _opened(pipeline: str) -> "Regions":
    """
    Raises:
        ConfigError: That is no name of a pipeline, or the settings of the environment do not work.
    """
    if not _NAME.fullmatch(pipeline):
        raise ConfigError(
            f"{pipeline!r} is no pipeline's name: up to 40 lower-case letters, digits and underscores; it is the "
            "`name` of its defs.yaml and its folder in the store"
        )
    return bedrock_resource().open(open_store())


def _withdraw(pipeline: str, regions: "Regions") -> int:
    """Close what still waits in Dagster, so that its sensor submits nothing more; how many shards that were."""
    if not os.environ.get("DAGSTER_HOME"):
        notes_console.print(
            "warning: DAGSTER_HOME is not set, so shards that still wait in Dagster were not withdrawn; if there are "
            "any, cancel their run, or its sensor will submit them again",
            style="yellow",
            soft_wrap=True,
        )
        return 0
    from bedrock_assets.operations.stop import open_requests, stop_requests

    with open_instance() as instance:
        ledger, entries = open_requests(instance, pipeline)
        return len(stop_requests(instance, ledger, entries, regions).withdrawn)


def _show(found: "CleanPlan", store: "Store") -> None:
    console.print(f"{found.pipeline} in {store.root}", soft_wrap=True, highlight=False)
    for job in found.jobs:
        console.print(
            f"  job   {job.name}  {job.status}  {job.n_processed:,} of {job.n_total:,} records", soft_wrap=True
        )
    for name, (n_files, n_bytes) in sorted(found.folders.items()):
        console.print(f"  files {name:<20} {n_files:>8,} {n_bytes / 1e6:>12,.1f} MB")
    for root in sorted({where.root for where, _ in found.other_files}):
        files = [file for where, file in found.other_files if where.root == root]
        console.print(f"  files in {root}: {len(files):,}, {sum(file.n_bytes for file in files) / 1e6:,.1f} MB")
    if not (found.jobs or found.all_files):
        console.print("  nothing")


def _end(found: "CleanPlan", *, deleted: bool, n_withdrawn: int = 0, as_json: bool) -> None:
    jobs, n_files = [job.arn for job in found.jobs], len(found.all_files)
    told = {"pipeline": found.pipeline, "jobs": jobs, "n_files": n_files, "n_bytes": found.n_bytes}
    if as_json:
        print_json({**told, "n_withdrawn": n_withdrawn, "deleted": deleted})
    elif deleted:
        console.print(f"deleted {n_files:,} files, {found.n_bytes / 1e6:,.1f} MB; withdrew {n_withdrawn:,} shards")
