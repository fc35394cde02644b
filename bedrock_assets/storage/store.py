"""
The store: a local folder or an `s3://bucket/prefix`, behind the same calls.

Writes are atomic for a reader: a file appears under its key whole or not at all. Keys never leave the store, and
obey the pattern that Bedrock accepts in S3 URIs.
"""

import json
import re
from collections.abc import Generator, Sequence
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
from polars.exceptions import PolarsError
from pydantic import BaseModel, ValidationError

from bedrock_assets.audit import Effect, announce, announced
from bedrock_assets.errors import ConfigError, StoreConflict, StoreError
from bedrock_assets.storage.credentials import OpenSession, open_session
from bedrock_assets.storage.local import walk
from bedrock_assets.storage.objects import READ_BYTES, content_of, cut, replace, streamed, version_of
from bedrock_assets.storage.s3 import MAX_COPY_BYTES, Connection

Model = TypeVar("Model", bound=BaseModel)

FACTS = "bedrock_assets"
"""Under this name a Parquet file's metadata says what the file belongs to."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_KEY = re.compile(r"(?!.*\.\.)(?!(.*/)?\.(/|$))[-!_*'().a-z0-9A-Z]+(/[-!_*'().a-z0-9A-Z]+)*")


@dataclass(frozen=True)
class StoredFile:
    """A key in the store, its size in bytes, and when it was written."""

    key: str
    n_bytes: int
    modified_at: datetime


@dataclass(frozen=True)
class Store:
    """
    Files under one URL.

    Args:
        url: A local folder, whose last name stands for the bucket, or `s3://bucket/prefix`.
        region: AWS Region of the bucket; without it the ordinary AWS settings decide.
        endpoint_url: S3 endpoint other than AWS's own.
        kms_key_arn: In S3, what is written is encrypted under this key; without it as the bucket says.
        bucket_owner: Account that the bucket has to belong to; Bedrock looks.
        open_session: Opens the boto3 session whose credentials are used.
    """

    url: str
    region: str | None = None
    endpoint_url: str | None = None
    kms_key_arn: str | None = None
    bucket_owner: str | None = None
    open_session: OpenSession = field(default=open_session, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder of this machine."""
        return not self.url.startswith("s3://")

    @cached_property
    def root(self) -> str:
        """Absolute folder, or `s3://bucket/prefix` without a slash at the end."""
        return str(Path(self.url).expanduser().resolve()) if self.is_local else self.url.rstrip("/")

    def uri(self, key: str) -> str:
        """
        The `s3://` URI by which Bedrock knows *key*. A local folder's name is its bucket.

        Raises:
            ConfigError: The local folder's name is no bucket name.
        """
        if not self.is_local:
            return f"{self.root}/{_checked(key)}"
        bucket = Path(self.root).name
        if not BUCKET.fullmatch(bucket):
            raise ConfigError(
                f"store {self.root!r}: its last folder stands for an S3 bucket, but {bucket!r} is no bucket name; "
                "use 3 to 63 lower-case letters, digits, dots or hyphens"
            )
        return f"s3://{bucket}/{_checked(key)}"

    def path(self, key: str) -> str:
        """Where polars and other readers find *key*: an absolute path or an S3 URL."""
        return f"{self.root}/{_checked(key)}"

    def get(self, key: str) -> bytes:
        """
        Raises:
            StoreError: There is no such file, or it cannot be read.
        """
        with self._errors("read", key):
            return bytes(obstore.get(self._objects, _checked(key)).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write a small file whole."""
        with self._errors("write", key), announced(Effect.WRITE, key):
            obstore.put(self._objects, _checked(key), content)

    def replace(self, key: str, content: bytes, version: str | None) -> None:
        """
        Write a small file whole, if nobody has written it since it was at *version*.

        Args:
            version: As `version` gave it; None: there was no file.

        Raises:
            StoreConflict: Somebody has; what is there stays.
        """
        with self._errors("write", key):
            folder = (Path(self.root) / _checked(key)).parent if self.is_local else None
            if not replace(self._objects, _checked(key), content, version, folder):
                raise StoreConflict(f"{self.path(key)} was written by another process meanwhile")

    def require_version(self, key: str, version: str | None) -> None:
        """
        Raises:
            StoreConflict: Somebody has written the file since it was at *version*.
        """
        if self.version(key) != version:
            raise StoreConflict(f"{self.path(key)} was written by another process meanwhile")

    def version(self, key: str) -> str | None:
        """What tells the present content of a file from all later ones, None where there is none."""
        with self._errors("read", key):
            return version_of(self._objects, _checked(key))

    def read_model(self, key: str, model: type[Model]) -> Model | None:
        """The JSON document at *key*, or None where there is none."""
        with self._errors("read", key):
            content = content_of(self._objects, _checked(key))
        try:
            return None if content is None else model.model_validate_json(content)
        except ValidationError as error:
            raise StoreError(f"{self.path(key)} is not a {model.__name__}: {error}") from error

    def write_model(self, key: str, document: BaseModel) -> None:
        """Write *document* as JSON, indented, so that a person can read it."""
        self.put(key, _json(document))

    def replace_model(self, key: str, document: BaseModel, version: str | None) -> None:
        """The same, if nobody has written it since it was at *version*; see `replace`."""
        self.replace(key, _json(document), version)

    def exists(self, key: str) -> bool:
        """Whether there is a file at *key*."""
        with self._errors("read", key):
            try:
                obstore.head(self._objects, _checked(key))
            except FileNotFoundError:
                return False
            return True

    def size(self, key: str) -> int:
        """Bytes of the file at *key*."""
        with self._errors("read", key):
            return obstore.head(self._objects, _checked(key))["size"]

    def files(self, prefix: str) -> list[StoredFile]:
        """All files below the folder *prefix*, sorted by key; those of others, whose keys are none of ours, are not."""
        with self._errors("list", prefix):
            try:
                pages = obstore.list(self._objects, prefix=_checked(prefix))
                found = [StoredFile(m["path"], m["size"], m["last_modified"]) for page in pages for m in page]
            except InvalidPathError:
                # It gives up where one of the keys is no path, such as one with a newline or `..` in it.
                all_keys = walk(Path(self.root), prefix) if self.is_local else self.s3.walk(prefix)
                found = [StoredFile(*each) for each in all_keys]
            return sorted((file for file in found if _KEY.fullmatch(file.key)), key=lambda file: file.key)

    def delete(self, keys: list[str]) -> None:
        """Delete files; one that is gone already is no error."""
        with self._errors("delete", ", ".join(keys[:3])):
            for key in keys:
                with suppress(FileNotFoundError), announced(Effect.DELETE, key):
                    obstore.delete(self._objects, _checked(key))

    def move(self, source: str, target: str) -> None:
        """Publish *source* under *target*, replacing what is there."""
        with self._errors("write", target), announced(Effect.MOVE, target):
            try:
                obstore.rename(self._objects, _checked(source), _checked(target))
            except BaseError:
                if self.is_local or self.size(source) <= MAX_COPY_BYTES:
                    raise
                self.s3.copy(source, target)
                obstore.delete(self._objects, source)

    @contextmanager
    def writer(self, key: str) -> Generator[IO[bytes]]:
        """A file that is written as a stream and appears when the block ends; after an exception it does not."""
        with self._errors("write", key), streamed(self._objects, _checked(key)) as file:
            yield file

    def chunks(self, key: str) -> Generator[bytes]:
        """The content of *key*, cut after newlines, some 8 MB a piece; one longer line is a piece of its own."""
        with self._errors("read", key):
            blocks = obstore.get(self._objects, _checked(key)).stream(min_chunk_size=READ_BYTES)
            for piece in cut(bytes(block) for block in blocks):
                announce(Effect.READ, "during", key)
                yield piece

    def scan_parquet(self, keys: Sequence[str]) -> pl.LazyFrame:
        """The Parquet files at *keys* as one lazy frame, in that order."""
        return pl.scan_parquet([self.path(key) for key in keys], **self._polars)

    def read_parquet(self, key: str) -> pl.DataFrame:
        """
        One Parquet file, whole.

        Raises:
            StoreError: There is no such file, or it is no Parquet.
        """
        with self._errors("read", key):
            try:
                return self.scan_parquet([key]).collect()
            except PolarsError as error:
                raise OSError(str(error)) from error

    def parquet_facts(self, key: str) -> dict[str, str]:
        """
        What was written into a Parquet file's own metadata about the file, or nothing.

        Raises:
            StoreError: There is no such file, or it is no Parquet.
        """
        with self._errors("read", key):
            try:
                metadata = pl.read_parquet_metadata(self.path(key), **self._polars)
            except PolarsError as error:
                raise OSError(str(error)) from error
        return json.loads(metadata.get(FACTS, "{}"))

    @cached_property
    def s3(self) -> Connection:
        """How a store in S3 is reached."""
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

    @contextmanager
    def _errors(self, verb: str, key: str) -> Generator[None]:
        try:
            yield
        except (BaseError, OSError, BotoCoreError, ClientError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise StoreError(f"cannot {verb} {key!r} in store {self.root!r}: {reason}") from error


def _json(document: BaseModel) -> bytes:
    return document.model_dump_json(indent=2).encode()


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StoreError(f"key {key!r} would leave the store or break Bedrock's S3 URI pattern; nothing was touched")
    return key
