"""What `dg scaffold defs bedrock_assets.BatchInference NAME` writes: a pipeline that loads, to be edited."""

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field
from typing_extensions import override


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
