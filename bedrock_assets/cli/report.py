"""`bedrock-assets report`: one page about a table, to be opened in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from bedrock_assets.cli.common import Json, LocalHome, Name, print_json, say, session, working


def report(
    pipeline: Name,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; by default <pipeline>-report.html in the current folder."),
    ] = None,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    Write one HTML page about a table: counts, cost, errors, answers, random rows, the prompt.

    Example: bedrock-assets report call_summaries
    """
    from bedrock_assets.errors import ConfigError
    from bedrock_assets.operations.report import report_page

    with session(home) as env:
        chosen = env.pipeline(pipeline)
        path = output or Path(f"{chosen.spec.name}-report.html")
        with working(f"reading the table of {chosen.spec.name}", quiet=as_json):
            page = report_page(env.store, chosen)
        try:
            path.write_text(page, "utf-8")
        except OSError as error:
            raise ConfigError(f"--output: {path} cannot be written: {error.strerror}; name another file") from error
    if as_json:
        print_json({"path": str(path.resolve()), "n_bytes": len(page.encode())})
    else:
        say(f"wrote {path.resolve()}; open it in a browser")
