"""Where a pipeline's jobs may be sent: models, each in a Region of an account, and the pools that cap them."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from bedrock_assets.limits import Count, Strict

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Account = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
_PROFILE = re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|global)\.")
_NO_POOL = re.compile(r"[^A-Za-z0-9_.-]+")


class Target(Strict):
    """A model in a Region of an account: one quota of jobs in flight, and so one pool."""

    model: str = Field(min_length=1, description="Model id, inference profile id or ARN.")
    region: Region | None = Field(
        default=None, description="AWS Region of its jobs; without it the deployment's own (AWS_REGION)."
    )
    account: Account | None = Field(
        default=None, description="AWS account of its jobs, in quotes; without it that of the deployment's role."
    )
    pool: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^\S+$",
        description="Dagster concurrency pool that caps its jobs; with several models the default is the pipeline's "
        "`pool`, the model, and the Region and account if they are named, joined by `/`.",
    )
    max_jobs: Count | None = Field(
        default=None, description="Jobs in flight at once where the pool sets no limit; else that of `limits`."
    )

    @property
    def name(self) -> str:
        """Tells the targets of a pipeline apart, in the event log too: the model, then where it is."""
        return "@".join([self.model, *(part for part in (self.region, self.account) if part)])

    def pool_below(self, pool: str) -> str:
        """The pool of one target of several."""
        where = [part for part in (self.region, self.account) if part]
        return self.pool or "/".join([pool, _NO_POOL.sub("-", bare_id(self.model)), *where])


def model_of(target: str) -> str:
    """The model in the name of a target."""
    return target.partition("@")[0]


def bare_id(model: str) -> str:
    """A model id without ARN and Region prefix: an inference profile's is that of its model."""
    return _PROFILE.sub("", model.rpartition("/")[2] if model.startswith("arn:") else model)


def _as_targets(value: Any) -> Any:
    """What stands under `model`: a model's id, an entry with more about it, or a list of these."""
    entries: Sequence[Any] = value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType] - YAML
    return [{"model": entry} if isinstance(entry, str) else entry for entry in entries]


def _require_distinct(targets: Sequence[Target]) -> tuple[Target, ...]:
    """
    Raises:
        ValueError: Two targets are the same model in the same place.
    """
    names = [target.name for target in targets]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there twice; name each model once in a Region and account")
    return tuple(targets)


Targets = Annotated[
    tuple[Target, ...],
    Field(min_length=1),
    BeforeValidator(_as_targets, json_schema_input_type=str | Target | list[str | Target]),
    AfterValidator(_require_distinct),
]
"""One or several, as people write them."""
