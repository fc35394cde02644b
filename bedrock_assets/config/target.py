"""The key `model:`: models, each in a Region of an account, and the pools that cap their jobs."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from bedrock_assets.limits import Count, Matching, Strict
from bedrock_assets.models import bare_id

Region = Annotated[str, Matching(r"^[a-z]{2}(-[a-z]+)+-\d$", "an AWS Region, such as eu-central-1")]
Account = Annotated[str, Matching(r"^\d{12}$", "the 12 digits of an AWS account, in quotes: '012345678901'")]
_NO_POOL = re.compile(r"[^A-Za-z0-9_.-]+")


class Target(Strict):
    """A model in a Region of an account, with one quota of jobs in flight and so one pool."""

    model: str = Field(min_length=1, description="Model id, inference profile id or ARN.")
    region: Region | None = Field(
        default=None, description="AWS Region of its jobs; by default the deployment's (AWS_REGION)."
    )
    account: Account | None = Field(
        default=None, description="AWS account of its jobs, in quotes; by default the account of the deployment's role."
    )
    pool: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^\S+$",
        description="Dagster concurrency pool that caps its jobs. With several models the default is the pipeline's "
        "`pool`, the model, and the Region and account if given, joined by `/`.",
    )
    max_jobs: Count | None = Field(
        default=None, description="Jobs in flight at once if the pool has no limit; by default `limits.max_jobs`."
    )

    @property
    def name(self) -> str:
        """Identifies a target within a pipeline, also in the event log: the model, then its Region and account."""
        return "@".join([self.model, *(part for part in (self.region, self.account) if part)])

    def pool_below(self, pool: str) -> str:
        """The default pool of one target among several, under the pipeline's *pool*."""
        location = [part for part in (self.region, self.account) if part]
        return self.pool or "/".join([pool, _NO_POOL.sub("-", bare_id(self.model)), *location])


def model_of(target: str) -> str:
    """The model in a target's name."""
    return target.partition("@")[0]


def _as_targets(value: Any) -> Any:
    """Allow a model id, an entry with more settings, or a list of these."""
    entries: Sequence[Any] = value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType] - YAML
    return [{"model": entry} if isinstance(entry, str) else entry for entry in entries]


def _require_distinct(targets: Sequence[Target]) -> tuple[Target, ...]:
    names = [target.name for target in targets]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is repeated; name each model once per Region and account")
    return tuple(targets)


Targets = Annotated[
    tuple[Target, ...],
    Field(min_length=1),
    BeforeValidator(_as_targets, json_schema_input_type=str | Target | list[str | Target]),
    AfterValidator(_require_distinct),
]
"""One or several targets, as people write them."""
