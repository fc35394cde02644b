"""The attributes of `bedrock_assets.BatchInference` in a `defs.yaml`."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bedrock_assets.config.gold import Gold
from bedrock_assets.config.redact import Redact
from bedrock_assets.config.schedule import Schedule
from bedrock_assets.config.sinks import SinksSpec
from bedrock_assets.config.source import ExpandSpec, SourceSpec
from bedrock_assets.config.task import POSITION, POSITIONS, TaskSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.limits import Matching, Strict
from bedrock_assets.models import SchemaMode


def _rows_alone(value: Any) -> Any:
    """Allow a number of rows instead of a canary's settings; `no` is none."""
    if value is True:
        raise ValueError("say how many rows to send first: `canary: 200`")
    if value is False:
        return None
    return {"rows": value} if isinstance(value, int) else value


class CanarySpec(Strict):
    """How many rows to send first, and the thresholds that their answers must meet before the others are sent."""

    rows: int = Field(default=200, ge=1, description="Rows from the start of the dataset; up to 63 more are sent.")
    max_error_rate: float = Field(default=0.1, ge=0, le=1, description="Largest share of these rows without an answer.")
    max_mean_output_tokens: float = Field(default=math.inf, gt=0, description="Largest mean tokens of an answer.")


class ErrorRateSpec(Strict):
    """Shares of rows without an answer above which the check `error_share` warns or fails."""

    warn: float = Field(default=0.01, ge=0, le=1)
    fail: float = Field(default=0.2, ge=0, le=1)


class PipelineSpec(WorkloadSpec):
    """One pipeline: takes a table, and writes the same table with a model's answer in every row."""

    source: SourceSpec
    task: TaskSpec
    answer_schema: dict[str, Any] | str | None = Field(
        default=None,
        alias="schema",
        description="Fields of a structured answer, one column each; or the import path of a pydantic class, "
        "`my_package.models:Answer`.",
    )
    schema_mode: Literal["auto"] | SchemaMode = Field(
        default="auto", description="How to ask for the schema; `auto` uses the best way that the model supports."
    )
    repair: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How often to send a row again if its answer does not match `schema`. The prompt then says what "
        "was wrong. Counts toward `max_attempts`.",
    )
    output_prefix: Annotated[str, Matching(r"^[A-Za-z0-9_]*$", "letters, digits and _: bedrock_")] = Field(
        default="", description="Prefix for the names of the answer columns, if the input has columns with these names."
    )
    canary: Annotated[
        CanarySpec | None, BeforeValidator(_rows_alone, json_schema_input_type=int | bool | CanarySpec | None)
    ] = Field(
        default=None,
        description="Send a few rows first, and the others only if the answers meet the thresholds: `200`, or "
        "`{rows: 200, max_error_rate: 0.1, max_mean_output_tokens: 300}`.",
    )
    approval: bool = Field(
        default=False,
        description="Once the canary's answers meet the thresholds, hold the other shards until a person materializes "
        "the asset `approved` or runs `bedrock-assets approve`. Needs a `canary`.",
    )
    redact: Redact | None = Field(
        default=None,
        description="Columns in which e-mail addresses, IBANs, card and phone numbers and IP addresses are replaced by "
        "tokens before a prompt is made of them: `[text, notes]`, or `{columns: [text], kinds: [email, card]}`. The "
        "table keeps the columns as they are.",
    )
    preflight: bool = Field(
        default=True,
        description="Before the first job of a new model, parameter or schema, answer one record on demand, and refuse "
        "the launch with the model's own message if no record would be answered.",
    )
    gold: Gold | None = Field(
        default=None,
        description="Input column with known answers, against which the model's are held: `human_label`, or `{column: "
        "human_label, min_accuracy: 0.9}`. With a canary they decide whether the others are sent.",
    )
    error_rate: ErrorRateSpec = Field(
        default_factory=ErrorRateSpec, description="Thresholds of the check `error_share` on the table."
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When to read the data anew, send what has changed, and build the table, with nobody clicking: a "
        "cron expression such as `0 3 * * *`, or `{cron: 0 3 * * *, timezone: Europe/Berlin}`.",
    )
    automation: bool = Field(
        default=False,
        description="Do the same whenever the upstream asset of `source` is materialized.",
    )
    fresh_hours: float | None = Field(
        default=None, gt=0, description="Dagster shows the table as stale if it is older than this many hours."
    )
    delta: str | None = Field(
        default=None,
        description="Folder or s3:// URL of a Delta table, which the asset `delta_table` keeps equal to the joined "
        "table; needs the extra `delta`.",
    )
    sinks: SinksSpec = Field(
        default_factory=SinksSpec,
        description="Where else to write the table: `{sql: {connection_env: SALES_DB, table: calls}}`. Each is an "
        "asset after `joined_table`, which sends only what is new or changed.",
    )
    hub: Annotated[str, Matching(r"^[\w.\-]+/[\w.\-]+$", "owner/name")] | None = Field(
        default=None,
        description="`owner/name` of a dataset on the Hugging Face hub. The asset `hub_dataset` commits the table to "
        "it whenever you materialize it.",
    )
    report: bool = Field(
        default=True,
        description="Write a page about the table, `report.html` beside its folder, whenever it is built.",
    )
    budget_usd: float | None = Field(
        default=None, ge=0, description="Refuse a launch if its estimate plus what was already paid is above this."
    )
    reuse_answers_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="For this many days, reuse an answer for the same prompt, model and parameters; 0 sends every row "
        "of changed shards again.",
    )
    on_stale: Literal["stop", "leave"] = Field(
        default="stop",
        description="When prompts change while jobs are in flight: `stop` these jobs, or `leave` them running. Their "
        "answers stay in the store and are not joined.",
    )

    @model_validator(mode="after")
    def _one_schema(self) -> Self:
        if self.task.preset and self.answer_schema is not None:
            raise ValueError("the task has its own schema; remove `schema`, or write `task: {text: ...}`")
        if self.schema_written is None and (self.repair or self.schema_mode != "auto"):
            raise ValueError("repair and schema_mode need a `schema`, and there is none; add one, or remove them")
        return self

    @model_validator(mode="after")
    def _approval_of_a_canary(self) -> Self:
        if self.approval and self.canary is None:
            raise ValueError("approval: a person approves the canary's answers, and there is none; add `canary: 200`")
        return self

    @property
    def schema_written(self) -> dict[str, Any] | str | None:
        """The schema of the task, or the one under `schema:`."""
        return self.task.preset.schema_of_answer if self.task.preset else self.answer_schema

    @property
    def expansions(self) -> tuple[ExpandSpec, ...]:
        """Expansions of the source and the task, in order; each multiplies the rows of the one before."""
        positions = ExpandSpec(column=POSITION, values=POSITIONS)
        return (*((self.source.expand,) if self.source.expand else ()), *((positions,) if self.task.compare else ()))
