"""The short setting of slow tests, `TESTS_SHORT=1`: less of the same."""

import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

SHORT = bool(os.environ.get("TESTS_SHORT"))
Point = TypeVar("Point")
Situation = TypeVar("Situation")


def some_of(points: Mapping[Point, Situation]) -> dict[Point, Situation]:
    """In the short setting a third, so that three days in a row come to all of them; else all."""
    shuffled = list(points.items())
    random.Random(len(shuffled)).shuffle(shuffled)  # noqa: S311 - points that follow each other are much alike
    return dict(shuffled[datetime.now(UTC).toordinal() % 3 :: 3]) if SHORT else dict(points)
