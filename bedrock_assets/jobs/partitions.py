"""Partition keys of shards in the Dagster instance."""

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import StaleShard
from bedrock_assets.storage.manifests import Shard

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


def planned_shards(shards: Sequence[Shard], keys: Iterable[str]) -> list[Shard]:
    """
    The planned shards that *keys* name.

    Raises:
        StaleShard: A key is not among the planned ones; the dataset was planned anew since.
    """
    planned = {shard.key: shard for shard in shards}
    wanted = list(keys)
    unknown = [key for key in wanted if key not in planned]
    if unknown:
        raise StaleShard(
            f"partition {unknown[0]} is not among the {len(planned)} shards planned last; reload the partitions, or "
            "materialize raw_dataset to register them"
        )
    return [planned[key] for key in wanted]
