"""One output file of a job: streamed to the store, published whole, or seen early and cut short by faults."""

import obstore

from bedrock_assets.emulator.storage import WRITE_BUFFER_BYTES, Buckets, Location

EARLY_BYTES = 1024 * 1024
"""A file that is seen early grows to this size, and then stays as it is until the whole takes its place."""


class OutputFile:
    """A file being written; memory holds one part of the upload."""

    def __init__(self, buckets: Buckets, place: Location, *, early: bool) -> None:
        """
        Args:
            early: Whether a first part of the file can be read before it is closed.
        """
        self._store = buckets.store(place.bucket)
        self._place = place
        self._writer = obstore.open_writer(self._store, place.key, buffer_size=WRITE_BUFFER_BYTES, max_concurrency=2)
        self._early: bytes | None = b"" if early else None

    def write(self, text: str) -> None:
        """Add lines."""
        data = text.encode("utf-8", "replace")
        self._writer.write(data)
        if self._early is not None and data:
            self._early += data
            obstore.put(self._store, self._place.key, self._early)
            if len(self._early) > EARLY_BYTES:
                self._early = None

    def close(self) -> None:
        """Publish the file; one that is dropped without it leaves nothing behind but its early part."""
        self._writer.close()
