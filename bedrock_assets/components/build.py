"""Definitions of pipelines and inboxes: assets and checks of each, sensors and resources once per code location."""

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import ValidationError

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.inbox import build_inbox_assets, build_inbox_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.components.location import Location
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, describe_validation_error
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import resources as _resources

DagsterLibraryRegistry.register("bedrock-assets", version("bedrock-assets"), is_dagster_package=False)

logger = logging.getLogger(__name__)

GetAssetSpec = Callable[[dg.AssetSpec], dg.AssetSpec]
"""Changes an asset's spec: its group, tags, owners, kinds, description, metadata or further deps."""


def unchanged(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The same spec."""
    return spec


def build_batch_inference(
    *specs: PipelineSpec | InboxSpec | Mapping[str, Any],
    folder: Path | str = ".",
    get_asset_spec: GetAssetSpec = unchanged,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """
    Pipelines and inboxes without any YAML: their assets and checks, the sensors, and the resources.

    Give all of a code location in one call, because there is one set of sensors for all of them: two would race for
    the slots of a pool. In a project that has a `defs.yaml` of ours, write a `@dg.component_instance` instead.

    Args:
        specs: What would stand under `attributes:` of a `defs.yaml`, as a mapping of a pipeline or as a spec; texts in
            it are not rendered by Jinja.
        folder: Where `<prompt_id>.txt` is looked for first.
        get_asset_spec: Changes the spec of each asset.
        resources: Resources in place of those from the environment, by their keys.

    Raises:
        ConfigError: There is no spec, one of them is wrong, or two do not fit together.
        DataError: The columns of a source do not fit.
    """
    unknown = sorted({*(resources or {})} - {*_resources()})
    if unknown:
        raise ConfigError(f"resources: {unknown[0]!r} is none of ours; they are {', '.join(sorted(_resources()))}")
    owners = [_owner(_parse(spec), Path(folder)) for spec in specs]
    if not owners:
        raise ConfigError("no spec is given; give at least one, such as a PipelineSpec")
    location = Location.of((f"spec {i + 1}", owner) for i, owner in enumerate(owners))
    own = [definitions_of(owner, location, get_asset_spec) for owner in owners]
    return dg.Definitions.merge(*own, location.shared(resources or {}))


def _parse(spec: PipelineSpec | InboxSpec | Mapping[str, Any]) -> PipelineSpec | InboxSpec:
    if isinstance(spec, PipelineSpec | InboxSpec):
        return spec
    if not isinstance(spec, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - whoever does not check types
        raise ConfigError(f"a spec is a mapping, a PipelineSpec or an InboxSpec, and not a {type(spec).__name__}")
    try:
        return PipelineSpec.model_validate(dict(spec))
    except ValidationError as error:
        name = f"pipeline {spec['name']!r}" if "name" in spec else "a pipeline without a name"
        raise ConfigError(f"{name}: {describe_validation_error(error)}") from error


def _owner(spec: PipelineSpec | InboxSpec, folder: Path) -> Pipeline | Inbox:
    try:
        return Pipeline(spec, folder) if isinstance(spec, PipelineSpec) else Inbox(spec)
    except BedrockAssetsError as error:
        raise type(error)(f"{spec.name}: {error}") from error


def definitions_of(
    owner: Pipeline | Inbox, location: Location, get_asset_spec: GetAssetSpec = unchanged
) -> dg.Definitions:
    """
    The assets and checks of a pipeline or an inbox.

    Raises:
        ConfigError: *get_asset_spec* changes the key or the partitions of an asset, by which its state is found.
    """
    for notice in owner.notices:
        logger.warning("%s: %s", owner.spec.name, notice)
    if isinstance(owner, Pipeline):
        assets, checks = build_assets(owner, location.table_of(owner.spec.source.pipeline)), build_checks(owner)
    else:
        assets, checks = build_inbox_assets(owner), build_inbox_checks(owner)

    def changed(spec: dg.AssetSpec) -> dg.AssetSpec:
        new = get_asset_spec(spec)
        if (new.key, new.partitions_def) != (spec.key, spec.partitions_def):
            raise ConfigError(
                f"{owner.spec.name}: get_asset_spec changes the key or the partitions of "
                f"{spec.key.to_user_string()}, by which its state is found; return a spec with both as they were"
            )
        return new

    return dg.Definitions(assets=dg.map_asset_specs(changed, assets), asset_checks=checks)
