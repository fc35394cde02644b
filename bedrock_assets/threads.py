"""Work on the next pieces of a stream while this one is being written."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

N_READERS = 32
"""Small files that are read at once where there may be thousands: each is mostly waiting for S3."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int | None = None
) -> Iterator[Result]:
    """
    Results of *function* over *items*, in order, computed in one thread a core, or in so many.

    An eager polars expression runs on one core and lets go of the interpreter lock, so pieces run side by side. No more
    pieces than threads and one are held, whatever the number of items. After an exception what has begun is finished,
    and the rest is not begun.
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
