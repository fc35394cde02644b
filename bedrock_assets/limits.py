"""
Quotas and limits of Amazon Bedrock batch inference, each in one place with its source.

Quotas are per model and Region, and most are adjustable, so pipelines can override them under `limits:`.
Sources: Amazon Bedrock user guide and Service Quotas, botocore 1.44 service model, read 2026-11.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

MB = 1_000_000
GB = 1_000_000_000

MAX_JOB_NAME_CHARS = 63
MIN_TIMEOUT_HOURS, MAX_TIMEOUT_HOURS = 24, 168
"""`timeoutDurationInHours`, counted from the job's creation (service model)."""

LIST_PAGE_SIZE = 1000
"""Largest `maxResults` of ListModelInvocationJobs (service model)."""

S3_URI = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+)*/?")
"""S3 URIs that Bedrock accepts: no `=`, space or `//` (service model). boto3 does not check this."""

JOB_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9+\-.]{0,62}")
"""
Job names that Bedrock accepts: no `_` (service model). boto3 does not check this.

The service model has `[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\\+\\-\\.]){0,63}` and a length of 63. That matches the same names,
but takes exponential time to refuse a run of hyphens.
"""

MAX_TAGS = 50
"""Tags of one resource (AWS general reference, 2026-11); the service model allows 200 in one request."""
TAG_TEXT = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")
"""Keys and values of tags that AWS accepts (service model). boto3 does not check this."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")

OnSmall = Literal["on_demand", "flex", "pad", "error"]
"""What to do with fewer records than `min_records_per_job`."""

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Matching:
    """Annotates a text that must match a pattern; people are told in words what it may have."""

    pattern: str
    words: str
    """After `write`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text!r} cannot be; write {self.words}")
        return text


class Strict(BaseModel):
    """Base of what people write in YAML: immutable; unknown keys are refused with a hint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            by_name = cls.model_fields if cls.model_config.get("populate_by_name") else ()
            unknown = [str(key) for key in values if key not in known and key not in by_name]
            if unknown:
                close = get_close_matches(unknown[0], known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
                raise ValueError(f"unknown key {unknown[0]!r}; {hint}")
            for key, value in values.items():
                if half := _half_character(value):
                    raise ValueError(f"{key}: {half!r} is half of a character, which cannot be sent; write all of it")
        return values

    def require_exactly_one(self, *keys: str) -> None:
        """
        Raises:
            ValueError: None of these keys is set, or several are.
        """
        named = [key for key in keys if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of {', '.join(keys)}; found {named or 'none'}")


def _half_character(value: object) -> str | None:
    """A lone surrogate in a text, or in the texts of a list or mapping; it has no UTF-8, so it cannot be written."""
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        return found[0] if found else None
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    inner = value if isinstance(value, list | tuple) else ()
    return next(filter(None, map(_half_character, inner)), None)


class JobLimits(Strict):
    """
    Limits of one job, one file and one account for a model.

    Defaults suit a base model in 2026; `aws service-quotas list-service-quotas --service-code bedrock` shows those of
    an account.
    """

    max_records_per_job: Count = Field(default=50_000, description="Records in one job, and so in its one input file.")
    min_records_per_job: Count = Field(default=100, description="Bedrock fails jobs with fewer records.")
    max_bytes_per_file: Count = Field(default=1 * GB, description="Bytes in one input file.")
    max_bytes_per_record: Count = Field(
        default=25 * MB, description="Bytes in one JSONL line; a longer record is not sent and becomes an error row."
    )
    max_jobs: Count = Field(default=20, description="Jobs in flight at once, if the Dagster pool has no limit.")
    max_concurrent_requests: Count = Field(
        default=8, description="Calls at once in a run that answers records on demand."
    )

    @model_validator(mode="after")
    def _minimum_fits(self) -> "JobLimits":
        if self.min_records_per_job > self.max_records_per_job:
            raise ValueError(
                f"min_records_per_job ({self.min_records_per_job}) is above max_records_per_job "
                f"({self.max_records_per_job}); no job could satisfy both"
            )
        return self
