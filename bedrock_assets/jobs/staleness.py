"""What the event log says of the dataset and the prompts that requests were made of: whether they still hold."""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.jobs.event_log import EventLogReader
from bedrock_assets.jobs.request import Request, RequestStatus
from bedrock_assets.storage.keys import is_planned


@dataclass(frozen=True)
class Prompts:
    """A shard's prompts, as they were made last."""

    storage_id: int
    fingerprint: str
    raw_revision: str


@dataclass(frozen=True)
class Dataset:
    """The dataset, as it was ingested last."""

    storage_id: int
    revision: str
    n_shards: int


@dataclass
class Staleness:
    """The upstream of one pipeline's requests."""

    pipeline: str
    prompts: dict[str, Prompts] = field(default_factory=dict)
    """By shard."""
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        self._prompts = EventLogReader(dg.AssetKey([self.pipeline, "prompt_shards"]))
        self._dataset = EventLogReader(dg.AssetKey([self.pipeline, "raw_dataset"]))

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log."""
        for told in self._prompts.read(instance):
            facts = told.facts
            if told.event.partition and "fingerprint" in facts:
                made = Prompts(told.storage_id, str(facts["fingerprint"]), str(facts.get("raw_revision", "")))
                self.prompts[told.event.partition] = made
        for told in self._dataset.read(instance):
            facts = told.facts
            if "revision" in facts:
                self.dataset = Dataset(told.storage_id, str(facts["revision"]), int(facts["n_shards"]))

    def status_of(self, request: Request) -> RequestStatus:
        """
        Whether a request is still about the current prompts.

        A request was made of what the store held when it was asked for; only what was told later speaks against it.
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
