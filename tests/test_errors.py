"""The tree of errors."""

import re

from bedrock_assets import errors
from bedrock_assets.errors import (
    BedrockAssetsError,
    BedrockUnavailable,
    EventsUnavailable,
    MetricsUnavailable,
    StoreConflict,
)

CLASSES = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, Exception)
}


def test_the_tree_is_drawn_as_it_is() -> None:
    """The picture in the module's docstring has every error, under its parent."""
    above: list[str] = []
    drawn: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([ │├└─]*)([A-Z]\w+)", line):
            depth = (len(found[1]) - 4) // 4
            if depth < 0:
                continue  # a sentence
            above = [*above[:depth], found[2]]
            drawn[found[2]] = above[-2] if depth else "Exception"
    assert drawn == {name: found.__base__.__name__ for name, found in CLASSES.items() if found.__base__}


def test_only_unavailability_passes() -> None:
    """Errors of a service that is away, or of a race, say that the same call may succeed later; all are of one root."""
    transient = {BedrockUnavailable, EventsUnavailable, MetricsUnavailable, StoreConflict}
    assert {found for found in CLASSES.values() if found.retryable} == transient
    assert all(issubclass(found, BedrockAssetsError) for found in CLASSES.values())
