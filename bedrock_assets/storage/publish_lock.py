"""
The right to publish a table of many files, of which only one process at a time may move any.

Whoever begins to build notes who had the right. It is taken only from that one: of two that build at once the second
fails before it has touched anything. A build that begins later may take it at any time, also from one that was killed;
the older one looks before each file that it moves, and stops.
"""

import secrets
from collections.abc import Generator
from contextlib import contextmanager

from bedrock_assets.errors import StoreConflict, StoreError
from bedrock_assets.storage.store import Store


class PublishLock:
    """
    The right, as it was when the build began, and then ours.

    Args:
        what: The asset that is published, for messages.
    """

    def __init__(self, store: Store, key: str, what: str) -> None:
        self._store, self._key, self._what = store, key, what
        self._version = store.version(key)

    def take(self) -> None:
        """
        Raises:
            StoreConflict: Another build has taken it since this one began.
        """
        token = f'{{"claim": "{secrets.token_hex(16)}"}}'
        try:
            self._store.replace(self._key, token.encode(), self._version)
        except StoreConflict as error:
            raise self._lost() from error
        self._version = self._store.version(self._key)

    def hold(self) -> None:
        """
        Raises:
            StoreConflict: Another build has taken it; it puts right what this one has moved.
        """
        if self._store.version(self._key) != self._version:
            raise self._lost()

    @contextmanager
    def explained(self) -> Generator[None]:
        """
        Files that are gone while the block runs, because another build has taken the right, are told as that.

        Raises:
            StoreConflict: Another build has taken it.
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
            f"{self._what} was taken over by another run while this one was at work, and is as that one leaves it; "
            "materialize it again when that one has ended, if answers came since"
        )
