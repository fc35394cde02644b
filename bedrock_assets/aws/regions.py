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
from bedrock_assets.threads import ordered

N_COPIES = 4
"""Files that are copied at once; each has some pieces of 8 MB in memory."""
_ARN_PARTS = 6


@dataclass(frozen=True, eq=False)
class Place:
    """
    A Region of an account.

    Args:
        open_bedrock: Makes the client there; called when it is first needed.
        store: The bucket there; None where it is the deployment's own.
    """

    region: str
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
        return f"{self.region} of account {self.account}"


@dataclass(frozen=True)
class Places:
    """
    Bedrock's batch inference jobs everywhere, as `Bedrock` has them for one place.

    Args:
        store: The deployment's own.
        all: Its own place first.
    """

    store: Store
    all: tuple[Place, ...]

    @classmethod
    def only(cls, bedrock: Bedrock, store: Store) -> "Places":
        """The deployment's own place."""
        return cls(store, (Place(bedrock.client.meta.region_name, account_of(bedrock.role_arn), lambda: bedrock),))

    @property
    def home(self) -> Place:
        """The deployment's own place."""
        return self.all[0]

    def at(self, target: Target) -> Place:
        """
        Where a target's jobs run.

        Raises:
            ConfigError: The deployment does not name that place.
        """
        region, account = target.region or self.home.region, target.account or self.home.account
        if place := self._find(region, account):
            return place
        raise ConfigError(
            f"model {target.name!r}: the deployment has no place in {region} of account {account}; it has "
            f"{', '.join(map(str, self.all))}. Name it, with its bucket and role, in the file of BEDROCK_ASSETS_PLACES"
        )

    def used_by(self, targets: Iterable[Target], *, strict: bool = True) -> "Places":
        """
        The places of some targets, and the deployment's own.

        Raises:
            ConfigError: The deployment does not name one of them, and that is not to be (*strict*).
        """
        used = set[Place]()
        for target in targets:
            with nullcontext() if strict else suppress(ConfigError):
                used.add(self.at(target))
        return Places(self.store, tuple(place for place in self.all if place is self.home or place in used))

    def of(self, arn: str) -> Place:
        """
        Where a job is.

        Raises:
            ConfigError: The deployment no longer names that place.
        """
        if len(self.all) == 1:
            return self.home
        region, account = [*arn.split(":"), *[""] * _ARN_PARTS][3:5]
        if place := self._find(region, account):
            return place
        raise ConfigError(
            f"job {arn} is in {region} of account {account}, which is none of this deployment's places: "
            f"{', '.join(map(str, self.all))}. Name it in the file of BEDROCK_ASSETS_PLACES until its jobs have ended"
        )

    def _find(self, region: str, account: str) -> Place | None:
        return next((place for place in self.all if (place.region, place.account) == (region, account)), None)

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> "Iterator[Job]":
        """The jobs of all places, one place after the other."""
        for place in self.all:
            yield from place.bedrock.list(since=since, name_contains=name_contains)

    def get(self, arn: str) -> Job:
        """One job by its ARN."""
        return self.of(arn).bedrock.get(arn)

    def stop(self, arn: str) -> None:
        """Ask for a job to be stopped; one that has ended is left as it is."""
        self.of(arn).bedrock.stop(arn)

    def stage(self, requests: Sequence[Request]) -> None:
        """Copy prompts to each place with a bucket of its own, before they are asked for."""
        for place in self.all:
            place.stage(self.store, requests)

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
        there, copies = self.of(arn).store, [place.store for place in self.all if place.store is not None]
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

    for _ in ordered(copied, keys, N_COPIES):
        pass
