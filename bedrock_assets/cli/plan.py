"""`bedrock-assets plan`: rows, shards, bytes and the first prompt."""

from bedrock_assets.cli.common import Json, LocalHome, Name, print_fields, print_json, session, warn, working


def plan(pipeline: Name, home: LocalHome = None, as_json: Json = False) -> None:
    """Show rows, shards, bytes and the first prompt of a pipeline, without any side effect."""
    from bedrock_assets.operations.plan import preview

    with session(home) as env:
        chosen = env.with_rows(env.pipeline(pipeline))
        with env.naming(chosen), working(f"reading {chosen.source.describe()}", quiet=as_json):
            fields = preview(chosen, env.store if chosen.spec.source.pipeline else None)
    if as_json:
        print_json(fields)
    else:
        warnings = fields.pop("warnings")
        print_fields(fields)
        for warning in warnings:
            warn(warning)
