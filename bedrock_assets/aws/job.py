"""What Bedrock says of one batch inference job."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobStatus(StrEnum):
    """Statuses of a batch inference job, spelled as AWS spells them (botocore 1.44 service model)."""

    SUBMITTED = "Submitted"
    VALIDATING = "Validating"
    SCHEDULED = "Scheduled"
    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    PARTIALLY_COMPLETED = "PartiallyCompleted"
    FAILED = "Failed"
    STOPPED = "Stopped"
    EXPIRED = "Expired"

    @property
    def in_flight(self) -> bool:
        """Whether the job takes one of the account's slots."""
        return self in _IN_FLIGHT


_IN_FLIGHT = frozenset(
    {JobStatus.SUBMITTED, JobStatus.VALIDATING, JobStatus.SCHEDULED, JobStatus.IN_PROGRESS, JobStatus.STOPPING}
)


@dataclass(frozen=True)
class Job:
    """What Bedrock says of one job."""

    arn: str
    name: str
    status: JobStatus
    model: str
    submitted_at: datetime
    message: str | None = None
    n_total: int = 0
    n_processed: int = 0
    n_success: int = 0
    n_error: int = 0
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    output_uri: str = ""
    """Below which Bedrock writes, in a folder named by the job's id."""

    @property
    def id(self) -> str:
        """The ARN's last part, which names the output folder."""
        return self.arn.rpartition("/")[2]
