"""
The files in the folder of an inbox.

Anybody may put anything there, so names are read as they are, and links are not followed. A file is opened only if its
name cannot lead out of the folder.
"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import StoreError
from bedrock_assets.storage.store import Store

SUFFIX = ".jsonl"
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.jsonl")
"""Letters, digits, `_`, `-` and single `.`: no way out of a folder, and Bedrock, S3 and Dagster take them."""
_SHOWN_CHARS = 120


@dataclass(frozen=True)
class InboxFile:
    """One entry of the folder, as it was at a look."""

    name: str
    etag: str
    """Changes whenever the content changes."""
    n_bytes: int
    modified_at: datetime
    is_file: bool = True

    @property
    def key(self) -> str:
        """The name of its partition and of its folder."""
        return self.name.removesuffix(SUFFIX)

    @property
    def plain(self) -> str:
        """The name in printable ASCII, so that any name can be written to a log."""
        return ascii(self.name)[1:-1]

    @property
    def shown(self) -> str:
        """The same, cut to a length that people read."""
        return self.plain[:_SHOWN_CHARS]

    @property
    def revision(self) -> str:
        """Differs for every dropped file, also for the same content dropped again."""
        return hashlib.sha256(f"{self.etag} {self.modified_at.isoformat()}".encode()).hexdigest()[:16]

    @property
    def fault(self) -> str | None:
        """Why it is never opened; None if it may be."""
        if not self.is_file:
            return "it is not a file but a folder or a link; move the files that are in it up into the inbox's folder"
        if not self.name.endswith(SUFFIX):
            return f"its name does not end in {SUFFIX}"
        if not NAME.fullmatch(self.name):
            fitting = re.sub(r"[^A-Za-z0-9_-]+", "_", self.key).strip("_-")[:100] or "file"
            return (
                "its name may only have letters, digits, '_', '-' and single '.', 100 at most; rename it, for example "
                f"to {fitting}{SUFFIX}"
            )
        return None


def list_files(store: Store, folder: str) -> list[InboxFile]:
    """
    All entries of *folder*, the oldest first.

    Raises:
        StoreError: The folder cannot be listed; a folder that does not exist is empty.
    """
    try:
        files = list(_local(Path(store.path(folder))) if store.is_local else _remote(store, folder))
    except (OSError, BotoCoreError, ClientError) as error:
        raise StoreError(f"cannot list {folder!r} in store {store.root!r}: {error}") from error
    return sorted(files, key=lambda file: (file.modified_at, file.name))


def look(store: Store, folder: str, name: str) -> InboxFile | None:
    """
    The entry called *name* as it is now; None if it is gone.

    Raises:
        StoreError: It cannot be looked at.
    """
    try:
        file = _look(Path(store.path(folder)) / name) if store.is_local else next(_remote(store, folder, name), None)
    except (OSError, BotoCoreError, ClientError) as error:
        raise StoreError(f"cannot look at '{folder}/{name}' in store {store.root!r}: {error}") from error
    return file if file and file.name == name else None


def move_away(store: Store, folder: str, file: InboxFile, target: str) -> bool:
    """
    Move a drop to the key *target*, unless another file has taken its place; whether it was moved.

    Raises:
        StoreError: It cannot be moved.
    """
    source = f"{folder}/{file.name}"
    try:
        if not store.is_local:
            return store.s3.copy(source, target, file.etag) and store.s3.delete(source, file.etag)
        with announced(Effect.MOVE, target):
            return _take_from_folder(Path(store.path(source)), Path(store.path(target)), file)
    except (OSError, BotoCoreError, ClientError) as error:
        raise StoreError(f"cannot move {source!r} in store {store.root!r}: {error}") from error


def _take_from_folder(source: Path, target: Path, file: InboxFile) -> bool:
    current = _look(source)
    if current is None or not current.is_file:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        source.rename(aside)
    except FileNotFoundError:
        return False
    moved = _look(aside)
    if moved and moved.is_file and _content_of(moved) == _content_of(file):
        aside.replace(target)
        return True
    # Another file has taken its place since the look. It goes back, unless a third one has appeared by now.
    with suppress(FileExistsError):
        os.link(aside, source, follow_symlinks=False)
    aside.unlink()
    return False


def _content_of(file: InboxFile) -> tuple[str, ...]:
    """What a file's etag keeps when the file is renamed: not the time of its last change of name or permissions."""
    inode, modified, _changed, size = file.etag.split("-")
    return inode, modified, size


def _local(folder: Path) -> Iterator[InboxFile]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            files = [_look(Path(entry.path)) for entry in entries]
        yield from filter(None, files)


def _look(path: Path) -> InboxFile | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    # With the time of the last change of its permissions, as a file that becomes readable is worth another look.
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}"
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    is_file = stat.S_ISREG(status.st_mode)
    return InboxFile(path.name, etag if is_file else "", status.st_size if is_file else 0, modified_at, is_file)


def _remote(store: Store, folder: str, name: str = "") -> Iterator[InboxFile]:
    """Entries whose names begin with *name*; the one of that very name is the first."""
    bucket, _, prefix = store.uri(folder).removeprefix("s3://").partition("/")
    client: Any = store.s3.client
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/{name}", Delimiter="/")
    for page in pages:
        for entry in page.get("Contents", ()):
            file_name = entry["Key"].removeprefix(f"{prefix}/")
            if file_name:  # empty for the folder itself, as the console makes it
                yield InboxFile(file_name, entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])
        for entry in page.get("CommonPrefixes", ()):
            yield InboxFile(
                entry["Prefix"].removeprefix(f"{prefix}/"), "", 0, datetime.fromtimestamp(0, UTC), is_file=False
            )
