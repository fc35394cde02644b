"""What `bedrock_assets.BatchInbox` may say in a `defs.yaml`."""

from typing import Annotated

from pydantic import Field, StringConstraints

from bedrock_assets.config.pipeline import WorkloadSpec

Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*(/[A-Za-z0-9][A-Za-z0-9_\-]*)*$")]
"""A folder of the store, without a slash at either end."""


class InboxSpec(WorkloadSpec):
    """One inbox: files with a request on each line in, the model's answers to each file out."""

    dropped_to: Folder = Field(default="to-process", description="Folder of the store where files are dropped.")
    processed_to: Folder = Field(
        default="processed",
        description="Folder of the store with a folder for each file: the file itself, what Bedrock wrote, and the "
        "answers as Parquet.",
    )
    settle_s: float = Field(
        default=20, ge=0, description="Seconds for which a file must not have changed before it is taken."
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of each vector that the files ask for; the model's own without it."
    )
