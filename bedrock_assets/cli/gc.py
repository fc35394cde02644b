"""`bedrock-assets gc`: files in the store that nothing refers to."""

from datetime import timedelta
from typing import Annotated

import typer

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    Name,
    Yes,
    confirm,
    console,
    errors,
    notes_console,
    open_instance,
    open_store,
    pipeline_of,
    print_json,
    use,
)


def gc(
    pipeline: Name,
    older_than_hours: Annotated[float, typer.Option(min=0, help="Leave files that are younger.")] = 24,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them, after asking.")] = False,
    yes: Yes = False,
    home: LocalHome = None,
    as_json: Json = False,
) -> None:
    """
    List files in the store that nothing refers to any more and, with --delete, delete them.

    Example: bedrock-assets gc call_summaries --delete
    """
    from bedrock_assets.operations.gc import unreferenced_files

    with errors():
        use(home)
        chosen, store = pipeline_of(pipeline), open_store()
        with open_instance() as instance:
            found = unreferenced_files(instance, store, chosen, timedelta(hours=older_than_hours))
        n_bytes = sum(file.n_bytes for file in found)
        if as_json:
            print_json({"n_files": len(found), "n_bytes": n_bytes, "files": [file.key for file in found]})
        else:
            for file in found:
                console.print(f"{file.n_bytes:>14,}  {file.key}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"{len(found):,} files, {n_bytes:,} bytes")
        if delete and found:
            confirm(f"delete {len(found):,} files of {store.root}?", yes=yes)
            store.delete([file.key for file in found])
            notes_console.print("deleted")
