"""PostgreSQL with pgvector, one server for the tests of a process."""

from collections.abc import Generator

import pytest

from tests.labs.postgres import postgres, uri_of


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    """The URI of a server that has the extension `vector`, with its password."""
    with postgres(vectors=True) as env:
        yield uri_of(env)
