"""
Whose turn it is to create jobs.

Two sensors that look at the same time see the same free slots. That happens to the sensors of two code locations, and
to a tick that Dagster gave up waiting for while it goes on. So a tick creates jobs only in its turn, which it takes in
the store. There each code location also says which jobs take a slot of which pool: a pool may be shared by pipelines
that the others do not know.
"""

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import Field

from bedrock_assets.aws.job import Job
from bedrock_assets.config.target import bare_id
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import StoreConflict
from bedrock_assets.jobs.shard_request import name_prefix
from bedrock_assets.storage.keys import SUBMIT_TURN
from bedrock_assets.storage.manifests import Document
from bedrock_assets.storage.store import Store

TURN_S = 120
"""Seconds after which a turn is over whether it was given back or not; Dagster ends a tick after 60."""
LATE_S = 60
"""Seconds that a clock of another machine may be ahead, and a request to create a job may take."""


class SubmitTurn(Document):
    """The turn, in the store."""

    holder: str = ""
    """Host, process id and time of the tick that has it; empty if none has."""
    ends_at: float = 0.0
    """Seconds since 1970."""
    pools: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict[str, dict[str, tuple[str, ...]]])
    """Pools that a job takes a slot of, one for each Region, by the beginning of its name and its model's bare id."""


@dataclass(frozen=True)
class Turn:
    """The turn of this process."""

    store: Store
    document: SubmitTurn
    began_at: float = field(default_factory=time.monotonic)

    @classmethod
    def take(cls, store: Store, specs: Iterable[WorkloadSpec]) -> "Turn | None":
        """
        Take the turn, and say what *specs* take slots of.

        Returns:
            None while it is another tick's.

        Raises:
            StoreError: The store cannot be read or written.
        """
        version, now = store.version(SUBMIT_TURN), time.time()
        document = store.read_model(SUBMIT_TURN, SubmitTurn) or SubmitTurn()
        if document.ends_at > now and not has_died(document.holder):
            return None
        holder = f"{socket.gethostname()}/{os.getpid()}/{now:.6f}"
        taken = SubmitTurn(holder=holder, ends_at=now + TURN_S, pools=document.pools | _pools_of(specs))
        try:
            store.replace_model(SUBMIT_TURN, taken, version)
        except StoreConflict:
            return None
        return cls(store, taken)

    @property
    def is_on(self) -> bool:
        """Whether a job may still be created in it."""
        return time.monotonic() - self.began_at < TURN_S - LATE_S

    def give_back(self) -> None:
        """
        End the turn, if it is still this process's.

        Raises:
            StoreError: The store cannot be read or written; the turn ends by itself.
        """
        version = self.store.version(SUBMIT_TURN)
        if self.store.read_model(SUBMIT_TURN, SubmitTurn) == self.document:
            self.store.replace_model(SUBMIT_TURN, SubmitTurn(pools=self.document.pools), version)

    def takes_slot(self, job: Job, pool: str) -> bool:
        """Whether a code location, this one or another, has said that a job takes a slot of *pool*."""
        beginnings = [beginning for beginning in self.document.pools if job.name.startswith(beginning)]
        pools = self.document.pools[max(beginnings, key=len)] if beginnings else {}
        return pool in pools.get(bare_id(job.model), ())


def _pools_of(specs: Iterable[WorkloadSpec]) -> dict[str, dict[str, tuple[str, ...]]]:
    pools: dict[str, dict[str, tuple[str, ...]]] = {}
    for spec in specs:
        of_spec = pools.setdefault(name_prefix(spec.name), {})
        for target in spec.targets:
            bare = bare_id(target.model)
            of_spec[bare] = tuple(sorted({*of_spec.get(bare, ()), spec.pool_of(target)}))
    return pools


def has_died(holder: str) -> bool:
    """Whether a holder was a process of this machine that is no more; of others it is not known."""
    host, _, rest = holder.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
