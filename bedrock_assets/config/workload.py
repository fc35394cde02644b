"""What pipelines and inboxes share in a `defs.yaml`: the model, and how its jobs are run."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from bedrock_assets.config.asset_attributes import AssetTags, GroupName, KeyPrefix, Kinds, Owners, asset_path
from bedrock_assets.config.job_settings import require_tags
from bedrock_assets.config.source import Name
from bedrock_assets.config.target import Target, Targets, bare_id
from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import MAX_TIMEOUT_HOURS, MIN_TIMEOUT_HOURS, JobLimits, OnSmall, Strict
from bedrock_assets.models import Facts, Model, find_model


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
