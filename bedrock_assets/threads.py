"""Work on the next items of a stream while this one is being written."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

N_READERS = 32
"""Small files to read at once if there may be thousands; reading is mostly waiting for S3."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int | None = None
) -> Iterator[Result]:
    """
    Apply *function* to *items* in threads.

    An eager polars expression runs on one core and releases the interpreter lock, so items are computed in parallel. At
    most one item more than threads is in memory. After an exception items in progress finish, and no other starts.

    Args:
        n_threads: By default one per core.

    Returns:
        Results in the order of the items.
    """
    n_threads = n_threads or os.cpu_count() or 1
    with ThreadPoolExecutor(n_threads, thread_name_prefix="records") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
