"""
One defs.yaml, read to a spec.

Dagster reads a file where that is needed, so that its values are those of the code location: for a component that is a
subclass in the project, and for template variables other than `env`. All others are read without loading Dagster.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from bedrock_assets.config import WorkloadSpec
from bedrock_assets.config.templating import resolve, variables
from bedrock_assets.errors import BedrockAssetsError, ConfigError, describe_validation_error
from bedrock_assets.pipeline.project import COMPONENT, COMPONENTS, Project, find_project

if TYPE_CHECKING:
    from dagster import ComponentTree

_UNQUOTED = re.compile(r""":\s*\{[^}]*\}\s*[^\s#,}\]]|:\s+[^"'{\[]*:\s""")
"""A value that goes on after a brace, or has a colon, without quotes."""


def read_spec(path: Path, project: Project | None = None) -> WorkloadSpec | None:
    """
    Read a defs.yaml; None if it is for another component.

    Args:
        project: The project that the file may lie in.

    Raises:
        ConfigError: The YAML is wrong; the message names file and key.
    """
    project = project or find_project()
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one is not None]
        if len(documents) > 1:
            _require_foreign(path, documents)
            return None
        if not documents:
            raise ConfigError(
                f"{path} is empty, so that Dagster loads nothing of the project; write `type: {COMPONENT}` and "
                "`attributes:` into it, or delete it"
            )
        return _spec_of(documents[0], path, project)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_validation_error(error, 'attributes')}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be read; write it flatter") from error
    except yaml.YAMLError as error:
        raise _yaml_error(path, error) from error
    except (UnicodeDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML with `type` and `attributes`: {error}") from error


def _spec_of(document: Mapping[str, Any], path: Path, project: Project) -> WorkloadSpec | None:
    kind, attributes = str(document.get("type", COMPONENT)), document.get("attributes")
    spec = COMPONENTS.get(kind)
    if spec is None:
        _require_known(kind, path)
        return _load_by_dagster(path, project) if _is_subclass(kind, path, project) else None
    if not isinstance(attributes, Mapping):
        raise TypeError("`attributes` are missing" if attributes is None else "`attributes` are not keys and values")
    try:
        resolved = None if variables(spec, attributes) - {"env"} else resolve(spec, attributes, {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return _load_by_dagster(path, project) if resolved is None else spec.model_validate(resolved)


def _yaml_error(path: Path, error: yaml.YAMLError) -> ConfigError:
    """The error with the line, and for the commonest slip, a prompt that begins with a placeholder, the cure."""
    mark: yaml.Mark | None = getattr(error, "problem_mark", None)
    if mark is None:
        return ConfigError(f"{path} is not YAML with `type` and `attributes`: {error}")
    line = next(iter(path.read_text("utf-8").splitlines()[mark.line : mark.line + 1]), "").strip()
    problem = f"{getattr(error, 'problem', None) or 'it cannot be read'} in `{line}`"
    if "\\t" in problem:
        problem = "a tab; indent with spaces"
    elif _UNQUOTED.search(line):
        problem = f"`{line}` has a text with braces or a colon; put the text in quotes"
    return ConfigError(f"{path} is not YAML with `type` and `attributes`, line {mark.line + 1}: {problem}")


def _require_known(kind: str, path: Path) -> None:
    """
    Raises:
        ConfigError: The type is said to be of this package, and is not.
    """
    package, _, name = kind.rpartition(".")
    ours = [component.rpartition(".")[2] for component in COMPONENTS]
    if package == "bedrock_assets" and name not in ours:
        close = get_close_matches(kind, COMPONENTS, 1) or list(COMPONENTS)
        raise ConfigError(f"{path}: type {kind!r} is none of this package; did you mean {close[0]}?")


def _is_subclass(kind: str, path: Path, project: Project) -> bool:
    """
    Whether the type of a component is a subclass of ours in the project; types of other packages are not imported.

    Raises:
        ConfigError: The module of the type cannot be imported.
    """
    module, _, name = kind.rpartition(".")
    if not module or module.split(".")[0] != project.module.split(".")[0]:
        return False
    from bedrock_assets.components.batch import BatchComponent

    _make_importable(project)
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:
        raise ConfigError(f"{path}: type {kind} cannot be imported: {type(error).__name__}: {error}") from error
    return isinstance(found, type) and issubclass(found, BatchComponent)


def _load_by_dagster(path: Path, project: Project) -> WorkloadSpec:
    """
    The spec of the component that Dagster makes of a file.

    Raises:
        ConfigError: The file lies in no project, or Dagster cannot load it.
    """
    from bedrock_assets.components.batch import BatchComponent
    from bedrock_assets.components.broken import Broken

    if project.folder is None or not path.resolve().is_relative_to(project.defs.resolve()):
        raise ConfigError(
            f"{path}: template variables other than `env` are those of a Dagster project; run the command in the "
            "project that the file lies in"
        )
    _make_importable(project)
    try:
        component = _component_tree(project.folder).load_component(path.resolve().parent, BatchComponent)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BedrockAssetsError):
            cause = cause.__cause__
        if isinstance(cause, BedrockAssetsError):
            raise cause from error
        last = error.__cause__ or error
        raise ConfigError(f"{path}: Dagster cannot load it: {type(last).__name__}: {last}") from error
    if isinstance(component.member, Broken):
        raise component.member.error
    return component.spec


@cache
def _component_tree(folder: Path) -> "ComponentTree":
    import dagster as dg

    return dg.ComponentTree.for_project(folder)


def _make_importable(project: Project) -> None:
    if str(project.source) not in sys.path:
        sys.path.insert(0, str(project.source))


def _require_foreign(path: Path, documents: Sequence[Any]) -> None:
    if any(document.get("type") in COMPONENTS for document in documents):
        raise ConfigError(f"{path} has several YAML documents; give each pipeline and inbox a folder of its own")
