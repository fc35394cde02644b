"""
Every outward effect is announced before and after it happens, as an audit event of the interpreter (PEP 578).

An observer attached with `sys.addaudithook` sees what a process writes, pays and records: `bedrock_assets.<effect>`
with the arguments `before` or `after` (`during` for a read) and the subject. Without an observer it costs nothing. The
crash tests kill a process at each of these events.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Literal


class Effect(StrEnum):
    """What this package does to the world outside its process."""

    READ = "read"
    """A piece of a large file has been read; the subject is its key."""
    WRITE = "write"
    """A file is published in the store under the key that is the subject."""
    MOVE = "move"
    DELETE = "delete"
    """A file is deleted, its key is the subject; or messages of the queue of events, and `events` is."""
    CREATE_JOB = "create_job"
    """A job is created, and from then on paid; the subject is its name."""
    STOP_JOB = "stop_job"
    INVOKE_MODEL = "invoke_model"
    """One record is answered, and paid, on demand; the subject is its record id on the wire."""
    RECORD = "record"
    """An observation is written to Dagster's event log; the subject is the state that it tells."""
    REGISTER = "register"
    """Partition keys are added or removed; the subject is the pipeline."""
    MATERIALIZE = "materialize"
    """An asset's materialization is handed to Dagster; the subject is the asset."""


When = Literal["before", "during", "after"]


def announce(effect: Effect, when: When, subject: str) -> None:
    """Tell observers of an effect."""
    sys.audit(f"bedrock_assets.{effect}", when, subject)


@contextmanager
def announced(effect: Effect, subject: str) -> Generator[None]:
    """Announce an effect before and after the block; after an exception there is no `after`."""
    announce(effect, "before", subject)
    yield
    announce(effect, "after", subject)
