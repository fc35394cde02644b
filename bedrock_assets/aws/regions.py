"""
The Regions and accounts where jobs run: the deployment's own, and others that it names.

Bedrock reads and writes only buckets of its own Region, so each other Region has a bucket of its own: prompts are
copied there before a job is created, and outputs are fetched from there after the job has ended. All data that lasts
is in the deployment's own store. Callers name a Region by a `Target` or by a job's ARN and see none of this.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from bedrock_assets.aws.job import Job
from bedrock_assets.aws.model_invocation_jobs import Bedrock, NewJob
from bedrock_assets.config.target import Target
from bedrock_assets.errors import ConfigError
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

N_COPIES = 4
"""Files that are copied at once; each holds some pieces of 8 MB in memory."""
_ARN_PARTS = 6


@dataclass(frozen=True)
class JobDraft:
    """A job before it is known in which Region it runs: the store's keys instead of URIs."""

    name: str
    """Also the idempotency token."""
    prompts: str
    """Key of the JSONL file to send."""
    output_folder: str
    """Folder below which Bedrock makes the job's own."""
    model_invocation_type: str
    timeout_hours: int
    pipeline: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The pipeline's own."""


@dataclass(frozen=True, eq=False)
class Region:
    """
    An AWS Region of an account.

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

    def __str__(self) -> str:
        return f"{self.name} of account {self.account}"


@dataclass(frozen=True)
class Regions:
    """
    Bedrock's batch inference jobs in all Regions, with the same methods as `Bedrock` has for one.

    Args:
        store: The deployment's own.
        all: The deployment's own Region first.
    """

    store: Store
    all: tuple[Region, ...]

    @classmethod
    def only(cls, bedrock: Bedrock, store: Store) -> "Regions":
        """A deployment with one Region."""
        return cls(store, (Region(bedrock.client.meta.region_name, account_of(bedrock.role_arn), lambda: bedrock),))

    @property
    def home(self) -> Region:
        """The deployment's own Region."""
        return self.all[0]

    def at(self, target: Target) -> Region:
        """
        The Region where a target's jobs run.

        Raises:
            ConfigError: The deployment does not name that Region.
        """
        name, account = target.region or self.home.name, target.account or self.home.account
        if region := self._find(name, account):
            return region
        raise ConfigError(
            f"model {target.name!r}: the deployment has no Region {name} of account {account}; it has "
            f"{', '.join(map(str, self.all))}. Add it, with its bucket and role, to the file of BEDROCK_ASSETS_REGIONS"
        )

    def used_by(self, targets: Iterable[Target], *, strict: bool = True) -> "Regions":
        """
        The Regions of some targets, and the deployment's own.

        Args:
            strict: Raise for a Region that the deployment does not name; otherwise leave it out.

        Raises:
            ConfigError: The deployment does not name one of them.
        """
        used = set[Region]()
        for target in targets:
            with nullcontext() if strict else suppress(ConfigError):
                used.add(self.at(target))
        return Regions(self.store, tuple(region for region in self.all if region is self.home or region in used))

    def of(self, arn: str) -> Region:
        """
        The Region of a job.

        Raises:
            ConfigError: The deployment no longer names that Region.
        """
        if len(self.all) == 1:
            return self.home
        name, account = [*arn.split(":"), *[""] * _ARN_PARTS][3:5]
        if region := self._find(name, account):
            return region
        raise ConfigError(
            f"job {arn} is in {name} of account {account}, which this deployment does not name; it has "
            f"{', '.join(map(str, self.all))}. Keep it in the file of BEDROCK_ASSETS_REGIONS until its jobs have ended"
        )

    def _find(self, name: str, account: str) -> Region | None:
        return next((region for region in self.all if (region.name, region.account) == (name, account)), None)

    def create(self, target: Target, draft: JobDraft) -> str:
        """
        Create a job at a target, and copy its prompts there first if they are not there.

        Returns:
            The job's ARN.

        Raises:
            BedrockError: Bedrock refused the job; BedrockUnavailable if the same call may succeed later.
            StoreError: The prompts cannot be copied.
        """
        region = self.at(target)
        store = region.store or self.store
        if store is not self.store and not store.exists(draft.prompts):
            copy(self.store, store, [draft.prompts], reuse=True)  # the Region was named after the launch
        job = NewJob(
            name=draft.name,
            model=target.model,
            input_uri=store.uri(draft.prompts),
            output_uri=f"{store.uri(draft.output_folder)}/",
            model_invocation_type=draft.model_invocation_type,
            timeout_hours=draft.timeout_hours,
            pipeline=draft.pipeline,
            tags=draft.tags,
        )
        return region.bedrock.create(job)

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> "Iterator[Job]":
        """The jobs of all Regions, one Region after the other."""
        for region in self.all:
            yield from region.bedrock.list(since=since, name_contains=name_contains)

    def get(self, arn: str) -> Job:
        """One job by its ARN."""
        return self.of(arn).bedrock.get(arn)

    def page_of(self, arn: str) -> str | None:
        """URL where people look at a job; None if the deployment no longer names its Region."""
        try:
            return self.of(arn).bedrock.page_of(arn)
        except ConfigError:
            return None

    def stop(self, arn: str) -> None:
        """Ask Bedrock to stop a job; a job that has ended is left as it is."""
        self.of(arn).bedrock.stop(arn)

    def stage(self, prompts: Sequence[str], *, rewritten: bool) -> None:
        """
        Copy prompts to each Region with a bucket of its own, before they are requested.

        Args:
            prompts: Keys of the files.
            rewritten: Whether a run may have written them again since, as it does for a second attempt.
        """
        for region in self.all:
            if region.store is not None:
                copy(self.store, region.store, prompts, reuse=not rewritten)

    def fetch(self, arn: str, folder: str, prompts: str) -> None:
        """
        Move a job's output into the deployment's own store, if the job has ended, and delete the copies of its prompts.

        Args:
            folder: The job's own.
            prompts: Key of its prompts.

        Raises:
            ConfigError: The deployment no longer names the Region where the job ran.
        """
        source, copies = self.of(arn).store, [region.store for region in self.all if region.store is not None]
        if not copies or self.get(arn).status.in_flight:
            return
        if source is not None:
            keys = [file.key for file in source.files(folder)]
            copy(source, self.store, keys, reuse=True)
            source.delete(keys)
        for store in copies:
            store.delete([prompts])


def account_of(arn: str) -> str:
    """The account of an ARN; Bedrock takes no role of another account than the jobs'."""
    return [*arn.split(":"), *[""] * _ARN_PARTS][4]


def copy(source: Store, target: Store, keys: Sequence[str], *, reuse: bool) -> None:
    """
    Copy files under their own keys.

    Args:
        reuse: Keep a file of the same size that is already in *target*: its key stands for its content.
    """

    def copy_one(key: str) -> None:
        if reuse and target.exists(key) and target.size(key) == source.size(key):
            return
        with target.writer(key) as file:
            for piece in source.chunks(key):
                file.write(piece)

    for _ in map_ordered(copy_one, keys, N_COPIES):
        pass
