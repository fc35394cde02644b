"""
AWS credentials as boto3 finds them, for obstore and polars, which read and write the store.

boto3 knows the chain (variables, profile, SSO, an assumed role, web identity, container, instance) and renews what
expires, at least 10 minutes early. obstore and polars ask it again so often that they never sign with expired keys.
"""

import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from obstore.store import S3Credential


OpenSession = Callable[[], Any]
"""Opens a boto3 session."""
NO_CREDENTIALS = "no AWS credentials are found; log in (`aws sso login`), or set AWS_PROFILE or keys"
OBSTORE_TTL = timedelta(minutes=5)
"""obstore asks again 5 minutes before this is over, so before each request."""
POLARS_TTL_S = 2
"""polars uses keys until this is over, also for requests that arrive later."""


def open_session(profile_name: str | None = None) -> Any:
    """
    Open a boto3 session for a profile, or with the default settings.

    Raises:
        ConfigError: There is no such profile.
    """
    from boto3 import Session
    from botocore.exceptions import ProfileNotFound

    try:
        return Session(profile_name=profile_name)
    except ProfileNotFound as error:
        raise ConfigError(f"{error}; set AWS_PROFILE, or the store's profile_name, to one of your profiles") from error


class Credentials:
    """
    A provider for obstore: the current credentials of a boto3 session.

    Raises:
        StoreError: The session has no credentials.
    """

    def __init__(self, session: Any) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider  # imports boto3: 0.1 s that a local store does not need

        try:
            self._provider = Boto3CredentialProvider(session, ttl=OBSTORE_TTL)
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"cannot get AWS credentials: {error}") from error
        except ValueError as error:
            raise StoreError(NO_CREDENTIALS) from error

    def __call__(self) -> "S3Credential":
        try:
            return self._provider()
        except (BotoCoreError, ClientError, RuntimeError) as error:  # RuntimeError: the new ones have expired already
            raise OSError(f"AWS credentials cannot be renewed: {error}") from error


class PolarsCredentials:
    """
    A provider for polars: the same credentials under polars's names, and the Unix time at which to ask again.

    polars keeps connections by the bytes of the pickled provider. One that cannot be pickled goes by its address, where
    another provider with other credentials may be later.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._serial = secrets.token_hex(16)

    def __call__(self) -> tuple[dict[str, str], int]:
        keys = self._credentials()
        options = {"aws_access_key_id": keys["access_key_id"], "aws_secret_access_key": keys["secret_access_key"]}
        if token := keys.get("token"):
            options["aws_session_token"] = token
        return options, int(time.time()) + POLARS_TTL_S

    def __getstate__(self) -> dict[str, str]:
        return {"_serial": self._serial}
