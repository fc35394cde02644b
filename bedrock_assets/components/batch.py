"""The Dagster components: a `defs.yaml` becomes assets, checks and, once per code location, the sensors."""

import os
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import BaseModel
from typing_extensions import override

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.inbox import build_inbox_assets, build_inbox_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.components.scaffold import PipelineScaffolder
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError, DataError
from bedrock_assets.inbox.inbox import Inbox, require_separate_folders
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import EVENTS_QUEUE, resources
from bedrock_assets.sensors.alerts import Alerts, build_alerts
from bedrock_assets.sensors.jobs import INTERVAL_S, build_schedules, build_sensors

SENSOR_INTERVAL = "BEDROCK_ASSETS_SENSOR_INTERVAL_S"


class BatchComponent(dg.Component):
    """What all components share: the resources of their code location."""

    @classmethod
    def resources(cls) -> dict[str, Any]:
        """
        The resources `bedrock_batch_store`, `bedrock_batch` and `bedrock_batch_events`; from the environment.

        A subclass may return others, for the whole code location, as that has one of each.
        """
        return dict(resources())


@dg.scaffold_with(PipelineScaffolder)
@dataclass
class BatchInference(BatchComponent):
    """A model's answer beside every row of a table, through Amazon Bedrock batch inference."""

    pipeline: Pipeline

    @classmethod
    @override
    def get_model_cls(cls) -> type[BaseModel]:
        return PipelineSpec

    @classmethod
    @override
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "BatchInference":
        if not isinstance(attributes, PipelineSpec):
            raise ConfigError(f"{context.path / 'defs.yaml'}: `attributes` are missing: name, source, model and task")
        try:
            return cls(Pipeline(attributes, context.path))
        except (ConfigError, DataError) as error:
            raise type(error)(f"{context.path / 'defs.yaml'}: {error}") from error

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        name, source, known = self.pipeline.spec.name, self.pipeline.spec.source.pipeline, _Location.of(context)
        names = [pipeline.spec.name for pipeline in known.pipelines]
        if source and (source not in names or source == name):
            raise ConfigError(
                f"{name}: source.pipeline {source!r} is not another pipeline in this code location; "
                f"known: {', '.join(names)}"
            )
        own = dg.Definitions(assets=build_assets(self.pipeline), asset_checks=build_checks(self.pipeline))
        return dg.Definitions.merge(own, known.shared_beside(name))


@dataclass
class BatchInbox(BatchComponent):
    """Ready-made JSONL files that are dropped into a folder, answered through Amazon Bedrock batch inference."""

    inbox: Inbox

    @classmethod
    @override
    def get_model_cls(cls) -> type[BaseModel]:
        return InboxSpec

    @classmethod
    @override
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "BatchInbox":
        if not isinstance(attributes, InboxSpec):
            raise ConfigError(f"{context.path / 'defs.yaml'}: `attributes` are missing: name and model")
        try:
            return cls(Inbox(attributes))
        except ConfigError as error:
            raise type(error)(f"{context.path / 'defs.yaml'}: {error}") from error

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        own = dg.Definitions(assets=build_inbox_assets(self.inbox), asset_checks=build_inbox_checks(self.inbox))
        return dg.Definitions.merge(own, _Location.of(context).shared_beside(self.inbox.spec.name))


def _with_resources(kinds: set[type[BatchComponent]]) -> type[BatchComponent]:
    """
    The class that overrides the resources, else the base class.

    Raises:
        ConfigError: Two classes have resources of their own.
    """
    default = BatchComponent.resources.__func__
    own = {kind.resources.__func__: kind for kind in kinds if kind.resources.__func__ is not default}
    last = [
        kind
        for kind in own.values()
        if not any(other is not kind and issubclass(other, kind) for other in own.values())
    ]
    if len(last) > 1:
        names = " and ".join(sorted(kind.__qualname__ for kind in last))
        raise ConfigError(f"{names} have resources() each, but a code location has one set; derive one from the other")
    return last[0] if last else BatchComponent


@dataclass(frozen=True)
class _Location:
    """All pipelines and inboxes of a code location."""

    pipelines: list[Pipeline]
    inboxes: list[Inbox]
    component: type[BatchComponent]
    """The class whose resources are the location's."""

    @classmethod
    def of(cls, context: dg.ComponentLoadContext) -> "_Location":
        """
        Raises:
            ConfigError: Two of them share a name or a folder, or have different resources.
        """
        tree = context.component_tree
        components = tree.get_all_components(of_type=BatchComponent)
        pipelines = [component.pipeline for component in components if isinstance(component, BatchInference)]
        inboxes = [component.inbox for component in components if isinstance(component, BatchInbox)]
        location = cls(
            sorted(pipelines, key=lambda p: p.spec.name),
            sorted(inboxes, key=lambda i: i.spec.name),
            _with_resources({type(component) for component in components}),
        )
        if len(set(location.names)) < len(location.names):
            raise ConfigError(f"pipelines share a name: {', '.join(location.names)}; names are folders in the store")
        require_separate_folders([inbox.spec for inbox in inboxes], [pipeline.spec.name for pipeline in pipelines])
        return location

    @property
    def names(self) -> list[str]:
        """All of them, in order."""
        return sorted(workload.spec.name for workload in (*self.pipelines, *self.inboxes))

    def shared_beside(self, name: str) -> dg.Definitions:
        """All sensors and resources, defined once per code location: beside the assets of the first name."""
        if name != self.names[0]:
            return dg.Definitions()
        interval_s = int(os.environ.get(SENSOR_INTERVAL, INTERVAL_S))
        has_queue = bool(os.environ.get(EVENTS_QUEUE))
        sensors = [
            *build_sensors(self.pipelines, interval_s, self.inboxes, has_queue=has_queue),
            *build_alerts(self.pipelines, Alerts.from_environment(), interval_s),
        ]
        schedules = build_schedules(self.pipelines)
        return dg.Definitions(sensors=sensors, schedules=schedules, resources=self.component.resources())
