"""What all that sends jobs has in common, be it a pipeline or an inbox: a model, and how its answers are read."""

from dataclasses import dataclass
from functools import cached_property

from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.config.pipeline import WorkloadSpec
from bedrock_assets.families import Family, family_named
from bedrock_assets.pipeline.ids import RECORD_ID

ANSWER_COLUMNS = (
    "status",
    "response",
    "embedding",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "error_code",
    "error_message",
    "model_id",
    "answer_source",
    "job_arn",
    "attempt",
)
"""Columns beside the record id, in order; a text pipeline has `response`, an embedding pipeline `embedding`."""


@dataclass(frozen=True)
class Workload:
    """A spec and the family of its model; the records may come from anywhere."""

    spec: WorkloadSpec

    @cached_property
    def family(self) -> Family:
        """How answers are read."""
        return family_named(self.spec)

    @cached_property
    def schema(self) -> AnswerSchema | None:
        """The form of a structured answer, if one is asked for."""
        return None

    @property
    def dimensions(self) -> int | None:
        """Length of each vector; None of texts."""
        return self.family.dimensions if self.family.kind == "embedding" else None

    @property
    def record_id(self) -> str:
        """Name of the record id column."""
        return RECORD_ID

    @property
    def answer_columns(self) -> dict[str, str]:
        """From an answer column's own name to its name in the tables."""
        unused = "embedding" if self.family.kind == "text" else "response"
        names = [name for name in ANSWER_COLUMNS if name != unused]
        names[2:2] = self.schema.fields if self.schema else ()
        return {name: self._column(name) for name in names}

    @property
    def n_repairs(self) -> int:
        """Times that a record whose answer does not conform to the schema is sent again."""
        return 0

    @property
    def keeps_answers(self) -> bool:
        """Whether answers are kept under their prompts, to be used again."""
        return False

    @property
    def leaves_stale(self) -> bool:
        """Whether jobs whose prompts have changed go on."""
        return False

    def _column(self, name: str) -> str:
        return name
