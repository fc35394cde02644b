"""Which pipelines and inboxes are told of: their YAML alone is read, and none of their data."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec, WorkloadSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.pipeline import Pipeline

DEFS = Path(__file__).parent.parent / "defs"
COMPONENT = "bedrock_assets.BatchInference"
KINDS: dict[str, type[WorkloadSpec]] = {COMPONENT: PipelineSpec, "bedrock_assets.BatchInbox": InboxSpec}


def specs_of(names: Sequence[str] | None) -> list[WorkloadSpec]:
    """
    Those under `defs/`, or the ones that are named, by name or by the path of a defs.yaml.

    Raises:
        ConfigError: There is none, or its YAML is wrong; the message names file and key.
    """
    paths = [_path(name) for name in names] if names else sorted(DEFS.glob("*/defs.yaml"))
    found = [spec for path in paths if (spec := _spec(path, required=bool(names)))]
    if not found:
        raise ConfigError("there is no pipeline under defs/; name the path of a defs.yaml")
    return found


def _path(name: str) -> Path:
    path = Path(name) if name.endswith((".yaml", ".yml")) else DEFS / name / "defs.yaml"
    if not path.is_file():
        known = ", ".join(path.parent.name for path in sorted(DEFS.glob("*/defs.yaml")))
        raise ConfigError(f"there is no pipeline or inbox {name!r}; known: {known}, or give the path of a defs.yaml")
    return path


def _spec(path: Path, *, required: bool) -> WorkloadSpec | None:
    """None for a component of another kind, unless it is *required*."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        kind = document.get("type", COMPONENT)
        if kind in KINDS:
            return KINDS[kind].model_validate(document["attributes"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not YAML with `type` and `attributes`: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["attributes", *map(str, first["loc"])])
        raise ConfigError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
    if required:
        raise ConfigError(f"{path} is a {kind}, and none of {', '.join(KINDS)}")
    return None


def load_pipeline(name: str) -> Pipeline:
    """
    Read a pipeline by its name under `defs/`, or by the path of its YAML file.

    Raises:
        ConfigError: There is no such pipeline, or its YAML is wrong; the message names file and key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else DEFS / name / "defs.yaml"
    if not path.is_file():
        known = ", ".join(known_pipelines())
        raise ConfigError(f"there is no pipeline {name!r}; known: {known}, or give the path of a defs.yaml")
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        kind = document.get("type", COMPONENT)
        if kind != COMPONENT:
            raise ConfigError(f"{path} is a {kind}, and no {COMPONENT}, which has rows to look at")
        return Pipeline(PipelineSpec.model_validate(document["attributes"]), path.parent)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not YAML with `type: {COMPONENT}` and `attributes`: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["attributes", *map(str, first["loc"])])
        raise ConfigError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from error


def known_pipelines() -> list[str]:
    """Names of the pipelines under `defs/`; an inbox is none."""
    found = sorted(DEFS.glob("*/defs.yaml"))
    return [path.parent.name for path in found if f"type: {COMPONENT}\n" in path.read_text("utf-8")]
