"""The attributes of `bedrock_assets.BatchInference` in a `defs.yaml`, and those that an inbox shares."""

import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from bedrock_assets.config.asset_attributes import AssetTags, GroupName, KeyPrefix, Kinds, Owners, asset_path
from bedrock_assets.config.gold import Gold
from bedrock_assets.config.job_settings import require_tags
from bedrock_assets.config.redact import Redact
from bedrock_assets.config.schedule import Schedule
from bedrock_assets.config.sinks import SinksSpec
from bedrock_assets.config.source import ExpandSpec, Name, SourceSpec
from bedrock_assets.config.target import Target, Targets, bare_id
from bedrock_assets.config.task import POSITION, POSITIONS, TaskSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import MAX_TIMEOUT_HOURS, MIN_TIMEOUT_HOURS, JobLimits, Matching, OnSmall, Strict
from bedrock_assets.models import Facts, Model, SchemaMode, find_model


def _rows_alone(value: Any) -> Any:
    """Allow a number of rows instead of a canary's settings; `no` is none."""
    if value is True:
        raise ValueError("say how many rows to send first: `canary: 200`")
    if value is False:
        return None
    return {"rows": value} if isinstance(value, int) else value


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """Check tags."""
    try:
        require_tags(tags)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return tags


TagText = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A cost center may be written as a number."""
Tags = Annotated[dict[TagText, TagText], AfterValidator(_tags)]


class CanarySpec(Strict):
    """How many rows to send first, and the thresholds that their answers must meet before the others are sent."""

    rows: int = Field(default=200, ge=1, description="Rows from the start of the dataset; up to 63 more are sent.")
    max_error_rate: float = Field(default=0.1, ge=0, le=1, description="Largest share of these rows without an answer.")
    max_mean_output_tokens: float = Field(default=math.inf, gt=0, description="Largest mean tokens of an answer.")


class ErrorRateSpec(Strict):
    """Shares of rows without an answer above which the check `error_share` warns or fails."""

    warn: float = Field(default=0.01, ge=0, le=1)
    fail: float = Field(default=0.2, ge=0, le=1)


class PriceSpec(Strict):
    """US dollars per million tokens on demand, if the price list lacks the model or your contract has other prices."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(default=0, ge=0)
    batch_factor: float = Field(default=0.5, gt=0, description="Price of a batch job divided by the price on demand.")
    flex_factor: float | None = Field(
        default=None,
        gt=0,
        description="Price of a call in the flex tier divided by the price on demand; by default the full price is "
        "shown.",
    )


InvocationType = Literal["InvokeModel", "Converse"]


