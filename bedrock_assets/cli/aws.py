"""`bedrock-assets aws`: the AWS resources that a deployment needs, and what a pipeline or an inbox left behind."""

import os
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import Environment, LocalHome, console, print_json, say, session, warn
from bedrock_assets.errors import ConfigError
from bedrock_assets.units import counted

if TYPE_CHECKING:
    from bedrock_assets.aws.regions import Regions
    from bedrock_assets.operations.clean import CleanPlan, CleanTarget
    from bedrock_assets.storage.store import Store

TEMPLATE = files("bedrock_assets") / "deploy" / "aws-resources.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

app = typer.Typer(help="What a deployment needs, and leaves, in an AWS account.", no_args_is_help=True)


@app.command()
def template() -> None:
    """
    Print a CloudFormation template: bucket, service role, caller's policies, key and the queue of events.

    Example: bedrock-assets aws template > bedrock-assets.yaml
    """
    typer.echo(TEMPLATE.read_text("utf-8"), nl=False)


@app.command()
def clean(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline or an inbox, which may itself be gone.")],
    keep_table: Annotated[
        bool, typer.Option("--keep-table", help="Leave the final table, or the answers to an inbox's files.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: LocalHome = None,
    timeout_s: Annotated[float, typer.Option(min=0, help="Seconds to wait for jobs to stop.")] = 1800,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; nothing is deleted without --yes.")] = False,
) -> None:
    """
    List what a pipeline or an inbox left in the store and at Bedrock; when confirmed, stop jobs and delete files.

    Files that were dropped into an inbox and not taken yet are listed, and deleted too. Turn off its sensor first.

    Example: bedrock-assets aws clean call_summaries --keep-table
    """
    from bedrock_assets.operations.clean import plan_clean

    with session(home) as env:
        _check_name(pipeline)
        regions = env.regions
        plan = plan_clean(regions, _target(env.store, pipeline), keep_table=keep_table)
        if not as_json:
            _show(plan, regions.store)
        asks = not (yes or as_json) and bool(plan.all_files or plan.jobs)
        also = f", with {len(plan.dropped):,} files that were dropped and not taken yet" if plan.dropped else ""
        confirmed = yes or (asks and typer.confirm(f"Stop and delete all of it{also}?"))
        n_withdrawn = 0
        if confirmed:
            n_withdrawn = _withdraw(env, pipeline)
            plan = _delete(regions, plan, timeout_s, keep_table=keep_table, quiet=as_json)
    _report(plan, deleted=confirmed, n_withdrawn=n_withdrawn, as_json=as_json)


def _check_name(pipeline: str) -> None:
    if not _NAME.fullmatch(pipeline):
        raise ConfigError(
            f"{pipeline!r} is not a pipeline's name: up to 40 lower-case letters, digits and underscores. It is the "
            "`name` in its defs.yaml and its folder in the store"
        )


def _target(store: "Store", name: str) -> "CleanTarget":
    """The folders that the YAML of that name has; without one, those that its own files tell."""
    from bedrock_assets.components.load import find_workloads
    from bedrock_assets.operations.clean import CleanTarget

    try:
        specs, errors = find_workloads()
    except ConfigError as error:
        specs, errors = [], [error]
    for spec in specs:
        if spec.name == name:
            return CleanTarget.of_spec(spec)
    for error in errors:
        warn(f"if {name} is the inbox in this file, its folder for dropped files is left as it is: {error}")
    return CleanTarget.of_name(store, name)


def _withdraw(env: Environment, pipeline: str) -> int:
    """Withdraw shards that wait in Dagster, so that the sensor does not submit them; returns their number."""
    if not os.environ.get("DAGSTER_HOME"):
        warn(
            "DAGSTER_HOME is not set, so shards that wait in Dagster were not withdrawn; if there are any, cancel "
            "their run, or its sensor will submit them again"
        )
        return 0
    from bedrock_assets.operations.stop import open_requests, stop_requests

    with env.instance() as instance:
        ledger, entries = open_requests(instance, pipeline)
        return len(stop_requests(instance, ledger, entries, env.regions).withdrawn)


def _delete(regions: "Regions", told: "CleanPlan", timeout_s: float, *, keep_table: bool, quiet: bool) -> "CleanPlan":
    """Stop the jobs and delete the files, also those that the jobs wrote meanwhile; returns what was deleted."""
    from bedrock_assets.operations.clean import delete_files, plan_clean, stop_jobs, without_new_drops

    tell = (lambda _: None) if quiet else console.print
    stop_jobs(regions, told.target, timeout_s=timeout_s, report=tell)
    plan = without_new_drops(plan_clean(regions, told.target, keep_table=keep_table), told)
    for n_deleted in delete_files(regions.store, plan):
        tell(f"{n_deleted:,} of {len(plan.all_files):,} files deleted")
    return plan


def _show(plan: "CleanPlan", store: "Store") -> None:
    console.print(f"{plan.pipeline} in {store.root}", soft_wrap=True, highlight=False)
    for job in plan.jobs:
        console.print(
            f"  job   {job.name}  {job.status}  {job.n_processed:,} of {job.n_total:,} records", soft_wrap=True
        )
    for name, (n_files, n_bytes) in sorted(plan.folders.items()):
        console.print(f"  files {name:<20} {n_files:>8,} {n_bytes / 1e6:>12,.1f} MB", soft_wrap=True)
    for root in sorted({store.root for store, _ in plan.other_files}):
        sizes_bytes = [file.n_bytes for store, file in plan.other_files if store.root == root]
        console.print(f"  files in {root}: {len(sizes_bytes):,}, {sum(sizes_bytes) / 1e6:,.1f} MB")
    if plan.dropped:
        say(f"  {len(plan.dropped):,} files in {plan.target.dropped_to}/ were dropped and not taken yet: deleted too")
    for file in plan.left:
        say(f"  stays {plan.target.dropped_to}/{file.shown}: {file.fault or 'its name is no key'}")
    if not (plan.jobs or plan.all_files):
        console.print("  nothing")


def _report(plan: "CleanPlan", *, deleted: bool, n_withdrawn: int, as_json: bool) -> None:
    jobs, n_files = [job.arn for job in plan.jobs], len(plan.all_files)
    if as_json:
        counts = {"n_files": n_files, "n_bytes": plan.n_bytes, "n_withdrawn": n_withdrawn, "deleted": deleted}
        folders = {name: {"n_files": n, "n_bytes": n_bytes} for name, (n, n_bytes) in sorted(plan.folders.items())}
        more = {"n_dropped": len(plan.dropped), "folders": folders}
        print_json({"pipeline": plan.pipeline, "jobs": jobs, **counts, **more})
    elif deleted:
        console.print(
            f"deleted {n_files:,} files, {plan.n_bytes / 1e6:,.1f} MB; withdrew {counted(n_withdrawn, 'shard')}"
        )
