"""
The right to publish a table of many files, or to write to a sink; only one process at a time may do so.

A build notes who has the right when it starts, and takes it only from that holder: of two builds at once, the second
fails before it changes anything. A build that starts later may take the right at any time, also from a killed build.
The older build checks before each file that it moves, and stops.
"""

import secrets
from collections.abc import Generator
from contextlib import contextmanager

from bedrock_assets.errors import StoreConflict, StoreError
from bedrock_assets.storage.store import Store


class PublishLock:
    """
    The right to publish, first as it was when the build started, then ours.

    Args:
        what: The published asset, for messages.
    """

    def __init__(self, store: Store, key: str, what: str) -> None:
        self._store, self._key, self._what = store, key, what
        self._version = store.version(key)

    def take(self) -> None:
        """
        Take the right.

        Raises:
            StoreConflict: Another build has taken it since this one started.
        """
        token = f'{{"claim": "{secrets.token_hex(16)}"}}'
        try:
            self._store.replace(self._key, token.encode(), self._version)
        except StoreConflict as error:
            raise self._lost() from error
        self._version = self._store.version(self._key)

    def hold(self) -> None:
        """
        Check that the right is still ours.

        Raises:
            StoreConflict: Another build has taken it, and will replace what this one has moved.
        """
        if self._store.version(self._key) != self._version:
            raise self._lost()

    @contextmanager
    def explained(self) -> Generator[None]:
        """
        Explain store errors in the block that come from another build's taking the right.

        Raises:
            StoreConflict: Another build has taken the right.
        """
        try:
            yield
        except StoreConflict:
            raise
        except StoreError as error:
            if self._store.version(self._key) != self._version:
                raise self._lost() from error
            raise

    def _lost(self) -> StoreConflict:
        return StoreConflict(
            f"{self._what} was taken over by another run while this one was working, so what is there is that run's; "
            "if there are new answers, materialize it again when that run has ended"
        )
