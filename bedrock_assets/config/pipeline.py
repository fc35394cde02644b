"""What a pipeline's `defs.yaml` may say: the attributes of `bedrock_assets.BatchInference`, typed and documented."""

import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bedrock_assets.config.job_settings import require_tags
from bedrock_assets.config.source import ExpandSpec, Name, SourceSpec
from bedrock_assets.config.target import Target, Targets, bare_id
from bedrock_assets.config.task import POSITION, POSITIONS, TaskSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import MAX_TIMEOUT_HOURS, MIN_TIMEOUT_HOURS, JobLimits, OnSmall, Strict

SchemaMode = Literal["native", "tool", "prompt"]
"""Ways to ask for a structured answer: by the service's own means, by a tool that has to be called, by the prompt."""


def _rows_alone(value: Any) -> Any:
    """A canary's number of rows, which may stand for itself."""
    return {"rows": value} if isinstance(value, int) else value


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags as AWS takes them."""
    try:
        require_tags(tags)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return tags


TagText = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A cost centre may be written as a number."""
Tags = Annotated[dict[TagText, TagText], AfterValidator(_tags)]


class CanarySpec(Strict):
    """How many rows are sent first, and what their answers must keep for the others to be sent."""

    rows: int = Field(default=200, ge=1, description="First rows of the dataset, up to 63 more.")
    max_error_rate: float = Field(default=0.1, ge=0, le=1, description="Share of its rows without an answer.")
    max_mean_output_tokens: float = Field(default=math.inf, gt=0, description="Mean length of an answer.")


class ErrorRateSpec(Strict):
    """Shares of rows without an answer above which the check `error_share` complains."""

    warn: float = Field(default=0.01, ge=0, le=1)
    fail: float = Field(default=0.2, ge=0, le=1)


