"""How the two libraries that read and write the store, obstore and polars, are pointed at S3."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from obstore.store import S3Store

from bedrock_assets.errors import ConfigError

_ENDPOINT = "AWS_ENDPOINT_URL_S3"


@dataclass(frozen=True)
class Connection:
    """
    Where a store in S3 is, and how it is reached.

    Args:
        url: `s3://bucket/prefix`.
        region: AWS Region of the bucket; without it the ordinary AWS settings decide.
        endpoint_url: S3 endpoint other than AWS's own.

    Raises:
        ConfigError: The environment names another endpoint. Both libraries prefer that one, so that files would be
            written to a server that the settings do not name.
    """

    url: str
    region: str | None
    endpoint_url: str | None

    def __post_init__(self) -> None:
        elsewhere = os.environ.get(_ENDPOINT)
        if self.endpoint_url and elsewhere and elsewhere != self.endpoint_url:
            raise ConfigError(
                f"store {self.url!r}: its endpoint_url is {self.endpoint_url!r}, but {_ENDPOINT} in the environment is "
                f"{elsewhere!r}; unset one of them"
            )

    def objects(self) -> S3Store:
        """The bucket for obstore, with boto3's chain of credentials."""
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider

        config: dict[str, Any] = {"region": self.region} if self.region else {}
        if self.endpoint_url:
            config |= {"endpoint": self.endpoint_url, "virtual_hosted_style_request": False}
        return S3Store.from_url(
            self.url,
            credential_provider=Boto3CredentialProvider(Session()),
            client_options={"allow_http": True},
            **config,
        )

    @cached_property
    def client(self) -> Any:
        """boto3's client, which lists keys as they are: obstore gives up where one of them is no path."""
        from boto3 import Session

        return Session().client("s3", region_name=self.region, endpoint_url=self.endpoint_url)

    def polars_options(self) -> dict[str, str]:
        """`storage_options` for polars' scans and sinks."""
        options = {"aws_region": self.region, "aws_endpoint_url": self.endpoint_url}
        if self.endpoint_url and self.endpoint_url.startswith("http://"):
            options["aws_allow_http"] = "true"
        return {name: value for name, value in options.items() if value}
