"""A pipeline looked at before anything is written: rows, shards, bytes, the first prompt."""

from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import ValidationError

from bedrock_assets.errors import ConfigError
from bedrock_assets.ingest import count_blocks, read_rows
from bedrock_assets.parallel import ordered
from bedrock_assets.pipeline import LINE, Pipeline
from bedrock_assets.planning import plan_with_canary
from bedrock_assets.spec import PipelineSpec
from bedrock_assets.store import Store

DEFS = Path(__file__).parent / "defs"
COMPONENT = "bedrock_assets.BatchInference"


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


def preview(pipeline: Pipeline, store: Store | None = None) -> dict[str, Any]:
    """
    Rows, shards, bytes and the first record, from one pass over the source; *store* has the tables of other pipelines.

    Raises:
        ConfigError: The source cannot be read.
        DataError: The rows cannot be cut into shards.
    """
    first, blocks = None, []
    for made in ordered(pipeline.with_records, read_rows(pipeline, store)):
        lines = made[LINE].drop_nulls()
        first = lines[0] if first is None and len(lines) else first
        blocks += count_blocks(made)
    shards = plan_with_canary(blocks, pipeline.spec.limits, pipeline.spec.on_small, pipeline.spec.canary)
    sizes = pl.Series([shard.n_rows for shard in shards])
    return {
        "pipeline": pipeline.spec.name,
        "source": pipeline.source.describe(),
        "model": pipeline.spec.model,
        "rows": sum(block.n_rows for block in blocks),
        "records": sum(block.n_sendable for block in blocks),
        "bytes": sum(block.n_bytes for block in blocks),
        "shards": len(shards),
        "rows_per_shard": f"{sizes.min()} to {sizes.max()}",
        "waves": -(-len(shards) // pipeline.spec.limits.max_jobs),
        "first_record": first,
    }
