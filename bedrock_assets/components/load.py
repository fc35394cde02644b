"""Pipelines and inboxes, found in the project's `defs/` or by path; no data is read."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bedrock_assets.components.read_yaml import read_spec
from bedrock_assets.config import InboxSpec, PipelineSpec, WorkloadSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.project import COMPONENTS, Project, clashes, find_project

if TYPE_CHECKING:
    pass

Spec = TypeVar("Spec", bound=WorkloadSpec)

_TYPE = re.compile(r"""^["']?type["']?\s*:\s*["']?([\w.]+)""", re.MULTILINE)


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
