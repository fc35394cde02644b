"""The Dagster component: a `defs.yaml` becomes assets, checks and, once for all pipelines, the sensors."""

import os
from dataclasses import dataclass

import dagster as dg
from pydantic import BaseModel
from typing_extensions import override

from bedrock_assets.alerts import Alerts, build_alerts
from bedrock_assets.assets import build_assets
from bedrock_assets.checks import build_checks
from bedrock_assets.errors import ConfigError, DataError
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.scaffolder import PipelineScaffolder
from bedrock_assets.sensors import INTERVAL_S, build_sensors
from bedrock_assets.spec import PipelineSpec

SENSOR_INTERVAL = "BEDROCK_ASSETS_SENSOR_INTERVAL_S"


@dg.scaffold_with(PipelineScaffolder)
@dataclass
class BatchInference(dg.Component):
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
            raise ConfigError(f"{context.path / 'defs.yaml'}: there are no `attributes`; name, source, model and task")
        try:
            return cls(Pipeline(attributes, context.path))
        except (ConfigError, DataError) as error:
            raise type(error)(f"{context.path / 'defs.yaml'}: {error}") from error

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        everywhere = context.component_tree.get_all_components(of_type=BatchInference)
        pipelines = sorted((component.pipeline for component in everywhere), key=lambda p: p.spec.name)
        names = [pipeline.spec.name for pipeline in pipelines]
        if len(set(names)) < len(names):
            raise ConfigError(f"pipelines share a name: {', '.join(names)}; names are folders in the store")
        source = self.pipeline.spec.source.pipeline
        if source and (source not in names or source == self.pipeline.spec.name):
            raise ConfigError(
                f"{self.pipeline.spec.name}: source.pipeline {source!r} is no other pipeline of this code location; "
                f"known: {', '.join(names)}"
            )
        interval_s = int(os.environ.get(SENSOR_INTERVAL, INTERVAL_S))
        first = self.pipeline.spec.name == names[0]
        return dg.Definitions(
            assets=build_assets(self.pipeline),
            asset_checks=build_checks(self.pipeline),
            sensors=[
                *build_sensors(pipelines, interval_s),
                *build_alerts(pipelines, Alerts.from_environment(), interval_s),
            ]
            if first
            else [],
        )
