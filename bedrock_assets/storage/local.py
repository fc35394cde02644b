"""What obstore lacks for a store that is a folder: listing names of all kinds, and writing on a condition."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


def walk(root: Path, prefix: str) -> Iterator[tuple[str, int, datetime]]:
    """Key, size and time of each file below *prefix*; a name that is no text is no key."""
    for folder, _folders, names in os.walk(root / prefix):
        for name in names:
            path = Path(folder, name)
            try:
                key, told = path.relative_to(root).as_posix(), path.stat()
                key.encode()
            except (FileNotFoundError, UnicodeEncodeError):
                continue
            yield key, told.st_size, datetime.fromtimestamp(told.st_mtime, UTC)


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """One at a time in *folder*, of all processes of this machine; a killed one leaves no lock."""
    import fcntl  # of Unix alone, as is the rest of a store on disk that several processes write

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
