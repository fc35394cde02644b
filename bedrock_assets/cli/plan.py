"""`bedrock-assets plan`: rows, shards, bytes and the first prompt."""

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Name,
    console,
    print_fields,
    print_json,
    say,
    session,
    warn,
    working,
)

WORDS = {
    "bytes": "the size of all requests",
    "shards": "files of requests, each answered by one job",
    "waves": "groups of jobs one after the other, as limits.max_jobs run at once",
}
"""What the names mean."""


def plan(pipeline: Name, home: LocalHome = None, as_json: Json = False) -> None:
    """
    Show rows, shards, bytes and the first prompt of a pipeline, without any side effect.

    Example: bedrock-assets plan call_summaries
    """
    from bedrock_assets.operations.plan import preview

    with session(home) as env:
        chosen = env.with_rows(env.pipeline(pipeline))
        with env.naming(chosen), working(f"reading {chosen.source.describe()}", quiet=as_json):
            fields = preview(chosen, env.store if chosen.spec.source.pipeline else None)
    if as_json:
        print_json(fields)
    else:
        warnings, prompt, _ = fields.pop("warnings"), fields.pop("first_prompt"), fields.pop("first_record")
        print_fields(fields, WORDS)
        if prompt is not None:
            console.rule("first prompt", align="left")
            say(prompt)
        for warning in warnings:
            warn(warning)
