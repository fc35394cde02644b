"""What jobs need to know of a pipeline or an inbox: its spec, its model's family and the columns of its answers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bedrock_assets.config.answer_schema import AnswerSchema
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.config.pipeline import CanarySpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.families import Family
from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.pipeline.records import RecordMaker

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
CIRCUMSTANCES = frozenset({"model_id", "answer_source", "job_arn", "attempt"})
"""Of these, the columns that say how an answer came about; they are not made from columns of the prompt."""


@dataclass(frozen=True)
class Workload:
    """Shards to send to a model, wherever their records come from, and how to read the answers."""

    spec: WorkloadSpec
    family: Family
    schema: AnswerSchema | None = None
    """The form of a structured answer, if one is requested."""
    dimensions: int | None = None
    """Length of each vector; None for texts."""
    output_prefix: str = ""
    """Put before the names of our columns in the tables."""
    n_repairs: int = 0
    """Times that a record whose answer does not conform to the schema is sent again."""
    keeps_answers: bool = False
    """Whether answers are kept under their prompts, to be used again."""
    leaves_stale: bool = False
    """Whether jobs go on when their prompts have changed."""
    canary: CanarySpec | None = None
    approval: bool = False
    """Whether a person has to approve the canary's answers."""
    gold: GoldSpec | None = None
    """Known answers, with the `answer` that is held against them as the tables name it."""
    budget_usd: float | None = None
    preflight: bool = False
    """Whether a record is tried on demand before the first job."""
    records: RecordMaker | None = field(default=None, compare=False)
    """Makes records of rows; None where records come ready-made, as in an inbox."""

    @property
    def record_id(self) -> str:
        """Name of the record id column."""
        return self.output_prefix + RECORD_ID

    @cached_property
    def configuration(self) -> dict[str, str]:
        """What decides the answers besides the rows, by name; long parts as the first 12 hex digits of their hash."""
        parts = {"model": self.spec.model_identity, "model_invocation_type": self.spec.model_invocation_type}
        if self.records is None:
            return parts
        redactor = self.records.redactor
        texts = [template.sha256 for template in self.records.templates] + ([str(redactor)] if redactor else [])
        settings = {"parameters": self.records.settings, "prompt": texts}
        return parts | {name: _digest(part) for name, part in settings.items()}

    def changed_since(self, configuration: Mapping[str, str]) -> list[str]:
        """Names of the parts of an earlier *configuration* that are others now."""
        return [name for name, part in configuration.items() if self.configuration.get(name) != part]

    @property
    def answer_columns(self) -> dict[str, str]:
        """From an answer column's own name to its name in the tables."""
        unused = "embedding" if self.family.kind == "text" else "response"
        names = [name for name in ANSWER_COLUMNS if name != unused]
        names[2:2] = self.schema.fields if self.schema else ()
        return {name: self.output_prefix + name for name in names}


def _digest(part: object) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:12]
