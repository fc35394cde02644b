"""Objects of a bucket, or files of a folder, by obstore: writing on a condition, streams in and out."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore

from bedrock_assets.audit import Effect, announced
from bedrock_assets.storage.local import locked

if TYPE_CHECKING:
    from obstore import PutMode


PART_BYTES = 16 * 1024 * 1024
"""S3 takes 10,000 parts of a file: 168 GB, above the largest job that Bedrock is known to take."""
PARTS_AT_ONCE = 4
"""Under way at once; with the one that is being filled they are what a writer holds in memory."""
READ_BYTES = 8 * 1024 * 1024
"""Some are held and decoded at once, in several times their size."""


def content_of(objects: ObjectStore, key: str) -> bytes | None:
    """A small file, None where there is none."""
    try:
        return bytes(obstore.get(objects, key).bytes())
    except FileNotFoundError:
        return None


def version_of(objects: ObjectStore, key: str) -> str | None:
    """What tells the present content of a file from all later ones, None where there is none."""
    try:
        return obstore.head(objects, key)["e_tag"]
    except FileNotFoundError:
        return None


def replace(objects: ObjectStore, key: str, content: bytes, version: str | None, folder: Path | None) -> bool:
    """
    Write a small file if it is at a version still; whether it was written.

    Args:
        version: As `version_of` gave it, None: there was no file.
        folder: Where the file stands, if that is a folder, for which obstore knows no condition.
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
                # Not in parts, to which the condition would not apply.
                obstore.put(objects, key, content, mode=mode, use_multipart=False)
    except (AlreadyExistsError, PreconditionError):
        # A request that is sent again, because the answer to it was lost, meets what it has written itself.
        return content_of(objects, key) == content
    return True


@contextmanager
def streamed(objects: ObjectStore, key: str) -> Generator[IO[bytes]]:
    """A file that is written as a stream, and appears when the block ends; after an exception nothing is left."""
    file = obstore.open_writer(objects, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
    try:
        yield cast(IO[bytes], file)
        file.flush()  # parts that fail do so here, while the upload can still be given up
    except BaseException as error:
        # The parts that are there would be billed, and be seen by nobody who does not look for them.
        with suppress(BaseError, OSError):
            file.__exit__(type(error), error, error.__traceback__)
        raise
    with announced(Effect.WRITE, key):
        file.close()


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The content of an open file in pieces that are cut after newlines, which end with the line they reach into."""
    while block := file.read(READ_BYTES):
        yield block if block.endswith(b"\n") else block + file.readline()


def cut(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same of blocks as they arrive."""
    rest: list[bytes | memoryview] = []
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, memoryview(block)[:cut]])
            rest = []
        if cut < len(block):
            rest.append(block[cut:])
    if rest:
        yield b"".join(rest)
