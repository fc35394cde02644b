"""What an inbox has refused, as Dagster's event log tells it: an observation for each file, once."""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.inbox.files import Drop
from bedrock_assets.jobs.event_log import Tail


@dataclass
class Refusals:
    """The log's view of the files that one inbox has refused."""

    inbox: str
    etags: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By name, the etag that was refused last and the reason."""

    def __post_init__(self) -> None:
        self._tail = Tail(self.asset_key, observations=True)

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset that stands for the folder."""
        return dg.AssetKey([self.inbox, "dropped_files"])

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log; all of it, the first time."""
        for told in self._tail.read(instance):
            facts = told.facts
            if isinstance(told.event, dg.AssetObservation) and "etag" in facts:
                self.etags[str(facts["file"])] = str(facts["etag"]), str(facts["reason"])

    def reason(self, drop: Drop) -> str | None:
        """Why the file was refused as it is; None if it was not."""
        etag, reason = self.etags.get(drop.plain, (None, None))
        return reason if etag == drop.etag else None

    def record(self, drop: Drop, reason: str) -> dg.AssetObservation:
        """The observation to log for a refused file."""
        return dg.AssetObservation(
            self.asset_key,
            description=f"{drop.shown} is refused: {reason}"[:500],
            metadata={"file": drop.plain, "etag": drop.etag, "reason": reason, "n_bytes": drop.n_bytes},
        )
