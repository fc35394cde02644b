"""`bedrock-assets gc`: files in the store that nothing refers to."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from bedrock_assets.cli.common import (
    Json,
    LocalHome,
    WorkloadName,
    Yes,
    confirm,
    notes_console,
    print_json,
    say,
    session,
)

if TYPE_CHECKING:
    from bedrock_assets.storage.store import StoredFile


def gc(
    pipeline: WorkloadName,
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

    with session(home) as env:
        chosen, store = env.spec(pipeline), env.store
        with env.instance() as instance:
            files = unreferenced_files(instance, store, chosen, timedelta(hours=older_than_hours))
        _show(files, as_json=as_json)
        if delete and files:
            confirm(f"delete {len(files):,} files of {store.root}?", yes=yes)
            store.delete([file.key for file in files])
            notes_console.print("deleted")


def _show(files: "list[StoredFile]", *, as_json: bool) -> None:
    n_bytes = sum(file.n_bytes for file in files)
    if as_json:
        print_json({"n_files": len(files), "n_bytes": n_bytes, "files": [file.key for file in files]})
        return
    for file in files:
        say(f"{file.n_bytes:>14,}  {file.key}")
    say(f"{len(files):,} files, {n_bytes:,} bytes")
