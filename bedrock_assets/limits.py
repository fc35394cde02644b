"""
Quotas and wire limits of Amazon Bedrock batch inference, each in one place with its source.

The quotas are per model and Region and most are adjustable, so pipelines override them under `limits:`.
Sources: Amazon Bedrock user guide and Service Quotas, botocore 1.44 service model, read 2026-11.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MB = 1_000_000
GB = 1_000_000_000

MAX_JOB_NAME_CHARS = 63
MIN_TIMEOUT_HOURS, MAX_TIMEOUT_HOURS = 24, 168
"""`timeoutDurationInHours`, counted from the job's creation (service model)."""

LIST_PAGE_SIZE = 1000
"""Largest `maxResults` of ListModelInvocationJobs (service model)."""

S3_URI = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+)*/?")
"""What Bedrock accepts as an S3 URI: no `=`, no space, no `//` (service model). boto3 does not check it."""

JOB_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9+\-.]{0,62}")
"""
What Bedrock accepts as a job name: no `_` (service model). boto3 does not check it.

The service model writes `[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\\+\\-\\.]){0,63}` and a length of 63: the same names, but in
that form a run of hyphens takes exponential time to refuse.
"""

MAX_TAGS = 50
"""Tags of one resource (AWS general reference, 2026-11); the service model would take 200 in one request."""
TAG_TEXT = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")
"""What a tag's key and value are made of (service model). boto3 does not check it."""

OnSmall = Literal["on_demand", "pad", "error"]
"""What becomes of fewer records than `min_records_per_job`."""

Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """Base of what people write in YAML: values do not change after loading, unknown keys are refused with a hint."""

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
        return values


class JobLimits(Strict):
    """
    What one job, one file and one account may hold for a model.

    Defaults are the ones to assume for a base model in 2026; `aws service-quotas list-service-quotas
    --service-code bedrock` shows an account's own.
    """

    max_records_per_job: Count = Field(default=50_000, description="Records in one job (and in its one input file).")
    min_records_per_job: Count = Field(default=100, description="A job with fewer records is failed by Bedrock.")
    max_bytes_per_file: Count = Field(default=1 * GB, description="Bytes of one input file.")
    max_bytes_per_record: Count = Field(
        default=25 * MB, description="Bytes of one JSONL line; a longer record becomes an error row and is not sent."
    )
    max_jobs: Count = Field(default=20, description="Jobs in flight at once where the Dagster pool sets no limit.")
    max_concurrent_requests: Count = Field(
        default=8, description="Calls at once of a run that answers records on demand."
    )

    @model_validator(mode="after")
    def _minimum_fits(self) -> "JobLimits":
        if self.min_records_per_job > self.max_records_per_job:
            raise ValueError(
                f"min_records_per_job ({self.min_records_per_job}) is above max_records_per_job "
                f"({self.max_records_per_job}); no job could satisfy both"
            )
        return self
