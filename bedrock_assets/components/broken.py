"""
A component that cannot be loaded: its error, and assets that show it under the keys of the real ones.

Dagster loads all of a code location or nothing, so an error that is raised would take every pipeline and the sensor
away, and nobody would watch the jobs in flight. With assets of the same keys and partitions in its place, backfills of
the broken one stay open, assets downstream keep their upstream, and requests wait until the file is corrected.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from bedrock_assets.config.asset_attributes import KeyPrefix, asset_path
from bedrock_assets.config.source import Name
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.jobs.partitions import partitions_of
from bedrock_assets.resources.tables import PIPELINE, location_tables

T = TypeVar("T")

STEPS: Mapping[str, str | None] = {
    "raw_dataset": None,
    "prompt_shards": "raw_dataset",
    "batch_outputs": "prompt_shards",
    "joined_table": "batch_outputs",
}
"""The assets of a pipeline, each with the one before."""
INBOX_STEPS: Mapping[str, str | None] = {"dropped_files": None, "batch_outputs": "dropped_files"}
"""The assets of an inbox."""
PARTITIONED = ("prompt_shards", "batch_outputs")
CURE = "Correct it, then reload the code location. Until then its jobs go on and its requests wait; the others work."


def is_validation() -> bool:
    """Whether definitions are only validated, by `dg check defs` or `dagster definitions validate`, which set this."""
    return bool(os.environ.get("DAGSTER_IS_DEFS_VALIDATION_CLI"))


@dataclass(frozen=True)
class Broken:
    """Why a component cannot be loaded, and what is known of it."""

    error: BedrockAssetsError
    """Its text begins with the file."""
    place: str
    """The file, or what else the component is from."""
    name: str | None
    """None if it is not known, or belongs to another component."""
    key_prefix: tuple[str, ...] = ()
    is_inbox: bool = False

    @classmethod
    def of(cls, error: BedrockAssetsError, place: Path, written: Mapping[str, Any], *, is_inbox: bool) -> Self:
        """
        What can be known of a component whose attributes are wrong.

        Args:
            written: The attributes as written.
        """
        name = _valid(TypeAdapter[str](Name), written.get("name"))
        prefix = _valid(TypeAdapter[tuple[str, ...]](KeyPrefix), written.get("key_prefix", ()))
        return cls(error, str(place), name, prefix or (), is_inbox)

    def unnamed(self) -> Self:
        """The same, without a name, which is another component's."""
        return replace(self, name=None)

    @property
    def stands_for(self) -> str:
        """What its assets are named by; two components may have the same."""
        return self.name or re.sub(r"\W+", "_", Path(self.place).parent.name).strip("_") or "component"

    @property
    def table(self) -> dg.AssetKey | None:
        """The key of its table."""
        if self.name is None or self.is_inbox:
            return None
        return dg.AssetKey(asset_path(self.name, "joined_table", self.key_prefix))

    def definitions(self) -> dg.Definitions:
        """Assets that say why, and whose runs fail with the error."""
        if self.name is None:
            return dg.Definitions(assets=[self._asset([f"{self.stands_for}_cannot_be_loaded"])])
        steps = INBOX_STEPS if self.is_inbox else STEPS
        return dg.Definitions(assets=[self._step(self.name, step, before) for step, before in steps.items()])

    def _step(self, name: str, step: str, before: str | None) -> dg.AssetsDefinition:
        mapping = dg.AllPartitionMapping() if step == "joined_table" else None
        upstream = [asset_path(name, before, self.key_prefix)] if before else []
        more: dict[str, Any] = {"deps": [dg.AssetDep(key, partition_mapping=mapping) for key in upstream]}
        if step in PARTITIONED:
            more |= {"partitions_def": partitions_of(name), "backfill_policy": dg.BackfillPolicy.single_run()}
        if step == "joined_table":  # the last table can still be read
            more |= {"io_manager_def": location_tables, "metadata": {PIPELINE: name}}
        return self._asset(asset_path(name, step, self.key_prefix), **more)

    def _asset(self, key: list[str], **more: Any) -> dg.AssetsDefinition:
        message = str(self.error)

        @dg.asset(
            key=key,
            description=f"**Cannot be loaded.** {message}\n\n{CURE}",
            group_name=self.stands_for,
            kinds={"broken"},
            # Whatever the real asset takes, so that a run launched again fails with this error and no other.
            config_schema=dg.Permissive({}),
            output_required=False,
            **more,
        )
        def cannot_be_loaded() -> None:
            raise dg.Failure(f"{message}. {CURE}", allow_retries=False)

        return cannot_be_loaded  # pyright: ignore[reportReturnType] - the decorator is untyped


def _valid(adapter: TypeAdapter[T], value: Any) -> T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None
