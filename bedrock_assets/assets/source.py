"""Finds the rows of a source that is an asset: in files that its materializations name, or as its value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dagster as dg

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sources import AssetRows, Files, Source, Value
from bedrock_assets.sources.files import SUFFIXES

URI_METADATA = ("dagster/uri", "path")
"""Metadata that may name a file; IO managers that write files set `path`."""
SHOWN = 3


def with_rows(pipeline: Pipeline, context: dg.AssetExecutionContext) -> Pipeline:
    """
    The pipeline with the rows of its asset, as a run finds them now; a pipeline with another source as it is.

    Raises:
        ConfigError: The asset, or one of its partitions, has never been materialized, or it names no file although
            `through: uri` is set.
    """
    spec = pipeline.spec.source
    if spec.asset is None or not spec.needs_instance:
        return pipeline
    key, instance = dg.AssetKey(spec.asset), context.instance
    node = context.job_def.asset_layer.get(key)
    defined = node.partitions_def.get_partition_keys(dynamic_partitions_store=instance) if node.partitions_def else None
    partitions = _partitions(instance, key, spec, defined)
    files = _files(instance, key, spec, partitions, node.metadata)
    if files is None and spec.through != "value":
        _require_value(instance, key, spec)
    return _resolved(pipeline, files or [_value(context, key, partition) for partition in partitions])


def with_files(pipeline: Pipeline, instance: dg.DagsterInstance) -> Pipeline:
    """
    The same without a run: the rows have to be in files that the latest materializations name.

    Raises:
        ConfigError: There is no materialization, or it names no file in a known format.
    """
    spec = pipeline.spec.source
    if spec.asset is None or not spec.needs_instance:
        return pipeline
    key = dg.AssetKey(spec.asset)
    latest = instance.get_latest_materialization_event(key)
    if latest is None or latest.asset_materialization is None:
        raise ConfigError(f"{_source(key)} has never been materialized in this Dagster instance; materialize it first")
    # Without definitions, an asset with partitions is known by those that it has had.
    is_partitioned = latest.asset_materialization.partition is not None
    defined = sorted(instance.get_materialized_partitions(key)) if is_partitioned else None
    partitions = _partitions(instance, key, spec, defined)
    files = _files(instance, key, spec, partitions, {})
    if files is None:
        raise ConfigError(
            f"{_source(key)}: the rows are its value, which only a run loads; materialize {pipeline.spec.name}/"
            f"raw_dataset instead, or let {key.to_user_string()} write a file, and name it in the metadata "
            "`dagster/uri` or under `path`"
        )
    return _resolved(pipeline, files)


def _resolved(pipeline: Pipeline, parts: Sequence[Source]) -> Pipeline:
    return replace(pipeline, input=AssetRows("/".join(pipeline.spec.source.asset or ()), tuple(parts)))


def _partitions(
    instance: dg.DagsterInstance, key: dg.AssetKey, spec: SourceSpec, defined: Iterable[str] | None
) -> list[str | None]:
    """The partitions to read, in order; a single None if the asset has none."""
    if defined is None:
        return [None]
    materialized = instance.get_materialized_partitions(key)
    present, missing = [[k for k in defined if (k in materialized) is there] for there in (True, False)]
    if not present and not missing:
        raise ConfigError(f"{_source(key)} has no partitions yet; add and materialize some")
    if not present or (missing and spec.partitions == "all"):
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise ConfigError(
            f"{_source(key)}: {len(missing)} partitions are not materialized: {shown}; "
            "materialize them, or set `partitions: materialized` to read only those that are"
        )
    return list(present)


def _files(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    spec: SourceSpec,
    partitions: Sequence[str | None],
    definition: Mapping[str, Any],
) -> list[Source] | None:
    """The file of each partition, each file once; None if one of them names none, or values are wanted."""
    if spec.through == "value":
        return None
    found = [_file(_latest_metadata(instance, key, partition)) for partition in partitions]
    if partitions == [None]:
        found = [found[0] or _file(definition)]
    paths = [path for path in dict.fromkeys(found) if path]
    return None if None in found else [Files(path, dict(spec.dtypes)) for path in paths]


def _latest_metadata(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> Mapping[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return event.metadata if event else {}


def _file(metadata: Mapping[str, Any]) -> str | None:
    """The file that metadata name, as a local path or an S3 URL, if it is in a known format."""
    for name in URI_METADATA:
        value = getattr(metadata.get(name), "value", metadata.get(name))
        if isinstance(value, str) and Path(value).suffix.lower() in SUFFIXES:
            if value.startswith("file://"):
                return unquote(value.removeprefix("file://"))
            if value.startswith("s3://") or "://" not in value:
                return value
    return None


def _require_value(instance: dg.DagsterInstance, key: dg.AssetKey, spec: SourceSpec) -> None:
    """
    Raises:
        ConfigError: No file is named, and there is no value that may be loaded instead.
    """
    if instance.get_latest_materialization_event(key) is None:
        raise ConfigError(
            f"{_source(key)} has never been materialized in this Dagster instance; materialize it, or correct the key. "
            "If it never is, but has an IO manager, set `through: value`"
        )
    if spec.through == "uri":
        raise ConfigError(
            f"{_source(key)}: its latest materialization has no metadata {' or '.join(URI_METADATA)} that names a "
            f"local file or an s3:// URL ending in {', '.join(SUFFIXES)}; add it, or set `path`, or `through: value`"
        )


def _value(context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str | None) -> Value:
    what = "its value" if partition is None else f"the value of its partition {partition}"
    return Value(what, partial(context.load_asset_value, key, partition_key=partition))


def _source(key: dg.AssetKey) -> str:
    return f"source.asset {key.to_user_string()}"
