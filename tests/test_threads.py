"""Work on several pieces of a stream at once, results in order."""

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.threads import map_ordered


@given(st.lists(st.integers()))
def test_results_are_in_order(items: list[int]) -> None:
    """Results are those of the items, in the items' order."""
    assert list(map_ordered(lambda item: item + 1, items)) == [item + 1 for item in items]


def test_a_later_piece_may_be_done_first() -> None:
    """A piece that waits for the next one is not waited for in vain, and still comes first."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core works on one piece at a time")
    second_is_done = threading.Event()

    def workload(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(30)
        else:
            second_is_done.set()
        return item

    assert list(map_ordered(workload, [0, 1])) == [0, 1]


def test_few_pieces_are_held() -> None:
    """No more items are taken from the stream than cores and one, beyond the results taken."""
    taken: list[int] = []

    def stream() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ordered(lambda item: item, stream())
    for n_results in range(1, 20):
        next(results)
        assert len(taken) <= n_results + (os.cpu_count() or 1)


def test_an_error_comes_where_it_arose() -> None:
    """An error of one piece follows the results before it, and ends the stream."""
    results = map_ordered(lambda item: 1 // item, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
