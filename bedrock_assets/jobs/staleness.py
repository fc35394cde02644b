"""Whether requests are still about the current dataset and prompts, as the event log has them."""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.asset_attributes import asset_path
from bedrock_assets.jobs.event_log import EventLogReader
from bedrock_assets.jobs.shard_request import Request, RequestStatus
from bedrock_assets.storage.keys import is_planned


@dataclass(frozen=True)
class Prompts:
    """A shard's prompts, as they were formatted last."""

    storage_id: int
    fingerprint: str
    raw_revision: str
    configuration: str = ""
    """`Workload.configuration` that they were made with, as JSON; empty if it is not known."""


@dataclass(frozen=True)
class Dataset:
    """The dataset, as it was ingested last."""

    storage_id: int
    revision: str
    n_shards: int


@dataclass
class Staleness:
    """The latest dataset and prompts of one pipeline."""

    pipeline: str
    key_prefix: tuple[str, ...] = ()
    prompts: dict[str, Prompts] = field(default_factory=dict)
    """By shard."""
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        self._prompts = self._reader("prompt_shards")
        self._dataset = self._reader("raw_dataset")

    def _reader(self, asset: str) -> EventLogReader:
        return EventLogReader(dg.AssetKey(asset_path(self.pipeline, asset, self.key_prefix)))

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log; all of it, if events were deleted."""
        prompts, dataset = self._prompts.read(instance), self._dataset.read(instance)
        if prompts.from_start:
            self.prompts = {}
        if dataset.from_start:
            self.dataset = None
        for logged in prompts.events:
            metadata, shard = logged.metadata, logged.event.partition
            if shard and "fingerprint" in metadata:
                revision = str(metadata.get("raw_revision", ""))
                made_with = str(metadata.get("configuration", ""))
                self.prompts[shard] = Prompts(logged.storage_id, str(metadata["fingerprint"]), revision, made_with)
        for logged in dataset.events:
            metadata = logged.metadata
            if "revision" in metadata:
                n_shards = int(metadata["n_shards"])
                self.dataset = Dataset(logged.storage_id, str(metadata["revision"]), n_shards)

    def status_of(self, request: Request) -> RequestStatus:
        """
        Whether a request is still about the current prompts.

        A request was made from what the store held at that time; only what was logged later makes it stale.
        """
        revision, prompts = request.raw_revision, self.prompts.get(request.shard)
        if prompts and prompts.storage_id > request.storage_id:
            if prompts.fingerprint != request.fingerprint:
                return RequestStatus.STALE
            revision = prompts.raw_revision
        dataset = self.dataset
        if dataset is None or dataset.storage_id < request.storage_id or dataset.revision == revision:
            return RequestStatus.WANTED
        return RequestStatus.ON_HOLD if is_planned(request.shard, dataset.n_shards) else RequestStatus.STALE
