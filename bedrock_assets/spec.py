"""What a pipeline's `defs.yaml` may say: the attributes of `bedrock_assets.BatchInference`, typed and documented."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bedrock_assets.limits import MAX_TIMEOUT_HOURS, MIN_TIMEOUT_HOURS, JobLimits, OnSmall, Strict

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A pipeline's name: it becomes a Dagster key prefix, a folder in the store and a part of job names."""

SchemaMode = Literal["native", "tool", "prompt"]
"""Ways to ask for a structured answer: by the service's own means, by a tool that has to be called, by the prompt."""

PromptId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")]
"""A prompt file's name without `.txt`: no dot or slash, so that it cannot leave its folder."""


class HuggingFaceSpec(Strict):
    """A dataset of the Hugging Face hub, or a local dataset folder, read as a stream by `datasets`."""

    id: str = Field(description="Hub id such as `w601sxs/simpleCoT`, or the path of a local dataset folder.")
    split: str = Field(default="train", description="Split to read.")
    name: str | None = Field(default=None, description="Configuration (subset) of the dataset, where it has several.")
    revision: str | None = Field(default=None, description="Commit, tag or branch; pin a commit for repeatable runs.")


class ChitchatSpec(Strict):
    """Human conversations of the PyPI package `chitchat-dataset` (MIT), one row per conversation."""

    min_turns: int = Field(default=6, ge=1, description="Leave out conversations with fewer turns.")


class SourceSpec(Strict):
    """Where the rows come from: exactly one of `path`, `huggingface`, `chitchat`."""

    path: str | None = Field(
        default=None, description="File or glob, local or `s3://`: .parquet, .csv, .jsonl, .ndjson."
    )
    huggingface: HuggingFaceSpec | None = None
    chitchat: ChitchatSpec | None = None
    id_column: str | None = Field(
        default=None, description="Column with a unique, non-null id. Without it ids derive from position and content."
    )
    dtypes: dict[str, str] = Field(
        default_factory=dict,
        description="CSV only: polars dtype names for columns that are not text, e.g. {age: Int64}.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        named = [key for key in ("path", "huggingface", "chitchat") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of path, huggingface, chitchat; found {named or 'none'}")
        return self


class TextTask(Strict):
    """Generate text for each row."""

    prompt_id: PromptId | None = Field(
        default=None, description="Template `<prompt_id>.txt`, beside defs.yaml or shipped."
    )
    prompt: str | None = Field(default=None, description="The template itself, instead of `prompt_id`.")
    system: str | None = Field(default=None, description="System prompt; a template as well.")
    max_tokens: int = Field(default=512, ge=1, description="Most tokens the answer may have.")
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop_sequences: tuple[str, ...] = ()
    null_default: str | None = Field(
        default=None, description="Text that stands in for a null column. Without it such a row becomes an error row."
    )

    images: tuple[str, ...] = Field(
        default=(), description="Columns of bytes (JPEG, PNG, GIF or WebP) that go before the prompt, in this order."
    )
    special_tokens: Literal["error", "split"] = Field(
        default="error",
        description="For models that take one raw prompt: a row whose text has a token of the chat template, such as "
        "`<|eot_id|>`, becomes an error row, or a space is put into the token so that it is ordinary text.",
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if (self.prompt_id is None) == (self.prompt is None):
            raise ValueError("name exactly one of prompt_id and prompt")
        return self


class EmbeddingTask(Strict):
    """Embed one column of each row."""

    column: str = Field(description="Text column to embed.")
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of each vector; the model's own without it (Titan 1024, G1 1536)."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1 (Titan V2 alone can leave it).")
    input_type: Literal["search_document", "search_query", "classification", "clustering"] = Field(
        default="search_document", description="What the vectors are for; Cohere alone asks."
    )


class TaskSpec(Strict):
    """What to ask the model: exactly one of `text`, `embedding`."""

    text: TextTask | None = None
    embedding: EmbeddingTask | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.text is None) == (self.embedding is None):
            raise ValueError("name exactly one of text and embedding")
        return self


def _rows_alone(value: Any) -> Any:
    """A canary's number of rows, which may stand for itself."""
    return {"rows": value} if isinstance(value, int) else value


