"""Pipelines and inboxes, found in the project's `defs/` or by path, and read from their YAML; no data is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bedrock_assets.config import InboxSpec, PipelineSpec, WorkloadSpec
from bedrock_assets.errors import ConfigError, describe_validation_error
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.project import Project, find_project

Spec = TypeVar("Spec", bound=WorkloadSpec)

COMPONENT = "bedrock_assets.BatchInference"
"""The component of a pipeline, and the default of `type:`."""
COMPONENTS: dict[str, type[WorkloadSpec]] = {COMPONENT: PipelineSpec, "bedrock_assets.BatchInbox": InboxSpec}
"""Values of `type:`, and what their `attributes:` are."""


def load_pipeline(name: str, project: Project | None = None) -> Pipeline:
    """
    Load a pipeline by its name or its folder under `defs/`, or by the path of its YAML file.

    Raises:
        ConfigError: There is no such pipeline, or its YAML is wrong; the message names file and key.
    """
    path, spec = _find_one(PipelineSpec, name, project or find_project())
    return Pipeline(spec, path.parent)


def known_pipelines() -> list[str]:
    """Names of the pipelines under `defs/`, without inboxes."""
    return [spec.name for _, spec in _find(PipelineSpec)]


def specs_of(names: Sequence[str] | None) -> list[WorkloadSpec]:
    """
    Read pipelines and inboxes: the named ones, by name or by the path of a defs.yaml, or all under `defs/`.

    Raises:
        ConfigError: There is none, or its YAML is wrong; the message names file and key.
    """
    specs = [spec for _, spec in _find(WorkloadSpec, names or ())]
    if not specs:
        raise ConfigError(f"there is no pipeline in {find_project()}; name the path of a defs.yaml")
    return specs


def read_spec(path: Path) -> WorkloadSpec | None:
    """
    Read a defs.yaml; None if it is for another component.

    Raises:
        ConfigError: The YAML is wrong; the message names file and key.
    """
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one is not None]
        if len(documents) > 1:
            _require_foreign(path, documents)
            return None
        (document,) = documents or [{}]
        spec = COMPONENTS.get(document.get("type", COMPONENT))
        return spec and spec.model_validate(document["attributes"])
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_validation_error(error, 'attributes')}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be read; write it flatter") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML with `type` and `attributes`: {error}") from error


def _require_foreign(path: Path, documents: Sequence[Any]) -> None:
    if any(document.get("type") in COMPONENTS for document in documents):
        raise ConfigError(f"{path} has several YAML documents; give each pipeline and inbox a folder of its own")


def _find(kind: type[Spec], names: Sequence[str] = ()) -> list[tuple[Path, Spec]]:
    """Files and specs of a kind: the named ones, or all under `defs/`."""
    project = find_project()
    return [_find_one(kind, name, project) for name in names] if names else _find_all(kind, project)


def _find_all(kind: type[Spec], project: Project) -> list[tuple[Path, Spec]]:
    return [(path, spec) for path in _files(project) if isinstance(spec := read_spec(path), kind)]


def _files(project: Project) -> list[Path]:
    """Files of the project that name our components; those of others may be anything."""
    paths = sorted(project.defs.rglob("defs.yaml"))
    return [path for path in paths if any(name in path.read_text("utf-8", "replace") for name in COMPONENTS)]


def _find_one(kind: type[Spec], name: str, project: Project) -> tuple[Path, Spec]:
    path = Path(name) if name.endswith((".yaml", ".yml")) else project.defs / name / "defs.yaml"
    if not path.is_file():
        return _find_by_name(kind, name, project)
    spec = read_spec(path)
    if isinstance(spec, kind):
        return path, spec
    wanted = " or ".join(component for component, spec in COMPONENTS.items() if issubclass(spec, kind))
    raise ConfigError(f"{path} does not have `type: {wanted}`; name another file")


def _find_by_name(kind: type[Spec], name: str, project: Project) -> tuple[Path, Spec]:
    every, errors = list[tuple[Path, Spec]](), list[ConfigError]()
    for path in _files(project):
        try:
            every += [(path, spec)] if isinstance(spec := read_spec(path), kind) else []
        except ConfigError as error:  # of another pipeline, unless none has the name
            errors.append(error)
    for path, spec in every:
        if spec.name == name:
            return path, spec
    if errors:
        raise errors[0]
    what, known = "pipeline" if kind is PipelineSpec else "pipeline or inbox", ", ".join(spec.name for _, spec in every)
    raise ConfigError(
        f"there is no {what} {name!r} in {project}; known: {known or 'none'}. Give one of these, or the path of a "
        "defs.yaml"
    )
