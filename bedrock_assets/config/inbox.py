"""The attributes of `bedrock_assets.BatchInbox` in a `defs.yaml`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import override

from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.limits import Matching

Folder = Annotated[
    str,
    Matching(
        r"^[A-Za-z0-9][A-Za-z0-9_\-]*(/[A-Za-z0-9][A-Za-z0-9_\-]*)*$",
        "letters, digits, _ and -, with / between two folders and at neither end: mail/to-process",
    ),
]
"""A folder in the store, without slashes at either end."""


class InboxSpec(WorkloadSpec):
    """One inbox: takes files with a request on each line, and writes the model's answers to each file."""

    dropped_to: Folder = Field(default="to-process", description="Folder in the store for files to answer.")
    processed_to: Folder = Field(
        default="processed",
        description="Folder in the store that gets a folder for each file: the file itself, Bedrock's output, and the "
        "answers as Parquet.",
    )
    settle_s: float = Field(default=20, ge=0, description="Seconds that a file must stay unchanged before it is taken.")
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of the vectors that the files ask for; by default the model's own."
    )

    @override
    def folder_of(self, _shard: str) -> str:
        """Folder of the store that gets everything that comes from a file, by the file's key."""
        return f"{self.processed_to}/{_shard}"
