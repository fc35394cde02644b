"""Shards as partition keys in the Dagster instance."""

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import StaleShard
from bedrock_assets.jobs.dagster_internals import BulkActionsFilter, BulkActionStatus
from bedrock_assets.storage.manifests import Shard

_ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def partitions_of(pipeline: str) -> dg.DynamicPartitionsDefinition:
    """The pipeline's own partition set."""
    return dg.DynamicPartitionsDefinition(name=_set_name(pipeline))


def shards_of(instance: DagsterInstance, pipeline: str) -> list[str]:
    """The registered shards, in order."""
    return sorted(instance.get_dynamic_partitions(_set_name(pipeline)))


def register_shards(instance: DagsterInstance, pipeline: str, keys: Sequence[str]) -> list[str]:
    """
    Make *keys* the registered shards.

    Returns:
        Keys that were removed. While a backfill runs none are: Dagster fails a backfill that targets a removed key.
    """
    registered = instance.get_dynamic_partitions(_set_name(pipeline))
    new = [key for key in keys if key not in set(registered)]
    old = [key for key in registered if key not in set(keys)]
    if old and _is_targeted(instance, pipeline):
        old = []
    _change(instance, pipeline, new, [])
    _change(instance, pipeline, [], old)
    return old


def register_shard(instance: DagsterInstance, pipeline: str, key: str) -> None:
    """Register *key* beside the shards that are registered."""
    _change(instance, pipeline, [key], [])


def planned_shards(shards: Sequence[Shard], keys: Iterable[str]) -> list[Shard]:
    """
    The planned shards that *keys* name.

    Raises:
        StaleShard: A key is not among the planned ones; the dataset was planned again since.
    """
    planned = {shard.key: shard for shard in shards}
    keys = list(keys)
    unknown = [key for key in keys if key not in planned]
    if unknown:
        raise StaleShard(
            f"partition {unknown[0]} is not one of the {len(planned)} shards planned last; reload the partitions, or "
            "materialize raw_dataset to register them"
        )
    return [planned[key] for key in keys]


def _change(instance: DagsterInstance, pipeline: str, new: Sequence[str], old: Sequence[str]) -> None:
    if not (new or old):
        return
    with announced(Effect.REGISTER, pipeline):
        if new:
            instance.add_dynamic_partitions(_set_name(pipeline), list(new))
        for key in old:
            instance.delete_dynamic_partition(_set_name(pipeline), key)


def _is_targeted(instance: DagsterInstance, pipeline: str) -> bool:
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=_ACTIVE))
    keys = (key for backfill in backfills for key in backfill.asset_selection or ())
    return any(list(key.path[-2:-1]) == [pipeline] for key in keys)


def _set_name(pipeline: str) -> str:
    return f"{pipeline}_shards"