class PriceSpec(Strict):
    """US dollars for a million tokens on demand, where the price list does not know the model or the contract."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(default=0, ge=0)
    batch_factor: float = Field(default=0.5, gt=0, description="A batch job's price to the price on demand.")


class WorkloadSpec(Strict):
    """What jobs are run with, whatever their records are made of."""

    model_config = ConfigDict(populate_by_name=True)  # `model` and `schema` are no names for fields of pydantic's

    name: Name
    description: str | None = Field(default=None, description="Shown on the assets.")
    owners: tuple[str, ...] = Field(default=(), description="Dagster owners: e-mail addresses or `team:name`.")
    targets: Targets = Field(
        alias="model",
        description="Model id, inference profile id or ARN; or several, and a shard goes to the first that has a slot "
        "free. The entry of a model in another Region or account says so: `{model: ..., region: us-west-2}`.",
    )
    family: str | None = Field(
        default=None,
        description="Request and response format, where the model id does not tell (ARNs of custom models).",
    )
    model_invocation_type: Literal["InvokeModel", "Converse"] = Field(
        default="InvokeModel", description="`Converse` sends the same request format to any model that supports it."
    )
    limits: JobLimits = Field(default_factory=JobLimits)
    pool: str = Field(
        default="bedrock_batch",
        description="Dagster concurrency pool whose limit caps the jobs in flight; with several models each has one, "
        "whose name begins with this.",
    )
    on_small: OnSmall = Field(
        default="on_demand",
        description="With fewer records than Bedrock's minimum for a job: `on_demand` answers them one by one at the "
        "full price, `pad` repeats records up to the minimum (the copies are billed and dropped), `error` refuses.",
    )
    timeout_hours: int = Field(
        default=72, ge=MIN_TIMEOUT_HOURS, le=MAX_TIMEOUT_HOURS, description="Bedrock ends a job after this many hours."
    )
    tags: Tags = Field(
        default_factory=dict,
        description="Tags of its jobs, `{team: data}`, for your cost reports; before those of `BEDROCK_ASSETS_TAGS`.",
    )
    price: PriceSpec | None = Field(
        default=None, description="Prices, where the price list lacks them or your contract has others."
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

    @property
    def model(self) -> str:
        """The model, or the first of several."""
        return self.targets[0].model

    @property
    def model_identity(self) -> str:
        """What decides the answers: the model, or all of several; wherever they are, and by whatever profile."""
        bare = sorted({bare_id(target.model) for target in self.targets})
        return bare[0] if len(bare) == 1 else json.dumps(bare)

    def pool_of(self, target: Target) -> str:
        """The pool that caps a target's jobs."""
        alone = len(self.targets) == 1 and target.region is None and target.account is None
        return (target.pool or self.pool) if alone else target.pool_below(self.pool)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools of all targets."""
        return tuple(dict.fromkeys(map(self.pool_of, self.targets)))

    def max_jobs_in(self, pool: str) -> int:
        """Jobs in flight at once in a pool without a limit of its own."""
        return min(t.max_jobs or self.limits.max_jobs for t in self.targets if self.pool_of(t) == pool)

    @property
    def all_limits(self) -> JobLimits:
        """The limits, with the slots of all pools."""
        return self.limits.model_copy(update={"max_jobs": sum(map(self.max_jobs_in, self.pools))})


class PipelineSpec(WorkloadSpec):
    """One pipeline: a table in, the same table with a model's answer beside every row out."""

    source: SourceSpec
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
    output_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]*$")] = Field(
        default="", description="Put before the names of the answer columns, where the input has the same names."
    )
    canary: Annotated[CanarySpec | None, BeforeValidator(_rows_alone)] = Field(
        default=None,
        description="Send a few rows first, and the others once their answers keep the thresholds: `200`, or "
        "`{rows: 200, max_error_rate: 0.1, max_mean_output_tokens: 300}`.",
    )
    error_rate: ErrorRateSpec = Field(
        default_factory=ErrorRateSpec, description="Thresholds of the table's check `error_share`."
    )
    fresh_hours: float | None = Field(
        default=None, gt=0, description="Dagster shows the table as stale when it is older than so many hours."
    )
    delta: str | None = Field(
        default=None,
        description="Folder or s3:// of a Delta table that asset `delta_table` keeps equal to the joined table; needs "
        "the extra `delta`.",
    )
    hub: Annotated[str, StringConstraints(pattern=r"^[\w.\-]+/[\w.\-]+$")] | None = Field(
        default=None,
        description="`owner/name` of a dataset on the Hugging Face hub that asset `hub_dataset` commits the table to, "
        "whenever you materialize it.",
    )
    budget_usd: float | None = Field(
        default=None, ge=0, description="A launch whose estimate, with what was paid already, is above it is refused."
    )
    reuse_answers_days: int = Field(
        default=90,
        ge=0,
        description="An answer is used again for the same prompt to the same model, with the same parameters, for so "
        "many days; 0 sends every row of changed shards again.",
    )
    on_stale: Literal["stop", "leave"] = Field(
        default="stop",
        description="Jobs in flight whose prompts have changed since: stop them, or let them finish. Their answers are "
        "left in the store and not joined.",
    )

    @model_validator(mode="after")
    def _one_schema(self) -> Self:
        if self.task.preset and self.answer_schema is not None:
            raise ValueError("the task has a schema of its own; leave `schema` out, or write `task: {text: ...}`")
        if self.schema_written is None and (self.repair or self.schema_mode != "auto"):
            raise ValueError("repair and schema_mode say how to get an answer to a `schema`, and there is none")
        return self

    @property
    def schema_written(self) -> dict[str, Any] | str | None:
        """The schema, its own or that of its task."""
        return self.task.preset.schema_of_answer if self.task.preset else self.answer_schema

    @property
    def expansions(self) -> tuple[ExpandSpec, ...]:
        """Each multiplies the rows of the one before it."""
        positions = ExpandSpec(column=POSITION, values=POSITIONS)
        return (*((self.source.expand,) if self.source.expand else ()), *((positions,) if self.task.compare else ()))
