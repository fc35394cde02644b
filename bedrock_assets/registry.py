"""Partition keys of shards in the Dagster instance."""

from collections.abc import Sequence

import dagster as dg
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from bedrock_assets.effects import Effect, announced

_ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def partitions_of(pipeline: str) -> dg.DynamicPartitionsDefinition:
    """The pipeline's own partition set."""
    return dg.DynamicPartitionsDefinition(name=f"{pipeline}_shards")


def shards_of(instance: DagsterInstance, pipeline: str) -> list[str]:
    """The registered shards, in order."""
    return sorted(instance.get_dynamic_partitions(f"{pipeline}_shards"))


def register_shards(instance: DagsterInstance, pipeline: str, keys: Sequence[str]) -> list[str]:
    """
    Make *keys* the registered shards.

    Returns:
        Keys that were removed. While a backfill runs none are: Dagster fails a backfill that targets a removed key.
    """
    name = f"{pipeline}_shards"
    registered = instance.get_dynamic_partitions(name)
    new = [key for key in keys if key not in set(registered)]
    if new:
        with announced(Effect.REGISTER, pipeline):
            instance.add_dynamic_partitions(name, new)
    old = [key for key in registered if key not in set(keys)]
    if not old or _targeted(instance, pipeline):
        return []
    with announced(Effect.REGISTER, pipeline):
        for key in old:
            instance.delete_dynamic_partition(name, key)
    return old


def register_shard(instance: DagsterInstance, pipeline: str, key: str) -> None:
    """Make *key* a registered shard, beside those that are."""
    with announced(Effect.REGISTER, pipeline):
        instance.add_dynamic_partitions(f"{pipeline}_shards", [key])


def _targeted(instance: DagsterInstance, pipeline: str) -> bool:
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=_ACTIVE))
    return any(key.path[0] == pipeline for backfill in backfills for key in backfill.asset_selection or ())
