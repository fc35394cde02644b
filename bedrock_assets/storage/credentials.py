"""
AWS credentials as boto3 finds them, for the two libraries that read and write the store.

boto3 knows the chain (variables, profile, SSO, an assumed role, web identity, container, instance) and renews what
expires. obstore and polars are told when to ask it again, so that neither signs with credentials of the past.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from obstore.store import S3Credential


OpenSession = Callable[[], Any]
"""Opens a boto3 session."""
NONE_FOUND = "no AWS credentials are found; log in (`aws sso login`), or set AWS_PROFILE or keys"


def open_session(profile_name: str | None = None) -> Any:
    """
    A boto3 session of a profile, or of the ordinary settings.

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
    The credentials of a boto3 session, current whenever they are asked for.

    Raises:
        StoreError: There are none.
    """

    def __init__(self, session: Any) -> None:
        try:
            self._source = session.get_credentials()
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"AWS credentials cannot be had: {error}") from error
        if self._source is None:
            raise StoreError(NONE_FOUND)

    def for_obstore(self) -> "S3Credential":
        """As obstore takes them; it asks again five minutes before they expire."""
        key, secret, token = self._frozen()
        return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": self._expires_at()}

    def for_polars(self) -> tuple[dict[str, str], int | None]:
        """
        As polars takes them, with the second of the epoch after which it is to ask again.

        polars would use them up to the moment they expire, also for requests that arrive after it: it is told of half
        of the time that is left.
        """
        key, secret, token = self._frozen()
        told = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        if token:
            told["aws_session_token"] = token
        expires_at, now = self._expires_at(), datetime.now(UTC)
        return told, int((now + (expires_at - now) / 2).timestamp()) if expires_at else None

    def _frozen(self) -> tuple[str, str, str | None]:
        """Key, secret and token that belong together, renewed if they expire soon."""
        try:
            found = self._source.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError) as error:  # the last where the new ones are over already
            raise OSError(f"AWS credentials cannot be renewed: {error}") from error
        return found.access_key, found.secret_key, found.token or None

    def _expires_at(self) -> datetime | None:
        # botocore has it nowhere else; polars reads it there too.
        found = getattr(self._source, "_expiry_time", None)
        return found.astimezone(UTC) if isinstance(found, datetime) else None


class PolarsCredentials:
    """
    A provider for polars, which keeps connections by the bytes of a pickled provider.

    One that cannot be pickled goes by its address, where another one may stand later, with other credentials.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._serial = secrets.token_hex(16)

    def __call__(self) -> tuple[dict[str, str], int | None]:
        return self._credentials.for_polars()

    def __getstate__(self) -> dict[str, str]:
        return {"_serial": self._serial}
