"""
The Regions and accounts where jobs run: the deployment's own, and others that it names.

Bedrock reads and writes only buckets of its own Region, so each other place has a bucket of its own: prompts are copied
there before a shard is asked for, and outputs are fetched from there when its job has ended. All that lasts stands in
the deployment's own store.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from bedrock_assets.aws.batch import Bedrock
from bedrock_assets.aws.job import Job
from bedrock_assets.config.target import Target
from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.request import Request
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

N_COPIES = 4
"""Files that are copied at once; each has some pieces of 8 MB in memory."""
_ARN_PARTS = 6


@dataclass(frozen=True, eq=False)
class Region:
    """
    A Region of an account.

    Args:
        open_bedrock: Makes the client there; called when it is first needed.
        store: The bucket there; None where it is the deployment's own.
    """

    name: str
    account: str
    open_bedrock: Callable[[], Bedrock]
    store: Store | None = None

    @cached_property
    def bedrock(self) -> Bedrock:
        """The jobs there."""
        return self.open_bedrock()

    def stage(self, home: Store, requests: Sequence[Request]) -> None:
        """Copy prompts from the deployment's store to the one here, if it is another."""
        if self.store is not None:
            first = [request.prompts for request in requests if request.attempt == 1]
            copy(home, self.store, first, known=True)
            # The file of a later attempt is written anew by each run that asks for it.
            copy(home, self.store, [r.prompts for r in requests if r.attempt > 1], known=False)

    def __str__(self) -> str:
        return f"{self.name} of account {self.account}"


@dataclass(frozen=True)
class Regions:
    """
    Bedrock's batch inference jobs everywhere, as `Bedrock` has them for one place.

    Args:
        store: The deployment's own.
        all: Its own place first.
    """

    store: Store
    all: tuple[Region, ...]

    @classmethod
    def only(cls, bedrock: Bedrock, store: Store) -> "Regions":
        """The deployment's own place."""
        return cls(store, (Region(bedrock.client.meta.region_name, account_of(bedrock.role_arn), lambda: bedrock),))

    @property
    def home(self) -> Region:
        """The deployment's own place."""
        return self.all[0]

    def at(self, target: Target) -> Region:
        """
        Where a target's jobs run.

        Raises:
            ConfigError: The deployment does not name that place.
        """
        name, account = target.region or self.home.name, target.account or self.home.account
        if region := self._find(name, account):
            return region
        raise ConfigError(
            f"model {target.name!r}: the deployment has no place in {name} of account {account}; it has "
            f"{', '.join(map(str, self.all))}. Name it, with its bucket and role, in the file of BEDROCK_ASSETS_REGIONS"
        )

    def used_by(self, targets: Iterable[Target], *, strict: bool = True) -> "Regions":
        """
        The places of some targets, and the deployment's own.

        Raises:
            ConfigError: The deployment does not name one of them, and that is not to be (*strict*).
        """
        used = set[Region]()
        for target in targets:
            with nullcontext() if strict else suppress(ConfigError):
                used.add(self.at(target))
        return Regions(self.store, tuple(region for region in self.all if region is self.home or region in used))

    def of(self, arn: str) -> Region:
        """
        Where a job is.

        Raises:
            ConfigError: The deployment no longer names that place.
        """
        if len(self.all) == 1:
            return self.home
        name, account = [*arn.split(":"), *[""] * _ARN_PARTS][3:5]
        if region := self._find(name, account):
            return region
        raise ConfigError(
            f"job {arn} is in {name} of account {account}, which is none of this deployment's places: "
            f"{', '.join(map(str, self.all))}. Name it in the file of BEDROCK_ASSETS_REGIONS until its jobs have ended"
        )

    def _find(self, name: str, account: str) -> Region | None:
        return next((region for region in self.all if (region.name, region.account) == (name, account)), None)

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> "Iterator[Job]":
        """The jobs of all places, one place after the other."""
        for region in self.all:
            yield from region.bedrock.list(since=since, name_contains=name_contains)

    def get(self, arn: str) -> Job:
        """One job by its ARN."""
        return self.of(arn).bedrock.get(arn)

    def stop(self, arn: str) -> None:
        """Ask for a job to be stopped; one that has ended is left as it is."""
        self.of(arn).bedrock.stop(arn)

    def stage(self, requests: Sequence[Request]) -> None:
        """Copy prompts to each place with a bucket of its own, before they are asked for."""
        for region in self.all:
            region.stage(self.store, requests)

    def fetch(self, arn: str, folder: str, prompts: str) -> None:
        """
        Move what a job wrote into the deployment's own store, if it has ended, and remove its prompts wherever they
        were copied to.

        Args:
            folder: The job's own.
            prompts: Key of its prompts.

        Raises:
            ConfigError: The deployment no longer names the place where it ran.
        """
        there, copies = self.of(arn).store, [region.store for region in self.all if region.store is not None]
        if not copies or self.get(arn).status.in_flight:
            return
        if there is not None:
            keys = [file.key for file in there.files(folder)]
            copy(there, self.store, keys, known=True)
            there.delete(keys)
        for store in copies:
            store.delete([prompts])


def account_of(arn: str) -> str:
    """The account of an ARN; Bedrock takes on no role of another account than the jobs'."""
    return [*arn.split(":"), *[""] * _ARN_PARTS][4]


def copy(source: Store, target: Store, keys: Sequence[str], *, known: bool) -> None:
    """
    Copy files under their own keys.

    Args:
        known: Whether a key stands for its content, so that a file of the same size need not be copied again.
    """

    def copied(key: str) -> None:
        if known and target.exists(key) and target.size(key) == source.size(key):
            return
        with target.writer(key) as file:
            for piece in source.chunks(key):
                file.write(piece)

    for _ in map_ordered(copied, keys, N_COPIES):
        pass
