"""`bedrock-assets plan`: rows, shards, bytes and the first prompt."""

from bedrock_assets.cli.common import Json, Name, console, errors, open_store, pipeline_of, print_json, working


def plan(
    pipeline: Name,
    as_json: Json = False,
) -> None:
    """Show rows, shards, bytes and the first prompt of a pipeline, without any side effect."""
    from bedrock_assets.operations.plan import preview

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
