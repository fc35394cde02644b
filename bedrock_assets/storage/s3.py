"""One connection to S3 for all libraries that read and write the store: obstore, polars, boto3 and Delta."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from obstore.store import S3Store

from bedrock_assets.audit import Effect, announced
from bedrock_assets.config.job_settings import require_key
from bedrock_assets.errors import ConfigError
from bedrock_assets.storage.credentials import Credentials, OpenSession, PolarsCredentials, open_session

_ENDPOINT = "AWS_ENDPOINT_URL_S3"
MAX_COPY_BYTES = 5 * 1024**3
"""The largest object that S3 copies in one request."""
COPY_PART_BYTES = 1024**3
_CHANGED = (404, 412)
"""HTTP status codes: not found, and precondition failed."""
_AWS_OWN = re.compile(r"https://s3(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class Connection:
    """
    Where a store in S3 is, and how to reach it; the arguments are those of `Store`.

    Raises:
        ConfigError: The environment names another endpoint, which obstore and polars would prefer, so files would go to
            a server that the settings do not name. Or the key is not the ARN of a KMS key.
    """

    url: str
    region: str | None
    endpoint_url: str | None
    kms_key_arn: str | None = None
    open_session: OpenSession = field(default=open_session, compare=False)

    def __post_init__(self) -> None:
        other = os.environ.get(_ENDPOINT)
        if self.endpoint_url and other and other != self.endpoint_url:
            raise ConfigError(
                f"store {self.url!r}: its endpoint_url is {self.endpoint_url!r}, but {_ENDPOINT} in the environment is "
                f"{other!r}; unset one of them"
            )
        require_key(self.kms_key_arn)

    @cached_property
    def objects(self) -> S3Store:
        """obstore's store for the bucket and prefix."""
        config: dict[str, Any] = {"region": self._region} if self._region else {}
        if self._endpoint:
            config |= {"endpoint": self._endpoint, "virtual_hosted_style_request": False}
        if self.kms_key_arn:
            config |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": self.kms_key_arn}
            config |= {"sse_bucket_key_enabled": True}  # one call to KMS instead of thousands
        return S3Store.from_url(
            self.url, credential_provider=self._credentials, client_options={"allow_http": True}, **config
        )

    @cached_property
    def client(self) -> Any:
        """boto3's client, for what obstore cannot do: list keys that are not paths, and copy on a condition."""
        try:
            return self._session.client("s3", region_name=self.region, endpoint_url=self.endpoint_url)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"store {self.url!r}: {error}") from error

    def walk(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of each object below the folder *prefix*, with any kind of key."""
        start, root = self.full_key(f"{prefix}/"), self.full_key("")
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(root), entry["Size"], entry["LastModified"]

    def copy(self, source: str, target: str, etag: str | None = None, *, part_bytes: int = COPY_PART_BYTES) -> bool:
        """
        Copy an object within the bucket, in parts if it is larger than *part_bytes*.

        Args:
            etag: Copy only if the source still has this one.

        Returns:
            Whether it was copied.
        """
        from boto3.s3.transfer import TransferConfig

        extra = {"CopySourceIfMatch": f'"{etag}"'} if etag else {}
        if self.kms_key_arn:
            extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_arn}
        parts = TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=part_bytes)
        origin = {"Bucket": self.bucket, "Key": self.full_key(source)}
        with announced(Effect.MOVE, target):
            return _unless_changed(
                lambda: self.client.copy(origin, self.bucket, self.full_key(target), ExtraArgs=extra, Config=parts)
            )

    def delete(self, key: str, etag: str) -> bool:
        """Delete an object if it still has this *etag*; returns whether it was deleted."""
        with announced(Effect.DELETE, key):
            return _unless_changed(
                lambda: self.client.delete_object(Bucket=self.bucket, Key=self.full_key(key), IfMatch=f'"{etag}"')
            )

    def key_of(self, key: str) -> str | None:
        """The KMS key that an object is encrypted with; None for S3's own encryption."""
        return self.client.head_object(Bucket=self.bucket, Key=self.full_key(key)).get("SSEKMSKeyId")

    @cached_property
    def polars(self) -> dict[str, Any]:
        """Arguments for polars's scans."""
        provider = PolarsCredentials(self._credentials)
        return {"storage_options": self._options or None, "credential_provider": provider}

    @cached_property
    def delta(self) -> dict[str, str]:
        """Storage options for the Delta library, which finds and renews credentials itself."""
        options = {name.upper(): value for name, value in self._options.items()}
        if self.kms_key_arn:
            options |= {"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": self.kms_key_arn}
        return options

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.url.removeprefix("s3://").partition("/")[0]

    def full_key(self, key: str) -> str:
        """A key of the store with the store's prefix, as it is in the bucket."""
        prefix = self.url.removeprefix("s3://").partition("/")[2].strip("/")
        return f"{prefix}/{key}" if prefix else key

    @cached_property
    def _session(self) -> Any:
        return self.open_session()

    @cached_property
    def _credentials(self) -> Credentials:
        return Credentials(self._session)

    @cached_property
    def _region(self) -> str | None:
        return self.region or self._session.region_name

    @cached_property
    def _options(self) -> dict[str, str]:
        options = {"aws_region": self._region, "aws_endpoint_url": self._endpoint}
        if self._endpoint and self._endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
        return {name: value for name, value in options.items() if value}

    @cached_property
    def _endpoint(self) -> str | None:
        """An endpoint that is not AWS's own, from our settings, the environment or the profile."""
        url = self.endpoint_url or self.client.meta.endpoint_url
        return None if _AWS_OWN.fullmatch(url) else url


def _unless_changed(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in _CHANGED:
            raise
        return False
    return True
