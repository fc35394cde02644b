"""
The store: a local folder or an `s3://bucket/prefix`, behind the same calls.

Writes are atomic for readers: a file appears under its key complete or not at all. Keys cannot point outside the store,
and match the pattern that Bedrock accepts in S3 URIs.
"""

import json
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import obstore
import polars as pl
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import LocalStore, ObjectStore
from polars.exceptions import PanicException, PolarsError
from pydantic import BaseModel, ValidationError

from bedrock_assets.audit import Effect, announce, announced
from bedrock_assets.errors import (
    BrokenFile,
    ConfigError,
    StoreConflict,
    StoreError,
    describe_validation_error,
    first_line,
)
from bedrock_assets.storage.credentials import OpenSession, open_session
from bedrock_assets.storage.keys import cure_of
from bedrock_assets.storage.objects import (
    READ_BYTES,
    content_of,
    cut_at_newlines,
    replace,
    streamed,
    version_of,
    walk,
)
from bedrock_assets.storage.s3 import MAX_COPY_BYTES, Connection

Model = TypeVar("Model", bound=BaseModel)

FACTS = "bedrock_assets"
"""Key of our entry in a Parquet file's metadata."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_KEY = re.compile(r"(?!.*\.\.)(?!(.*/)?\.(/|$))[-!_*'().a-z0-9A-Z]+(/[-!_*'().a-z0-9A-Z]+)*")


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: its key, size in bytes, and time of the last write."""

    key: str
    n_bytes: int
    modified_at: datetime


