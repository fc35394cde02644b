"""Pipelines and inboxes, found under `defs/` or by path, and read from their YAML; their data is not read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from bedrock_assets.config import InboxSpec, PipelineSpec, WorkloadSpec
from bedrock_assets.errors import ConfigError, describe_validation_error
from bedrock_assets.pipeline.pipeline import Pipeline

Spec = TypeVar("Spec", bound=WorkloadSpec)

DEFS = Path(__file__).parent.parent / "defs"
COMPONENT = "bedrock_assets.BatchInference"
"""The component of a pipeline, and the default of `type:`."""
COMPONENTS: dict[str, type[WorkloadSpec]] = {COMPONENT: PipelineSpec, "bedrock_assets.BatchInbox": InboxSpec}
"""Values of `type:`, and what their `attributes:` are."""


def load_pipeline(name: str) -> Pipeline:
    """
    Load a pipeline by its name under `defs/`, or by the path of its YAML file.

    Raises:
        ConfigError: There is no such pipeline, or its YAML is wrong; the message names file and key.
    """
    ((path, spec),) = _find(PipelineSpec, [name])
    return Pipeline(spec, path.parent)


def known_pipelines() -> list[str]:
    """Names of the pipelines under `defs/`, without inboxes."""
    return [path.parent.name for path, _ in _find(PipelineSpec)]


def specs_of(names: Sequence[str] | None) -> list[WorkloadSpec]:
    """
    Read pipelines and inboxes: the named ones, by name or by the path of a defs.yaml, or all under `defs/`.

    Raises:
        ConfigError: There is none, or its YAML is wrong; the message names file and key.
    """
    specs = [spec for _, spec in _find(WorkloadSpec, names or ())]
    if not specs:
        raise ConfigError("there is no pipeline under defs/; name the path of a defs.yaml")
    return specs


def read_spec(path: Path) -> WorkloadSpec | None:
    """
    Read a defs.yaml; None if it is for another component.

    Raises:
        ConfigError: The YAML is wrong; the message names file and key.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        spec = COMPONENTS.get(document.get("type", COMPONENT))
        return spec and spec.model_validate(document["attributes"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not YAML with `type` and `attributes`: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_validation_error(error, 'attributes')}") from error


def _find(kind: type[Spec], names: Sequence[str] = ()) -> list[tuple[Path, Spec]]:
    """Files and specs of a kind: the named ones, or all under `defs/`."""
    if not names:
        paths = sorted(DEFS.glob("*/defs.yaml"))
        return [(path, spec) for path in paths if isinstance(spec := read_spec(path), kind)]
    return [_find_one(kind, name) for name in names]


def _find_one(kind: type[Spec], name: str) -> tuple[Path, Spec]:
    path = Path(name) if name.endswith((".yaml", ".yml")) else DEFS / name / "defs.yaml"
    if not path.is_file():
        what = "pipeline" if kind is PipelineSpec else "pipeline or inbox"
        known = ", ".join(path.parent.name for path, _ in _find(kind))
        raise ConfigError(f"there is no {what} {name!r}; known: {known}, or give the path of a defs.yaml")
    spec = read_spec(path)
    if isinstance(spec, kind):
        return path, spec
    wanted = " or ".join(component for component, spec in COMPONENTS.items() if issubclass(spec, kind))
    raise ConfigError(f"{path} does not have `type: {wanted}`; name another file")
