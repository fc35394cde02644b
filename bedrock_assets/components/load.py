"""
Pipelines and inboxes, found in the project's `defs/` or by path, and read from their YAML; no data is read.

Dagster reads a file where that is needed, so that its values are those of the code location: for a component that is a
subclass in the project, and for template variables other than `env`. All others are read without loading Dagster.
"""

import re
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from bedrock_assets.config import InboxSpec, PipelineSpec, WorkloadSpec
from bedrock_assets.config.templating import resolve, variables
from bedrock_assets.errors import BedrockAssetsError, ConfigError, describe_validation_error
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.project import COMPONENT, COMPONENTS, Project, clashes, find_project

if TYPE_CHECKING:
    from dagster import ComponentTree

Spec = TypeVar("Spec", bound=WorkloadSpec)

_TYPE = re.compile(r"""^["']?type["']?\s*:\s*["']?([\w.]+)""", re.MULTILINE)
_UNQUOTED = re.compile(r""":\s*\{[^}]*\}\s*[^\s#,}\]]|:\s+[^"'{\[]*:\s""")
"""A value that goes on after a brace, or has a colon, without quotes."""


def load_pipeline(name: str, project: Project | None = None) -> Pipeline:
    """
    Load a pipeline by its name or its folder under `defs/`, or by the path of its YAML file.

    Raises:
        ConfigError: There is no such pipeline, or its YAML is wrong; the message names file and key.
    """
    owner = _owner(*_find_one(PipelineSpec, name, project or find_project()))
    assert isinstance(owner, Pipeline)  # noqa: S101 - of a PipelineSpec
    return owner


def load_workload(name: str, project: Project | None = None) -> Pipeline | Inbox:
    """
    Load a pipeline or an inbox by its name or its folder under `defs/`, or by the path of its YAML file.

    Raises:
        ConfigError: There is none of that name, or its YAML is wrong; the message names file and key.
    """
    return _owner(*_find_one(WorkloadSpec, name, project or find_project()))


def find_workloads(
    names: Sequence[str] | None = None, *, whole: bool = False
) -> tuple[list[WorkloadSpec], list[BedrockAssetsError]]:
    """
    Read pipelines and inboxes, the named ones or all under `defs/`, whatever is wrong with others.

    Args:
        whole: Also look at what they name: model, prompts, schema, source. What is wrong there is among the errors.

    Returns:
        Those whose YAML could be read, and an error for each that is wrong, which names file and key.

    Raises:
        ConfigError: The project's own settings are wrong.
    """
    project = find_project()
    found, errors = list[tuple[Path, WorkloadSpec]](), list[BedrockAssetsError]()
    for name in names or map(str, _files(project)):
        try:
            path, spec = (
                _find_one(WorkloadSpec, name, project) if names else (Path(name), read_spec(Path(name), project))
            )
            if spec is not None:
                found.append((path, spec))
                errors += _faults(path, spec) if whole else []
        except ConfigError as error:
            errors.append(error)
    clashing = clashes([(str(path), spec.name) for path, spec in found])
    errors += dict.fromkeys(clashing.values())
    return [spec for i, (_, spec) in enumerate(found) if i not in clashing], errors


def _faults(path: Path, spec: WorkloadSpec) -> list[BedrockAssetsError]:
    from bedrock_assets.components.whole import require_whole

    try:
        owner = _owner(path, spec)
        with named(path):
            require_whole(owner)
    except BedrockAssetsError as error:
        return [error]
    return []


@contextmanager
def named(path: Path) -> Generator[None]:
    """Put the file before the text of our errors."""
    try:
        yield
    except BedrockAssetsError as error:
        raise type(error)(f"{path}: {error}") from error


def specs_of(names: Sequence[str] | None) -> list[WorkloadSpec]:
    """
    Read pipelines and inboxes: the named ones, by name or by the path of a defs.yaml, or all under `defs/`.

    Raises:
        ConfigError: There is none, or its YAML is wrong; the message names file and key.
    """
    specs, errors = find_workloads(names)
    if errors:
        raise errors[0]
    if not specs:
        raise ConfigError(f"there is no pipeline in {find_project()}; name the path of a defs.yaml")
    return specs


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


def _owner(path: Path, spec: WorkloadSpec) -> Pipeline | Inbox:
    """
    Raises:
        BedrockAssetsError: What the spec names is wrong; the message begins with the file.
    """
    with named(path):
        if isinstance(spec, InboxSpec):
            return Inbox(spec)
        assert isinstance(spec, PipelineSpec)  # noqa: S101 - there is no third component
        pipeline = Pipeline(spec, path.parent)
        pipeline.require_placeholder()
        return pipeline


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


def _files(project: Project) -> list[Path]:
    """Files of the project that name our components, or one of the project's own; those of others may be anything."""
    own = project.module.split(".")[0]

    def may_be_ours(text: str) -> bool:
        kinds = [kind.split(".")[0] for kind in _TYPE.findall(text)]
        return not text.strip() or any(name in text for name in COMPONENTS) or bool({own, "bedrock_assets"} & {*kinds})

    paths = sorted(project.defs.rglob("defs.yaml"))
    return [path for path in paths if may_be_ours(path.read_text("utf-8", "replace"))]


def _find_one(kind: type[Spec], name: str, project: Project) -> tuple[Path, Spec]:
    path = Path(name) if name.endswith((".yaml", ".yml")) else project.defs / name / "defs.yaml"
    if not path.is_file():
        return _find_by_name(kind, name, project)
    spec = read_spec(path, project)
    if isinstance(spec, kind):
        _require_own_name(path, spec, project)
        return path, spec
    wanted = " or ".join(component for component, spec in COMPONENTS.items() if issubclass(spec, kind))
    raise ConfigError(f"{path} does not have `type: {wanted}`; name another file")


def _require_own_name(path: Path, spec: WorkloadSpec, project: Project) -> None:
    """
    Raises:
        ConfigError: The project has another file of the same name, whose folder has it.
    """
    other = project.defs / spec.name / "defs.yaml"
    if path.parent.name == spec.name or not other.is_file() or not path.is_relative_to(project.defs):
        return
    try:
        second = read_spec(other, project)
    except ConfigError:  # it is told when that one is asked for
        return
    if second and second.name == spec.name:
        raise clashes([(str(path), spec.name), (str(other), spec.name)])[0]


def _find_by_name(kind: type[Spec], name: str, project: Project) -> tuple[Path, Spec]:
    every, errors = list[tuple[Path, Spec]](), list[ConfigError]()
    for path in _files(project):
        try:
            every += [(path, spec)] if isinstance(spec := read_spec(path, project), kind) else []
        except ConfigError as error:  # of another pipeline, unless none has the name
            errors.append(error)
    clashing = clashes([(str(path), spec.name) for path, spec in every])
    for i, (path, spec) in enumerate(every):
        if spec.name == name and i not in clashing:
            return path, spec
    errors = [*(error for i, error in clashing.items() if every[i][1].name == name), *errors]
    if errors:
        raise errors[0]
    what, known = "pipeline" if kind is PipelineSpec else "pipeline or inbox", ", ".join(spec.name for _, spec in every)
    raise ConfigError(
        f"there is no {what} {name!r} in {project}; known: {known or 'none'}. Give one of these, or the path of a "
        "defs.yaml"
    )