class WorkloadSpec(Strict):
    """Settings that pipelines and inboxes share: the model, and how its jobs are run."""

    model_config = ConfigDict(populate_by_name=True)  # pydantic does not allow fields named `model` or `schema`

    name: Name
    description: str | None = Field(default=None, description="Shown on the assets.")
    owners: Owners = Field(default=(), description="Dagster owners: email addresses or `team:name`.")
    key_prefix: KeyPrefix = Field(
        default=(),
        description="Parts before the assets' keys, such as `[marts]` for `marts/<name>/joined_table`; set it before "
        "the first run, as Dagster knows an asset's history by its key.",
    )
    group_name: GroupName | None = Field(
        default=None, description="Dagster group of the assets; by default the pipeline's name."
    )
    asset_tags: AssetTags = Field(
        default_factory=dict, description="Dagster tags of the assets; `tags` are those of the jobs at AWS."
    )
    kinds: Kinds = Field(default=(), description="Kinds of the assets, beside our own.")
    targets: Targets = Field(
        alias="model",
        description="Model id, inference profile id or ARN. With several, a shard goes to the first that has a free "
        "slot. A model in another Region or account is written as `{model: ..., region: us-west-2}`.",
    )
    family: str | None = Field(
        default=None,
        description="Request and response format, if the model id does not show it (ARNs of custom models).",
    )
    invocation_type: InvocationType | None = Field(
        default=None,
        alias="model_invocation_type",
        description="`Converse` uses one request format for all models that support it; it is the default for models "
        "that are in no catalogue and have no `family`.",
    )
    model_facts: Facts | None = Field(
        default=None,
        description="Facts about the model in place of those in the catalogue (`bedrock-assets models`), if these are "
        "old or wrong: `{max_output: 64000, refuses: []}`.",
    )
    on_retired: Literal["error", "warn"] = Field(
        default="error",
        description="When the model is Legacy or has ended its life: refuse the launch, or only `warn`.",
    )
    limits: JobLimits = Field(default_factory=JobLimits)
    pool: str = Field(
        default="bedrock_batch",
        description="Dagster concurrency pool whose limit caps the jobs in flight. With several models each has its "
        "own pool, whose name starts with this one.",
    )
    on_small: OnSmall = Field(
        default="on_demand",
        description="What to do with fewer records than Bedrock's minimum for a job: `on_demand` answers them one by "
        "one at full price, `flex` does so in the cheaper and slower flex tier, which some models have, `pad` repeats "
        "records up to the minimum (copies are billed and dropped), `error` fails.",
    )
    timeout_hours: int = Field(
        default=72, ge=MIN_TIMEOUT_HOURS, le=MAX_TIMEOUT_HOURS, description="Hours after which Bedrock ends a job."
    )
    tags: Tags = Field(
        default_factory=dict,
        description="Tags of the jobs, such as `{team: data}`, for your cost reports; they override those in "
        "`BEDROCK_ASSETS_TAGS`.",
    )
    price: PriceSpec | None = Field(
        default=None, description="Prices, if the price list lacks them or your contract has others."
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=9,
        description="How often a launch may send a shard; records without an answer after that stay unanswered.",
    )
    on_cancel: Literal["stop", "leave"] = Field(
        default="stop",
        description="When the launched run is canceled: `stop` its jobs in flight, or `leave` them running.",
    )

    def key_of(self, asset: str) -> list[str]:
        """The key of one of the assets, such as `joined_table`."""
        return asset_path(self.name, asset, self.key_prefix)

    def op_of(self, asset: str) -> str:
        """Name of its op, for run configurations."""
        return "__".join(part.replace("-", "_") for part in self.key_of(asset))

    def folder_of(self, _shard: str) -> str:
        """Folder of the store that gets what comes from a shard, if it is not one of the pipeline's own; else empty."""
        return ""

    @property
    def model(self) -> str:
        """The first model."""
        return self.targets[0].model

    @property
    def model_invocation_type(self) -> InvocationType:
        """How Bedrock calls the model: as written, or else by the model's own format if that is known."""
        if self.invocation_type is not None:
            return self.invocation_type
        return "InvokeModel" if self.family is not None or find_model(self.model) else "Converse"

    def facts_of(self, model: str) -> Model:
        """What is known of one of the models, with `model_facts` in place of what the catalogue says."""
        return (find_model(model) or Model.unknown(bare_id(model))).corrected(self.model_facts)

    @property
    def model_identity(self) -> str:
        """All models, without Regions, accounts and profiles: what the answers depend on."""
        bare = sorted({bare_id(target.model) for target in self.targets})
        return bare[0] if len(bare) == 1 else json.dumps(bare)

    def pool_of(self, target: Target) -> str:
        """The pool that caps a target's jobs."""
        is_only = len(self.targets) == 1 and target.region is None and target.account is None
        return (target.pool or self.pool) if is_only else target.pool_below(self.pool)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools of all targets."""
        return tuple(dict.fromkeys(map(self.pool_of, self.targets)))

    def max_jobs_in(self, pool: str) -> int:
        """Jobs in flight at once in a pool, if the pool itself has no limit."""
        return min(t.max_jobs or self.limits.max_jobs for t in self.targets if self.pool_of(t) == pool)

    @property
    def all_limits(self) -> JobLimits:
        """The limits, with `max_jobs` summed over all pools."""
        return self.limits.model_copy(update={"max_jobs": sum(map(self.max_jobs_in, self.pools))})


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
