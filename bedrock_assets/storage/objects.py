"""What obstore lacks for buckets and folders: conditional writes, streams that can be aborted, unusual names."""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore

from bedrock_assets.audit import Effect, announced

if TYPE_CHECKING:
    from obstore import PutMode


PART_BYTES = 16 * 1024 * 1024
"""S3 allows 10,000 parts per file: 168 GB, more than the largest known Bedrock job."""
PARTS_AT_ONCE = 4
"""Parts in upload at once; a writer holds these and the one being filled in memory."""
READ_BYTES = 8 * 1024 * 1024
"""Several blocks are held and decoded at once, which takes several times their size."""


def content_of(objects: ObjectStore, key: str) -> bytes | None:
    """The content of a small file; None if there is none."""
    try:
        return bytes(obstore.get(objects, key).bytes())
    except FileNotFoundError:
        return None


def version_of(objects: ObjectStore, key: str) -> str | None:
    """An id of a file's current content; None if there is no file."""
    try:
        return obstore.head(objects, key)["e_tag"]
    except FileNotFoundError:
        return None


def replace(objects: ObjectStore, key: str, content: bytes, version: str | None, folder: Path | None) -> bool:
    """
    Write a small file if it is still at a version.

    Args:
        version: As returned by `version_of`; None if there must be no file.
        folder: The file's folder, if the store is local; obstore has no conditional writes there.

    Returns:
        Whether the file has this content now.
    """
    try:
        if folder:
            with locked(folder):
                if version_of(objects, key) != version:
                    return content_of(objects, key) == content
                with announced(Effect.WRITE, key):
                    obstore.put(objects, key, content)
        else:
            mode: PutMode = {"e_tag": version} if version else "create"
            with announced(Effect.WRITE, key):
                # The condition would not apply to an upload in parts.
                obstore.put(objects, key, content, mode=mode, use_multipart=False)
    except (AlreadyExistsError, PreconditionError):
        # If the response to a request was lost, its retry finds what the first try wrote.
        return content_of(objects, key) == content
    return True


@contextmanager
def streamed(objects: ObjectStore, key: str) -> Generator[IO[bytes]]:
    """A file to write as a stream. It appears when the block ends; after an exception nothing is left."""
    file = obstore.open_writer(objects, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
    try:
        yield cast(IO[bytes], file)
        file.flush()  # so that failed parts raise here, while the upload can still be aborted
    except BaseException as error:
        # Uploaded parts would be billed and hard to notice.
        with suppress(BaseError, OSError):
            file.__exit__(type(error), error, error.__traceback__)
        raise
    with announced(Effect.WRITE, key):
        file.close()


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The content of an open file that can seek, from its beginning, in blocks that end after a newline."""
    start = 0
    while True:
        # Where the block's last line ends is looked up first: to add its rest to the block would copy the block.
        file.seek(start + READ_BYTES - 1)
        file.readline()
        end = file.tell()
        file.seek(start)
        block = file.read(end - start)
        if not block.endswith(b"\n"):  # the last line, or a file that hands out fewer bytes than it is asked for
            block += file.readline()
        if not block:
            return
        yield block
        start += len(block)


def cut_at_newlines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of *blocks* in blocks that end after a newline."""
    rest: list[bytes | memoryview] = []
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, memoryview(block)[:end]])
            rest = []
        if end < len(block):
            rest.append(block[end:])
    if rest:
        yield b"".join(rest)


def walk(root: Path, prefix: str) -> Iterator[tuple[str, int, datetime]]:
    """Key, size and time of each file below the folder *prefix*; names that are not UTF-8 are skipped."""
    for folder, _folders, names in os.walk(root / prefix):
        for name in names:
            path = Path(folder, name)
            try:
                key, stat = path.relative_to(root).as_posix(), path.stat()
                key.encode()
            except (FileNotFoundError, UnicodeEncodeError):
                continue
            yield key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Lock *folder* against other processes of this machine; a killed process leaves no lock."""
    import fcntl  # only on Unix, as are local stores with several writers

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
