"""What `dg scaffold defs bedrock_assets.BatchInference NAME` writes: a pipeline that loads, to be edited."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline.load import COMPONENT
from bedrock_assets.pipeline.pipeline import Pipeline


class Params(BaseModel):
    """Settings of a new pipeline; each can be changed in the YAML."""

    source: str = Field(default="data/*.parquet", description="File or glob: .parquet, .csv, .jsonl.")
    model: str = Field(default="anthropic.claude-3-haiku-20240307-v1:0", description="Model id.")
    prompt: str = Field(default="Summarise: {text}", description="Template over the columns.")


class PipelineScaffolder(dg.Scaffolder[Params]):
    """Writes defs.yaml and the prompt beside it."""

    @classmethod
    @override
    def get_scaffold_params(cls) -> type[Params]:
        return Params

    @override
    def scaffold(self, request: dg.ScaffoldRequest[Params]) -> None:
        name = request.target_path.name
        attributes: dict[str, Any] = {
            "name": name,
            "source": {"path": request.params.source},
            "model": request.params.model,
            "task": {"text": {"prompt_id": name}},
        }
        dg.scaffold_component(request, attributes)
        (request.target_path / f"{name}.txt").write_text(request.params.prompt + "\n", "utf-8")


HUB = "hf:"


@dataclass(frozen=True)
class Draft:
    """What a person says of a pipeline to be."""

    name: str
    source: str
    """A path or glob, `hf:ID`, or the name of another pipeline."""
    model: str
    prompt: str | None = None
    embed: str | None = None
    id_column: str | None = None

    def attributes(self, defs: Path) -> dict[str, Any]:
        """
        What stands under `attributes:`.

        Raises:
            ConfigError: Not exactly one of prompt and embed is given.
        """
        if (self.prompt is None) == (self.embed is None):
            raise ConfigError("name exactly one of --prompt and --embed")
        task = {"embedding": {"column": self.embed}} if self.embed else {"text": {"prompt_id": self.name}}
        return {"name": self.name, "source": self._source(defs), "model": self.model, "task": task}

    def _source(self, defs: Path) -> dict[str, Any]:
        own = {"id_column": self.id_column} if self.id_column else {}
        if self.source.startswith(HUB):
            return {"huggingface": {"id": self.source.removeprefix(HUB)}, **own}
        if (defs / self.source / "defs.yaml").is_file():
            return {"pipeline": self.source, **own}
        return {"path": self.source, **own}


def write(draft: Draft, defs: Path) -> list[Path]:
    """
    Write a pipeline's files, if it loads; nothing is left of one that does not.

    Returns:
        defs.yaml, and the prompt's file.

    Raises:
        ConfigError: The pipeline is there already, or would not load; the message is the one that loading it gives.
    """
    folder, attributes = defs / draft.name, draft.attributes(defs)
    try:
        spec = PipelineSpec.model_validate(attributes)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or edit {folder / 'defs.yaml'}")
    files = {folder / "defs.yaml": document(attributes)}
    if draft.prompt:
        files[folder / f"{draft.name}.txt"] = draft.prompt + "\n"
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error}") from error
    try:
        Pipeline(spec, folder)
    except Exception:
        for path in files:
            path.unlink()
        folder.rmdir()
        raise
    return list(files)


def document(attributes: Mapping[str, Any]) -> str:
    """A defs.yaml."""
    return yaml.safe_dump({"type": COMPONENT, "attributes": dict(attributes)}, sort_keys=False, allow_unicode=True)
