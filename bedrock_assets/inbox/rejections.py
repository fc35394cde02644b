"""
The files that an inbox has refused, as Dagster's event log has them: one observation for each file.

With them, `files_in_folder` tells what became of each file that lies in the folder.
"""

from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.config.asset_attributes import asset_path
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.inbox.files import InboxFile, list_files
from bedrock_assets.jobs.event_log import EventLogReader, WriteObservation, write_observation
from bedrock_assets.storage.store import Store


@dataclass
class Rejections:
    """The log's view of the files that one inbox has refused."""

    inbox: str
    key_prefix: tuple[str, ...] = ()
    etags: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By plain name, the etag that was refused last and the reason."""

    @classmethod
    def of(cls, spec: InboxSpec) -> "Rejections":
        """Those of an inbox."""
        return cls(spec.name, spec.key_prefix)

    def __post_init__(self) -> None:
        self._reader = EventLogReader(self.asset_key, observations=True)

    @property
    def asset_key(self) -> dg.AssetKey:
        """The asset that stands for the folder."""
        return dg.AssetKey(asset_path(self.inbox, "dropped_files", self.key_prefix))

    def refresh(self, instance: DagsterInstance) -> None:
        """Read what is new in *instance*'s log; all of it, the first time."""
        for logged in self._reader.read(instance).events:
            metadata = logged.metadata
            if isinstance(logged.event, dg.AssetObservation) and "etag" in metadata:
                self.etags[str(metadata["file"])] = str(metadata["etag"]), str(metadata["reason"])

    def reason(self, file: InboxFile) -> str | None:
        """Why the file was refused as it is; None if it was not."""
        etag, reason = self.etags.get(file.plain, (None, None))
        return reason if etag == file.etag else None

    def log(self, write: WriteObservation, file: InboxFile, reason: str) -> None:
        """Record that a file is refused."""
        observation = dg.AssetObservation(
            self.asset_key,
            description=f"{file.shown} is refused: {reason}"[:500],
            metadata={"file": file.plain, "etag": file.etag, "reason": reason, "n_bytes": file.n_bytes},
        )
        write_observation(write, observation, "refused")


def files_in_folder(instance: DagsterInstance, store: Store, spec: InboxSpec) -> list[tuple[InboxFile, str | None]]:
    """
    The files in the folder of an inbox, the oldest first, each with the reason if it is or will be refused.

    Raises:
        StoreError: The folder cannot be listed.
    """
    rejections = Rejections.of(spec)
    rejections.refresh(instance)
    return [(file, rejections.reason(file) or file.fault) for file in list_files(store, spec.dropped_to)]
