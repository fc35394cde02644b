"""`bedrock-assets reference`: every key of a `defs.yaml`."""

from typing import Annotated

import typer

from bedrock_assets.cli.common import print_json


def reference(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON schema, for editors.")] = False,
) -> None:
    """Print every key of a defs.yaml, with its meaning and default."""
    from bedrock_assets.operations.reference import json_schema, page

    if as_json:
        print_json(json_schema())
    else:
        typer.echo(page(), nl=False)
