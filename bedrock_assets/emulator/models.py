"""A job: its request, status and counts."""

from dataclasses import dataclass, field
from enum import StrEnum

from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import JsonObject, as_object, as_str

ACCOUNT_ID = "123456789012"


class JobStatus(StrEnum):
    """The ten statuses, spelled as AWS spells them."""

    SUBMITTED = "Submitted"
    VALIDATING = "Validating"
    SCHEDULED = "Scheduled"
    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    COMPLETED = "Completed"
    PARTIALLY_COMPLETED = "PartiallyCompleted"
    FAILED = "Failed"
    EXPIRED = "Expired"


RUNNING = (JobStatus.VALIDATING, JobStatus.SCHEDULED, JobStatus.IN_PROGRESS, JobStatus.STOPPING)
"""Statuses of a job that takes one of the model's slots."""

IN_FLIGHT = (JobStatus.SUBMITTED, *RUNNING)
"""Statuses of a job that has not ended."""


@dataclass(frozen=True)
class Counts:
    """Records of a job so far, as Get and List report them."""

    total: int = 0
    """Records in the input; 0 until it is validated."""
    processed: int = 0
    success: int = 0
    error: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One batch inference job; times are real seconds since the epoch."""

    seq: int = 0
    """Grows with every job; List sorts by it. The table assigns it."""
    job_id: str
    """The last twelve characters of the ARN."""
    region: str
    request: JsonObject
    """The Create request."""
    faults: Faults = field(default_factory=Faults)
    """Faults set when the job was created, if they apply to it."""
    status: JobStatus = JobStatus.SUBMITTED
    message: str | None = None
    counts: Counts = field(default_factory=Counts)
    submit_time: float
    modified_time: float
    end_time: float | None = None
    expires: float
    phase_time: float
    """When the current status began."""
    started: bool = False
    """Whether the job was ever InProgress; a Stopping job then has output to write."""

    @property
    def arn(self) -> str:
        """The job's ARN."""
        return f"arn:aws:bedrock:{self.region}:{ACCOUNT_ID}:model-invocation-job/{self.job_id}"

    @property
    def name(self) -> str:
        """`jobName`."""
        return as_str(self.request["jobName"])

    @property
    def model_id(self) -> str:
        """`modelId`, as the caller spelled it."""
        return as_str(self.request["modelId"])

    @property
    def invocation_type(self) -> str:
        """`InvokeModel` or `Converse`."""
        return as_str(self.request.get("modelInvocationType")) or "InvokeModel"

    @property
    def input_uri(self) -> str:
        """S3 URI of the input file, or of the prefix that holds the input files."""
        return data_uri(self.request, "input")

    @property
    def output_uri(self) -> str:
        """S3 URI under which the job's own folder is written."""
        return data_uri(self.request, "output")


def data_uri(request: JsonObject, side: str) -> str:
    """`s3Uri` of the `input` or `output` *side* of a Create request."""
    config = as_object(as_object(request[f"{side}DataConfig"]).get(f"s3{side.title()}DataConfig"))
    return as_str(config["s3Uri"])


def model_key(model_id: str) -> str:
    """
    The model that quotas count by: the one behind an id, a foundation-model ARN or a cross-Region profile.

    >>> model_key("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0")
    'amazon.nova-lite-v1:0'
    """
    last = model_id.rsplit("/", 1)[-1] if "custom-model/" not in model_id else model_id
    geography, _, rest = last.partition(".")
    return rest if rest and geography in _GEOGRAPHIES else last


_GEOGRAPHIES = frozenset(("us", "us-gov", "eu", "apac", "jp", "au", "ca", "sa", "global"))
