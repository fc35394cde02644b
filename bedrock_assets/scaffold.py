"""A new pipeline's files, for the command `new` and for `dg scaffold defs bedrock_assets.BatchInference NAME`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bedrock_assets.errors import ConfigError
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.preview import COMPONENT
from bedrock_assets.spec import PipelineSpec

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
