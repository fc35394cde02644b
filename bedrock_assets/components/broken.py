"""
A component that cannot be loaded: its error, and assets that show it under the keys of the real ones.

Dagster loads all of a code location or nothing, so an error that is raised would take every pipeline and the sensor
away, and nobody would watch the jobs in flight. With assets of the same keys and partitions in its place, backfills of
the broken one stay open, assets downstream keep their upstream, and requests wait until the file is corrected.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from bedrock_assets.assets.checks import CANARY, CONSERVATION, DRIFT, ERROR_SHARE, LABELS, SCHEMA
from bedrock_assets.assets.gold import GOLD
from bedrock_assets.config.asset_attributes import KeyPrefix, asset_path
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.source import Name
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.jobs.collect_runs import collect_job
from bedrock_assets.jobs.partitions import partitions_of
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.tables import PIPELINE, location_tables
from bedrock_assets.sensors.inbox import take_job

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
CHECKS: Mapping[str, tuple[str, ...]] = {
    "batch_outputs": (CONSERVATION, CANARY),
    "joined_table": (CONSERVATION, SCHEMA, ERROR_SHARE, DRIFT, LABELS, GOLD),
}
"""Names of the checks by asset."""
ALWAYS = (CONSERVATION, SCHEMA, ERROR_SHARE, DRIFT)
"""Checks that every pipeline has."""
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
    checks: tuple[str, ...] = ()
    """Checks that only some pipelines have: `canary`, `label_shares`, `agrees_with_gold`."""

    @classmethod
    def of(cls, error: BedrockAssetsError, place: Path, written: Mapping[str, Any], *, is_inbox: bool) -> Self:
        """
        What can be known of a component whose attributes are wrong.

        Args:
            written: The attributes as written.
        """
        name = _valid(TypeAdapter[str](Name), written.get("name")) or folder_name(str(place))
        prefix = _valid(TypeAdapter[tuple[str, ...]](KeyPrefix), written.get("key_prefix", ()))
        task: Any = written.get("task")
        checks = special_checks(
            canary=bool(written.get("canary")),
            labels=isinstance(task, Mapping) and bool(task.get("classify")),
            gold=bool(written.get("gold")),
        )
        return cls(error, str(place), name, prefix or (), is_inbox, checks)

    @classmethod
    def of_owner(cls, error: BedrockAssetsError, place: str, owner: Pipeline | Inbox) -> Self:
        """A component that is right by itself, but does not fit with others."""
        spec = owner.spec
        if isinstance(spec, InboxSpec):
            return cls(error, place, spec.name, spec.key_prefix, is_inbox=True)
        task = spec.task
        checks = special_checks(canary=bool(spec.canary), labels=bool(task.classify), gold=bool(spec.gold))
        return cls(error, place, spec.name, spec.key_prefix, checks=checks)

    def without(self, taken: Collection[str]) -> Self:
        """The same without a name that is another component's: with that of its folder, if it is free."""
        if self.name not in taken:
            return self
        own = folder_name(self.place)
        return replace(self, name=None if own in taken else own)

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
        outputs = dg.AssetKey(asset_path(self.name, "batch_outputs", self.key_prefix))
        return dg.Definitions(
            assets=[self._step(self.name, step, before) for step, before in steps.items()],
            asset_checks=[] if self.is_inbox else self._checks(self.name),
            # A run of it that is queued fails with the error. Without the job Dagster would want to run it again for
            # ever, and its backfill would not end.
            jobs=[dg.define_asset_job(collect_job(self.name), selection=[outputs]), *self._take_jobs(self.name)],
        )

    def _take_jobs(self, name: str) -> list[Any]:
        dropped = dg.AssetKey(asset_path(name, "dropped_files", self.key_prefix))
        return [dg.define_asset_job(take_job(name), selection=[dropped])] if self.is_inbox else []

    def _checks(self, name: str) -> list[dg.AssetChecksDefinition]:
        """Stand-ins of the checks, which runs that are launched already name."""
        own = {step: [check for check in names if check in (*ALWAYS, *self.checks)] for step, names in CHECKS.items()}
        return [
            self._check(dg.AssetKey(asset_path(name, step, self.key_prefix)), check)
            for step, names in own.items()
            for check in names
        ]

    def _check(self, key: dg.AssetKey, name: str) -> dg.AssetChecksDefinition:
        failure = self._failure

        @dg.asset_check(asset=key, name=name)
        def cannot_be_loaded() -> dg.AssetCheckResult:
            raise failure()

        return cannot_be_loaded

    def _failure(self) -> dg.Failure:
        return dg.Failure(f"{self.error}. {CURE}", allow_retries=False)

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
        failure = self._failure

        @dg.asset(
            key=key,
            description=f"**Cannot be loaded.** {self.error}\n\n{CURE}",
            group_name=self.stands_for,
            kinds={"broken"},
            # Whatever the real asset takes, so that a run launched again fails with this error and no other.
            config_schema=dg.Permissive({}),
            output_required=False,
            **more,
        )
        def cannot_be_loaded() -> None:
            raise failure()

        return cannot_be_loaded  # pyright: ignore[reportReturnType] - the decorator is untyped


def special_checks(*, canary: bool, labels: bool, gold: bool) -> tuple[str, ...]:
    """Names of the checks that a pipeline has because of what it says."""
    return tuple(name for name, there in ((CANARY, canary), (LABELS, labels), (GOLD, gold)) if there)


def folder_name(place: str) -> str | None:
    """The name that a component most likely has: its folder's, if it can be one."""
    return _valid(TypeAdapter[str](Name), Path(place).parent.name)


def _valid(adapter: TypeAdapter[T], value: Any) -> T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None
