"""The Dagster components: a `defs.yaml` becomes assets, checks and, once per code location, the sensors."""

import logging
import warnings
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import dagster as dg
from pydantic import BaseModel, Field, InstanceOf, ValidationError
from typing_extensions import override

from bedrock_assets.components.broken import Broken, is_validation
from bedrock_assets.components.build import definitions_of
from bedrock_assets.components.location import Site
from bedrock_assets.components.scaffold import InboxScaffolder, PipelineScaffolder
from bedrock_assets.components.whole import require_columns, require_steps
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.templating import Attributes, attributes_of, resolve
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, describe_validation_error
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.environment import resources

logger = logging.getLogger(__name__)


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

    @property
    def member(self) -> Pipeline | Inbox | Broken:
        """What the spec describes, or why it cannot be built."""
        try:
            self.require_whole()
        except BedrockAssetsError as error:
            return self._broken(error)
        return self.owner

    def _broken(self, error: BedrockAssetsError) -> Broken:
        spec, placed = self.spec, _placed(error, self.place)
        return Broken.of(placed, Path(self.place), spec.model_dump(), is_inbox=issubclass(self.spec_class, InboxSpec))

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        with warnings.catch_warnings():
            # Of backfill policies and owners: whoever uses the component can do nothing about them.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return self._defs(context)

    def _defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        # Sorted, so that what comes once per code location is beside the first, wherever it lies.
        components = context.component_tree.get_all_components(of_type=BatchComponent)
        components = sorted(components, key=lambda component: component.place)
        site = Site.of([(component.place, component.member) for component in components])
        position = next(i for i, component in enumerate(components) if component is self)
        own = self._own_defs(site, position)
        if position > 0:
            return own
        kind = _with_resources({type(component) for component in components} - {BrokenComponent})
        return dg.Definitions.merge(own, site.location.shared(kind.resources()))

    def _own_defs(self, site: Site, position: int) -> dg.Definitions:
        """
        Its assets and checks; if it is broken, assets that say why.

        Raises:
            ConfigError: Definitions are only validated, and something is broken; the text has all errors.
        """
        if position not in site.broken:
            try:
                return definitions_of(self.owner, site.location, self.get_asset_spec)
            except BedrockAssetsError as error:
                if is_validation():
                    raise _placed(error, self.place) from error
                return self._broken(error).definitions()
        if is_validation():
            raise ConfigError(site.errors)
        broken = site.broken[position]
        logger.error("%s", broken.error)
        return broken.definitions() if position in site.shown else dg.Definitions()

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
            return cls._stand_in(ConfigError(f"`attributes` are missing: {', '.join(needed)}"), _file_of(context), {})
        return super().load(attributes, context)

    @classmethod
    @override
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        file = _file_of(dg.ComponentLoadContext.from_resolution_context(context))
        written: dict[str, Any] = model.root if isinstance(model, Attributes) else model.model_dump()
        attributes = written
        try:
            attributes = resolve(cls.spec_class, written, context.scope)
            given = dict(attributes)
            own = {name: given.pop(name) for name in _own_fields(cls) if name in given}
            component = cls(spec=cls.spec_class.model_validate(given), file=file, **own)
            component.require_whole()
        except ValidationError as error:
            return cls._stand_in(ConfigError(describe_validation_error(error, "attributes")), file, attributes)
        except BedrockAssetsError as error:
            return cls._stand_in(error, file, attributes)
        return component

    @classmethod
    def _stand_in(cls, error: BedrockAssetsError, file: Path, written: Mapping[str, Any]) -> Self:
        """A component that shows an error, so that only this one is not loaded, and not all of the code location."""
        is_inbox = issubclass(cls.spec_class, InboxSpec)
        broken = Broken.of(_placed(error, str(file)), file, written, is_inbox=is_inbox)
        # Dagster takes any component of what it asks for in all places of ours, which ask for a BatchComponent.
        return cast("Self", BrokenComponent.model_construct(broken=broken, file=file))

    @property
    def _folder(self) -> Path:
        """Where `<prompt_id>.txt` is looked for first."""
        return self.file.parent if self.file else Path()


class BrokenComponent(BatchComponent):
    """What Dagster gets in place of a component whose file is wrong."""

    broken: InstanceOf[Broken]

    @property
    @override
    def member(self) -> Broken:
        return self.broken


def _placed(error: BedrockAssetsError, place: str) -> BedrockAssetsError:
    """The error, with where the component is from before its text."""
    return type(error)(f"{place}: {error}")


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
        require_steps(self.pipeline)
        if is_validation():
            require_columns(self.pipeline)

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