class CanarySpec(Strict):
    """How many rows are sent first, and what their answers must keep for the others to be sent."""

    rows: int = Field(default=200, ge=1, description="First rows of the dataset, up to 63 more.")
    max_error_rate: float = Field(default=0.1, ge=0, le=1, description="Share of its rows without an answer.")
    max_mean_output_tokens: float = Field(default=math.inf, gt=0, description="Mean length of an answer.")


class PriceSpec(Strict):
    """US dollars for a million tokens on demand, where the price list does not know the model or the contract."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(default=0, ge=0)
    batch_factor: float = Field(default=0.5, gt=0, description="A batch job's price to the price on demand.")


class PipelineSpec(Strict):
    """One pipeline: a table in, the same table with a model's answer beside every row out."""

    model_config = ConfigDict(populate_by_name=True)  # `schema` is the name of a method of pydantic's

    name: Name
    description: str | None = Field(default=None, description="Shown on the pipeline's assets.")
    owners: tuple[str, ...] = Field(default=(), description="Dagster owners: e-mail addresses or `team:name`.")
    source: SourceSpec
    model: str = Field(description="Model id, inference profile id or ARN.")
    family: str | None = Field(
        default=None,
        description="Request and response format, where the model id does not tell (ARNs of custom models).",
    )
    model_invocation_type: Literal["InvokeModel", "Converse"] = Field(
        default="InvokeModel", description="`Converse` sends the same request format to any model that supports it."
    )
    task: TaskSpec
    answer_schema: dict[str, Any] | str | None = Field(
        default=None,
        alias="schema",
        description="Fields of a structured answer, which become columns of their own; or a pydantic class by its "
        "import path, `my_package.models:Answer`.",
    )
    schema_mode: Literal["auto"] | SchemaMode = Field(
        default="auto", description="How the schema is asked for; `auto` takes the best that the model is known for."
    )
    repair: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Times that a row whose answer does not conform to `schema` is sent again, with what was wrong in "
        "its prompt; within `max_attempts`.",
    )
    limits: JobLimits = Field(default_factory=JobLimits)
    pool: str = Field(
        default="bedrock_batch", description="Dagster concurrency pool whose limit caps the jobs in flight."
    )
    on_small: OnSmall = Field(
        default="on_demand",
        description="With fewer records than Bedrock's minimum for a job: `on_demand` answers them one by one at the "
        "full price, `pad` repeats records up to the minimum (the copies are billed and dropped), `error` refuses.",
    )
    output_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]*$")] = Field(
        default="", description="Put before the names of the answer columns, where the input has the same names."
    )
    timeout_hours: int = Field(
        default=72, ge=MIN_TIMEOUT_HOURS, le=MAX_TIMEOUT_HOURS, description="Bedrock ends a job after this many hours."
    )
    canary: Annotated[CanarySpec | None, BeforeValidator(_rows_alone)] = Field(
        default=None,
        description="Send a few rows first, and the others once their answers keep the thresholds: `200`, or "
        "`{rows: 200, max_error_rate: 0.1, max_mean_output_tokens: 300}`.",
    )
    budget_usd: float | None = Field(
        default=None, ge=0, description="A launch whose estimate, with what was paid already, is above it is refused."
    )
    price: PriceSpec | None = Field(
        default=None, description="Prices, where the price list lacks them or your contract has others."
    )
    reuse_answers_days: int = Field(
        default=90,
        ge=0,
        description="An answer is used again for the same prompt to the same model, with the same parameters, for so "
        "many days; 0 sends every row of changed shards again.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=9,
        description="Times that a launch may send a shard before what is still unanswered is left as it is.",
    )
    on_cancel: Literal["stop", "leave"] = Field(
        default="stop", description="Jobs in flight when the launched run is cancelled: stop them, or let them finish."
    )
    on_stale: Literal["stop", "leave"] = Field(
        default="stop",
        description="Jobs in flight whose prompts have changed since: stop them, or let them finish. Their answers are "
        "left in the store and not joined.",
    )

    @model_validator(mode="after")
    def _schema_to_repair(self) -> Self:
        if self.answer_schema is None and (self.repair or self.schema_mode != "auto"):
            raise ValueError("repair and schema_mode say how to get an answer to a `schema`, and there is none")
        return self
