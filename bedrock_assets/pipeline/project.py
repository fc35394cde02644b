"""Finds the Dagster project in which a command is run: its pipelines, and the code location that Dagster loads."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedrock_assets.config import InboxSpec, PipelineSpec, WorkloadSpec
from bedrock_assets.errors import ConfigError

PACKAGE = Path(__file__).parent.parent

COMPONENT = "bedrock_assets.BatchInference"
"""The component of a pipeline, and the default of `type:`."""
COMPONENTS: dict[str, type[WorkloadSpec]] = {COMPONENT: PipelineSpec, "bedrock_assets.BatchInbox": InboxSpec}
"""Values of `type:`, and what their `attributes:` are."""


@dataclass(frozen=True)
class Project:
    """A Dagster project."""

    defs: Path
    """Folder of the components."""
    module: str
    """Module of the code location."""
    name: str
    """Name of the code location."""
    source: Path
    """Folder from which the modules are imported."""
    folder: Path | None = None
    """The project's own folder, where its commands are run; None for the demo."""

    def __str__(self) -> str:
        return str(self.defs) if self.folder else "the demo (this folder is not in a Dagster project)"


DEMO = Project(PACKAGE / "defs", "bedrock_assets.definitions", "bedrock_assets", PACKAGE.parent)
"""The demo's project, which ships with the package; it is used where there is no other."""


def find_project(start: Path | None = None) -> Project:
    """
    The project around a folder: one with a `dg.toml`, or a `pyproject.toml` with `[tool.dg]`, of the type "project".

    Args:
        start: Where the search begins, going up; by default the current folder.

    Raises:
        ConfigError: The project file is not TOML, or the project lacks a setting or its `defs/`.

    Source:
        `dagster_dg_core.context` of 1.13: modules are in `src/` if there is one, components in `ROOT.defs`, and the
        code location is `ROOT.definitions`.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        for file in (folder / "dg.toml", folder / "pyproject.toml"):
            if file.is_file() and (settings := _settings(file)) is not None:
                return _project(file, settings)
    return DEMO


def _settings(file: Path) -> dict[str, Any] | None:
    """The settings of the project, None if the file is not a project's."""
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from error
    try:
        if file.name != "dg.toml":
            settings = settings.get("tool", {}).get("dg", {})
        return dict(settings.get("project", {})) if settings.get("directory_type") == "project" else None
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{file}: its Dagster settings are not tables: {error}") from error


def _project(file: Path, settings: dict[str, Any]) -> Project:
    root = settings.get("root_module")
    if not root:
        raise ConfigError(f"{file}: the project has no `root_module`; set it to the name of the project's package")
    parts = str(settings.get("defs_module", f"{root}.defs")).split(".")
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{file}: {'.'.join(parts)!r} is not a module; correct `root_module` or `defs_module`")
    source = folder if (folder := file.parent / "src").is_dir() else file.parent
    defs = source.joinpath(*parts)
    if not defs.is_dir():
        raise ConfigError(f"{file}: the project has no folder {defs}; create it, or set `defs_module`")
    module = str(settings.get("code_location_target_module", f"{root}.definitions"))
    return Project(defs, module, str(settings.get("code_location_name", file.parent.name)), source, file.parent)


def clashes(named: Sequence[tuple[str, str]]) -> dict[int, ConfigError]:
    """
    Pipelines and inboxes of one name, which would share their folder in the store.

    Args:
        named: Where each is from, and its name.

    Returns:
        By position, the error of each, but of the one whose folder has the name: the others are mostly copies of it
        that are not renamed yet.
    """
    faults = dict[int, ConfigError]()
    for name in dict.fromkeys(name for _, name in named):
        same = sorted((place, i) for i, (place, other) in enumerate(named) if other == name)
        at_home = [i for place, i in same if Path(place).parent.name == name]
        places = " and ".join(place for place, _ in same)
        error = ConfigError(f"{places} both have the name {name!r}, which is their folder in the store; rename one")
        faults |= {i: error for _, i in same if at_home != [i]} if len(same) > 1 else {}
    return faults
