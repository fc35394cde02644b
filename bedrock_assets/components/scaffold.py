"""Writes a new pipeline or inbox: defs.yaml and its prompt, for `bedrock-assets new` and for `dg scaffold defs`."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from bedrock_assets.components.whole import require_columns
from bedrock_assets.config import PipelineSpec
from bedrock_assets.errors import ConfigError, describe_validation_error
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.project import COMPONENT

HUB, ASSET = "hf:", "asset:"
MODEL = "us.amazon.nova-2-lite-v1:0"


@dataclass(frozen=True)
class Draft:
    """What to write into a new pipeline."""

    name: str
    source: str
    """A path or glob, `hf:ID` of a dataset on the Hugging Face hub, `asset:KEY`, or the name of another pipeline."""
    model: str
    prompt: str | None = None
    embed: str | None = None
    """Column to embed, instead of a prompt."""
    id_column: str | None = None

    def attributes(self, defs: Path) -> dict[str, Any]:
        """
        The value of `attributes:`.

        Args:
            defs: Folder of all pipelines.

        Raises:
            ConfigError: Not exactly one of prompt and embed is given.
        """
        if (self.prompt is None) == (self.embed is None):
            raise ConfigError("name exactly one of --prompt and --embed")
        task = {"embedding": {"column": self.embed}} if self.embed else {"text": {"prompt_id": self.name}}
        return {"name": self.name, "source": self._source(defs), "model": self.model, "task": task}

    def _source(self, defs: Path) -> dict[str, Any]:
        id_column = {"id_column": self.id_column} if self.id_column else {}
        if self.source.startswith(HUB):
            return {"huggingface": {"id": self.source.removeprefix(HUB)}, **id_column}
        if self.source.startswith(ASSET):
            return {"asset": self.source.removeprefix(ASSET), **id_column}
        if (defs / self.source / "defs.yaml").is_file():
            return {"pipeline": self.source, **id_column}
        return {"path": self._path(defs / self.name), **id_column}

    def _path(self, folder: Path) -> str:
        """The path as it is to be written: that of a local file starts at the folder of the YAML."""
        if self.source.startswith("s3://") or Path(self.source).is_absolute():
            return self.source
        return os.path.relpath(self.source, folder)

    def write_files(self, request: dg.ScaffoldRequest[Any]) -> list[Path]:
        """Write defs.yaml and, for a prompt, `<name>.txt` into the request's folder; returns their paths."""
        folder = request.target_path.parent if request.append else request.target_path
        written = _write_component(request, "BatchInference", self.attributes(folder.parent))
        if not self.prompt:
            return [written]
        prompt = folder / f"{self.name}.txt"
        prompt.write_text(self.prompt + "\n", "utf-8")
        return [written, prompt]


def _write_component(request: dg.ScaffoldRequest[Any], component: str, attributes: Mapping[str, Any]) -> Path:
    """Write a defs.yaml, or with `--format python` a component.py; returns its path."""
    if request.scaffold_format == "yaml":
        dg.scaffold_component(request, attributes)
        return request.target_path if request.append else request.target_path / "defs.yaml"
    path = request.target_path / "component.py"
    path.write_text(
        _PYTHON.format(component=component, attributes=pformat(dict(attributes), sort_dicts=False)), "utf-8"
    )
    return path


_PYTHON = """\
from pathlib import Path

import dagster as dg

from bedrock_assets import {component}

ATTRIBUTES = {attributes}


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> {component}:
    return {component}(spec=ATTRIBUTES, file=Path(__file__))
"""


class Params(BaseModel):
    """Settings of a new pipeline; each can be changed later in the YAML."""

    source: str = Field(
        default="data/*.parquet", description="File or glob: .parquet, .csv, .jsonl; from the folder of defs.yaml."
    )
    model: str = Field(default=MODEL, description="Model id.")
    prompt: str = Field(default="Summarise: {text}", description="Template over the columns.")


def write(draft: Draft, defs: Path) -> list[Path]:
    """
    Write a pipeline's files if it loads; otherwise leave nothing behind.

    Args:
        defs: Folder of all pipelines.

    Returns:
        defs.yaml, and the prompt's file if there is one.

    Raises:
        ConfigError: The pipeline already exists, or does not load; the message is the one that loading it gives. Or its
            prompt does not fit the columns of its local file.
    """
    folder = defs / draft.name
    try:
        spec = PipelineSpec.model_validate(draft.attributes(defs))
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error)) from error
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another name, or edit {folder / 'defs.yaml'}")
    request = dg.ScaffoldRequest(
        type_name=COMPONENT, target_path=folder, scaffold_format="yaml", project_root=None, params=Params()
    )
    try:
        folder.mkdir(parents=True)
        try:
            files = draft.write_files(request)
            pipeline = Pipeline(spec, folder)
            pipeline.require_placeholder()
            require_columns(pipeline)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error}") from error
    return files


class PipelineScaffolder(dg.Scaffolder[Params]):
    """What `dg scaffold defs bedrock_assets.BatchInference NAME` writes: a pipeline that loads, to be edited."""

    @classmethod
    @override
    def get_scaffold_params(cls) -> type[Params]:
        return Params

    @override
    def scaffold(self, request: dg.ScaffoldRequest[Params]) -> None:
        params = request.params
        Draft(request.target_path.name, params.source, params.model, params.prompt).write_files(request)


class InboxParams(BaseModel):
    """Settings of a new inbox; each can be changed later in the YAML."""

    model: str = Field(default=MODEL, description="Model id.")
    dropped_to: str | None = Field(default=None, description="Folder in the store for files to answer.")


class InboxScaffolder(dg.Scaffolder[InboxParams]):
    """What `dg scaffold defs bedrock_assets.BatchInbox NAME` writes: an inbox with folders of its own."""

    @classmethod
    @override
    def get_scaffold_params(cls) -> type[InboxParams]:
        return InboxParams

    @override
    def scaffold(self, request: dg.ScaffoldRequest[InboxParams]) -> None:
        name = request.target_path.name
        attributes = {
            "name": name,
            "model": request.params.model,
            "dropped_to": request.params.dropped_to or f"{name}-to-process",
            "processed_to": f"{name}-processed",
        }
        _write_component(request, "BatchInbox", attributes)
