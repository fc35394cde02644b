"""What an inbox has refused, as Dagster's event log tells it: an observation for each file, once."""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.inbox.files import InboxFile
from bedrock_assets.jobs.event_log import EventLogReader


@dataclass
class Rejections:
    """The log's view of the files that one inbox has refused."""

    inbox: str
    etags: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By name, the etag that was refused last and the reason."""

    def __post_init__(self) -> None:
        self._tail = EventLogReader(self.asset_key, observations=True)

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

    def reason(self, inbox_file: InboxFile) -> str | None:
        """Why the file was refused as it is; None if it was not."""
        etag, reason = self.etags.get(inbox_file.plain, (None, None))
        return reason if etag == inbox_file.etag else None

    def record(self, inbox_file: InboxFile, reason: str) -> dg.AssetObservation:
        """The observation to log for a refused file."""
        return dg.AssetObservation(
            self.asset_key,
            description=f"{inbox_file.shown} is refused: {reason}"[:500],
            metadata={
                "file": inbox_file.plain,
                "etag": inbox_file.etag,
                "reason": reason,
                "n_bytes": inbox_file.n_bytes,
            },
        )
