"""The Dagster components: a `defs.yaml` becomes assets, checks and, once per code location, the sensors."""

from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from bedrock_assets.components.build import Location, definitions_of
from bedrock_assets.components.scaffold import InboxScaffolder, PipelineScaffolder
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec, WorkloadSpec
from bedrock_assets.config.templating import Attributes, attributes_of, resolve
from bedrock_assets.errors import BedrockAssetsError, ConfigError, describe_validation_error
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import resources
from bedrock_assets.sensors.rounds import build_schedule


class BatchComponent(dg.Component, dg.Model, dg.Resolvable):
    """
    What all components share: how they are read from YAML, and the resources of their code location.

    The keys under `attributes:` are those of the spec, and the fields that a subclass adds.
    """

    spec_class: ClassVar[type[WorkloadSpec]] = WorkloadSpec

    spec: WorkloadSpec
    file: Path | None = Field(
        default=None, description="The YAML or Python file that the component is from; prompts lie beside it."
    )

    @classmethod
    def resources(cls) -> dict[str, Any]:
        """
        The resources `bedrock_batch_store`, `bedrock_batch` and `bedrock_batch_events`; from the environment.

        A subclass may return others, for the whole code location, as that has one of each.
        """
        return dict(resources())

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """
        The spec of each asset, which a subclass may change: its group, tags, owners, kinds, description, metadata, or
        further deps; the key and the partitions stay as they are.
        """
        return spec

    def require_whole(self) -> None:
        """
        Raises:
            BedrockAssetsError: What the spec describes cannot be built.
        """
        _ = self.owner

    @property
    def owner(self) -> Pipeline | Inbox:
        """What the spec describes, found and checked."""
        raise NotImplementedError

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        components = context.component_tree.get_all_components(of_type=BatchComponent)
        location = Location.of((component.place, component.owner) for component in components)
        own = definitions_of(self.owner, location, self.get_asset_spec)
        # Beside the assets of the first name, wherever it lies: once per code location.
        if self.spec.name != location.specs[0].name:
            return own
        kind = _with_resources({type(component) for component in components})
        return dg.Definitions.merge(own, location.shared(kind.resources()))

    @property
    def place(self) -> str:
        """Where the component is from, for messages."""
        return str(self.file or f"a {type(self).__name__} in Python")

    @classmethod
    @override
    def model(cls) -> type[BaseModel]:
        return _attributes(cls)

    @classmethod
    @override
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        if attributes is None:
            needed = [field.alias or name for name, field in cls.spec_class.model_fields.items() if field.is_required()]
            raise ConfigError(f"{_file_of(context)}: `attributes` are missing: {', '.join(needed)}")
        return super().load(attributes, context)

    @classmethod
    @override
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        file = _file_of(dg.ComponentLoadContext.from_resolution_context(context))
        try:
            written: dict[str, Any] = model.root if isinstance(model, Attributes) else model.model_dump()
            attributes = resolve(cls.spec_class, written, context.scope)
            own = {name: attributes.pop(name) for name in _own_fields(cls) if name in attributes}
            component = cls(spec=cls.spec_class.model_validate(attributes), file=file, **own)
            component.require_whole()
        except ValidationError as error:
            raise ConfigError(f"{file}: {describe_validation_error(error, 'attributes')}") from error
        except BedrockAssetsError as error:
            raise type(error)(f"{file}: {error}") from error
        return component

    @property
    def _folder(self) -> Path:
        """Where `<prompt_id>.txt` is looked for first."""
        return self.file.parent if self.file else Path()


def _file_of(context: Any) -> Path:
    """The file that a component is loaded from."""
    path: Path = context.path
    tree = context.resolution_context.source_position_tree
    return Path(tree.position.filename) if tree else path / "defs.yaml" if path.is_dir() else path


def _own_fields(cls: type[BatchComponent]) -> list[str]:
    """Fields that a subclass adds."""
    return [name for name in cls.model_fields if name not in BatchComponent.model_fields]


@cache
def _attributes(cls: type[BatchComponent]) -> type[Attributes]:
    properties = cls.model_json_schema()["properties"] if _own_fields(cls) else {}
    return attributes_of(cls.spec_class, {name: properties[name] for name in _own_fields(cls)})


@dg.scaffold_with(PipelineScaffolder)
class BatchInference(BatchComponent):
    """A model's answer beside every row of a table, through Amazon Bedrock batch inference."""

    spec_class: ClassVar[type[WorkloadSpec]] = PipelineSpec

    spec: PipelineSpec  # pyright: ignore[reportIncompatibleVariableOverride] - a component's spec is not replaced

    @cached_property
    def pipeline(self) -> Pipeline:
        """
        The pipeline that the spec describes.

        Raises:
            ConfigError: The model, the task, the schema or a template is wrong.
            DataError: The columns of the source do not fit.
        """
        return Pipeline(self.spec, self._folder)

    @override
    def require_whole(self) -> None:
        super().require_whole()
        if self.spec.schedule:
            build_schedule(self.pipeline)

    @property
    @override
    def owner(self) -> Pipeline:
        return self.pipeline


@dg.scaffold_with(InboxScaffolder)
class BatchInbox(BatchComponent):
    """Ready-made JSONL files that are dropped into a folder, answered through Amazon Bedrock batch inference."""

    spec_class: ClassVar[type[WorkloadSpec]] = InboxSpec

    spec: InboxSpec  # pyright: ignore[reportIncompatibleVariableOverride] - a component's spec is not replaced

    @cached_property
    def inbox(self) -> Inbox:
        """
        The inbox that the spec describes.

        Raises:
            ConfigError: The model is wrong, or the settings do not fit it.
        """
        return Inbox(self.spec)

    @property
    @override
    def owner(self) -> Inbox:
        return self.inbox


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
