"""
Buckets: `s3://bucket/key` as an obstore store and a path in it.

A local folder holds one folder per bucket. A root of `s3://` is real S3, configured as for AWS SDKs
(`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, keys). After `Buckets.store` there is one code path.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

BucketStore: TypeAlias = LocalStore | S3Store

WRITE_BUFFER_BYTES = 5 * 1024 * 1024
"""The smallest part of a multipart upload that S3 accepts; twenty jobs may write at once."""


class StorageError(Exception):
    """A bucket or an object cannot be reached; the text becomes a job's `message`."""


@dataclass(frozen=True)
class Location:
    """A bucket and a key in it."""

    bucket: str
    key: str
    """Without slashes at either end; empty for the bucket itself."""

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def join(self, name: str) -> "Location":
        """The location *name* under this one."""
        return Location(self.bucket, f"{self.key}/{name}".lstrip("/"))


def locate(uri: str) -> Location:
    """
    Split an S3 URI.

    Raises:
        ValueError: A segment is `.` or `..`, which could lead out of the bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if any(segment in (".", "..") for segment in (bucket, *key.split("/"))):
        raise ValueError(f"{uri} has a relative path segment")
    return Location(bucket, key.strip("/"))


class Buckets:
    """Opens buckets under one root: a folder that holds one folder per bucket, or `s3://` for real S3."""

    def __init__(self, root: str) -> None:
        self._folder = None if root.startswith("s3://") else Path(root).resolve()
        self._open: dict[str, BucketStore] = {}

    def store(self, bucket: str) -> BucketStore:
        """
        The store of a bucket.

        Raises:
            StorageError: There is no such bucket.
        """
        if bucket not in self._open:
            self._open[bucket] = _s3(bucket) if self._folder is None else _local(self._folder, bucket)
        return self._open[bucket]

    def check_output(self, location: Location) -> None:
        """
        Check that output can be written under *location*.

        Raises:
            StorageError: The bucket does not exist or cannot be listed.
        """
        try:
            next(list_objects(self.store(location.bucket), location.key), None)
        except (BaseError, StorageError, OSError):
            raise StorageError(
                f"Could not validate PutObject permissions to access S3 bucket: {location.bucket}. "
                "Check that the bucket exists and that the role may write to it."
            ) from None


def list_objects(store: BucketStore, prefix: str) -> Iterator[tuple[str, int]]:
    """Path and bytes of each object under the folder *prefix*; an empty one is the whole bucket."""
    for page in obstore.list(store, prefix or None):  # pyright: ignore[reportUnknownMemberType] - arrow is optional
        for meta in page:
            yield meta["path"], meta["size"]


def _s3(bucket: str) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not endpoint:
        return S3Store(bucket, region=region)
    plain = endpoint.startswith("http://")
    return S3Store(bucket, endpoint=endpoint, region=region, client_options={"allow_http": plain})


def _local(root: Path, bucket: str) -> LocalStore:
    folder = (root / bucket).resolve()
    if folder.parent != root or not folder.is_dir():
        raise StorageError(f"The specified bucket does not exist: {bucket}")
    return LocalStore(folder)