@dataclass(frozen=True)
class Store:
    """
    Files under one URL.

    Args:
        url: `s3://bucket/prefix`, or a local folder whose last name is used as the bucket name.
        region: AWS Region of the bucket; by default from the usual AWS settings.
        endpoint_url: S3 endpoint, if not AWS's own.
        kms_key_arn: Encrypt S3 objects with this key; by default the bucket's encryption.
        bucket_owner: Account that must own the bucket; Bedrock checks it.
        open_session: Opens the boto3 session to take credentials from.
    """

    url: str
    region: str | None = None
    endpoint_url: str | None = None
    kms_key_arn: str | None = None
    bucket_owner: str | None = None
    open_session: OpenSession = field(default=open_session, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder on this machine."""
        return not self.url.startswith("s3://")

    @cached_property
    def root(self) -> str:
        """Absolute folder, or `s3://bucket/prefix` without a trailing slash."""
        return str(Path(self.url).expanduser().resolve()) if self.is_local else self.url.rstrip("/")

    def uri(self, key: str) -> str:
        """
        The `s3://` URI that Bedrock uses for *key*. A local folder's name is used as the bucket name.

        Raises:
            ConfigError: The local folder's name is not a valid bucket name.
        """
        if not self.is_local:
            return f"{self.root}/{_check_key(key)}"
        bucket = Path(self.root).name
        if not BUCKET.fullmatch(bucket):
            raise ConfigError(
                f"store {self.root!r}: its last folder is used as the bucket, but {bucket!r} is not a bucket name; "
                "use 3 to 63 lower-case letters, digits, dots or hyphens"
            )
        return f"s3://{bucket}/{_check_key(key)}"

    def path(self, key: str) -> str:
        """The absolute path or S3 URL of *key*, for polars and other readers."""
        return f"{self.root}/{_check_key(key)}"

    def get(self, key: str) -> bytes:
        """
        The content of a file.

        Raises:
            StoreError: There is no such file, or it cannot be read.
        """
        with self._errors("read", key):
            return bytes(obstore.get(self._objects, _check_key(key)).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write a small file."""
        with self._errors("write", key), announced(Effect.WRITE, key):
            obstore.put(self._objects, _check_key(key), content)

    def replace(self, key: str, content: bytes, version: str | None) -> None:
        """
        Write a small file, if it is still at *version*.

        Args:
            version: As returned by `version`; None if there was no file.

        Raises:
            StoreConflict: Another process has written the file; it stays as it is.
        """
        with self._errors("write", key):
            folder = (Path(self.root) / _check_key(key)).parent if self.is_local else None
            if not replace(self._objects, _check_key(key), content, version, folder):
                raise self._conflict(key)

    def require_version(self, key: str, version: str | None) -> None:
        """
        Check that a file is still at *version*.

        Raises:
            StoreConflict: Another process has written it.
        """
        if self.version(key) != version:
            raise self._conflict(key)

    def version(self, key: str) -> str | None:
        """An id of a file's current content; None if there is no file."""
        with self._errors("read", key):
            return version_of(self._objects, _check_key(key))

    def read_model(self, key: str, model: type[Model]) -> Model | None:
        """
        The JSON document at *key*; None if there is none.

        Raises:
            BrokenFile: The file is not such a document.
            StoreError: It cannot be read.
        """
        with self._errors("read", key):
            content = content_of(self._objects, _check_key(key))
        try:
            return None if content is None else model.model_validate_json(content)
        except ValidationError as error:
            raise BrokenFile(
                f"{self.path(key)} is not a {model.__name__}: {describe_validation_error(error)}{cure_of(key)}"
            ) from error

    def read_intact(self, key: str, model: type[Model]) -> Model | None:
        """As `read_model`, and None for a broken file, which whoever writes the document replaces."""
        with suppress(BrokenFile):
            return self.read_model(key, model)
        return None

    def write_model(self, key: str, document: BaseModel) -> None:
        """Write *document* as indented JSON."""
        self.put(key, _json(document))

    def replace_model(self, key: str, document: BaseModel, version: str | None) -> None:
        """Write *document* as indented JSON, if the file is still at *version*; see `replace`."""
        self.replace(key, _json(document), version)

    def exists(self, key: str) -> bool:
        """Whether there is a file at *key*."""
        return self.version(key) is not None

    def size(self, key: str) -> int:
        """Bytes in the file at *key*."""
        with self._errors("read", key):
            return obstore.head(self._objects, _check_key(key))["size"]

    def files(self, prefix: str) -> list[StoredFile]:
        """All files below the folder *prefix*, sorted by key, without files whose keys could not be ours."""
        with self._errors("list", prefix):
            try:
                pages = obstore.list(self._objects, prefix=_check_key(prefix))
                files = [StoredFile(m["path"], m["size"], m["last_modified"]) for page in pages for m in page]
            except InvalidPathError:
                # obstore fails if one of the keys is not a path, for example has a newline or `..` in it.
                entries = walk(Path(self.root), prefix) if self.is_local else self.s3.walk(prefix)
                files = [StoredFile(*entry) for entry in entries]
            return sorted((file for file in files if _KEY.fullmatch(file.key)), key=lambda file: file.key)

    def folders(self) -> list[str]:
        """Names of the folders at the top, sorted."""
        with self._errors("list", "folders"):
            return sorted(obstore.list_with_delimiter(self._objects)["common_prefixes"])

    def delete(self, keys: list[str]) -> None:
        """Delete files; missing ones are ignored."""
        with self._errors("delete", ", ".join(keys[:3])):
            for key in keys:
                with suppress(FileNotFoundError), announced(Effect.DELETE, key):
                    obstore.delete(self._objects, _check_key(key))

    def move(self, source: str, target: str) -> None:
        """Move *source* to *target*, replacing what is there."""
        with self._errors("write", target), announced(Effect.MOVE, target):
            try:
                obstore.rename(self._objects, _check_key(source), _check_key(target))
            except BaseError:
                if self.is_local or self.size(source) <= MAX_COPY_BYTES:
                    raise
                self.s3.copy(source, target)
                obstore.delete(self._objects, source)

    def copy(self, source: str, target: str) -> None:
        """Copy *source* to *target*; the copy is as new as now, and appears whole. In a folder it takes no space."""
        with self._errors("write", target), announced(Effect.WRITE, target):
            try:
                obstore.copy(self._objects, _check_key(source), _check_key(target))
            except BaseError:
                if self.is_local or self.size(source) <= MAX_COPY_BYTES:
                    raise
                self.s3.copy(source, target)
            if self.is_local:  # where it is the same file under a second name
                os.utime(self.path(target))

    @contextmanager
    def writer(self, key: str) -> Generator[IO[bytes]]:
        """A file to write as a stream. It appears when the block ends; after an exception it does not."""
        with self._errors("write", key), streamed(self._objects, _check_key(key)) as file:
            yield file

    def chunks(self, key: str) -> Generator[bytes]:
        """The content of *key* in blocks of about 8 MB that end after a newline; a longer line is one block."""
        with self._errors("read", key):
            blocks = obstore.get(self._objects, _check_key(key)).stream(min_chunk_size=READ_BYTES)
            for lines in cut_at_newlines(bytes(block) for block in blocks):
                announce(Effect.READ, "during", key)
                yield lines

    def scan_parquet(self, keys: Sequence[str]) -> pl.LazyFrame:
        """The Parquet files at *keys* as one lazy frame, in this order."""
        return pl.scan_parquet([self.path(key) for key in keys], **self._polars)

    def read_parquet(
        self,
        keys: str | Sequence[str],
        query: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda rows: rows,
        *,
        streaming: bool = False,
    ) -> pl.DataFrame:
        """
        Rows of one or several Parquet files.

        Args:
            query: What to read of all rows, in order; by default everything.
            streaming: Whether rows are many and the result is small, so that they are never in memory at once.

        Raises:
            BrokenFile: A file is cut or damaged.
            StoreError: There is no such file.
        """
        keys = [keys] if isinstance(keys, str) else keys
        try:
            with self._errors("read", ", ".join(keys[:3])):
                return query(self.scan_parquet(keys)).collect(engine="streaming" if streaming else "auto")
        except (PolarsError, PanicException) as error:
            broken = next((key for key in keys if not self.is_parquet(key)), keys[0])
            raise self._broken(broken, error) from error

    def is_parquet(self, key: str, n_bytes: int | None = None) -> bool:
        """
        Whether there is a whole Parquet file at *key*.

        Args:
            n_bytes: Its size; without it only the file's own footer is checked.
        """
        return self.intact_facts(key) is not None and n_bytes in (None, self.size(key))

    def is_lines(self, key: str, n_bytes: int) -> bool:
        """Whether there is a text file of that size at *key*, which ends in a newline unless it is empty."""
        if not self.exists(key) or self.size(key) != n_bytes:
            return False
        with self._errors("read", key):
            last = obstore.get_range(self._objects, _check_key(key), start=n_bytes - 1, end=n_bytes) if n_bytes else b""
        return n_bytes == 0 or bytes(last) == b"\n"

    def parquet_facts(self, key: str) -> dict[str, str]:
        """
        Our entry in a Parquet file's metadata; empty if there is none.

        Raises:
            BrokenFile: The file is cut or damaged.
            StoreError: There is no such file.
        """
        try:
            with self._errors("read", key):
                metadata = pl.read_parquet_metadata(self.path(key), **self._polars)
        except (PolarsError, PanicException) as error:
            raise self._broken(key, error) from error
        return json.loads(metadata.get(FACTS, "{}"))

    def intact_facts(self, key: str) -> dict[str, Any] | None:
        """As `parquet_facts`; None if there is no file, or a broken one, which whoever writes the file replaces."""
        with suppress(BrokenFile):
            return self.parquet_facts(key) if self.exists(key) else None
        return None

    @cached_property
    def s3(self) -> Connection:
        """The connection of a store in S3."""
        return Connection(self.root, self.region, self.endpoint_url, self.kms_key_arn, self.open_session)

    @property
    def _polars(self) -> dict[str, Any]:
        return {} if self.is_local else self.s3.polars

    @cached_property
    def _objects(self) -> ObjectStore:
        if not self.is_local:
            return self.s3.objects
        try:
            return LocalStore(self.root, mkdir=True)
        except (OSError, BaseError) as error:
            raise StoreError(f"store {self.root!r} cannot be created or opened: {error}") from error

    def _conflict(self, key: str) -> StoreConflict:
        return StoreConflict(f"{self.path(key)} was written by another process in the meantime; run this again")

    def _broken(self, key: str, error: BaseException) -> BrokenFile:
        return BrokenFile(f"{self.path(key)} cannot be read, it is cut or damaged: {first_line(error)}{cure_of(key)}")

    @contextmanager
    def _errors(self, verb: str, key: str) -> Generator[None]:
        try:
            yield
        except (BaseError, OSError, BotoCoreError, ClientError) as error:
            cure = cure_of(key) if verb == "read" and isinstance(error, FileNotFoundError) else ""
            raise StoreError(f"cannot {verb} {key!r} in store {self.root!r}: {first_line(error)}{cure}") from error


def _json(document: BaseModel) -> bytes:
    return document.model_dump_json(indent=2).encode()


def _check_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StoreError(f"key {key!r} would leave the store or break Bedrock's S3 URI pattern; nothing was changed")
    return key
