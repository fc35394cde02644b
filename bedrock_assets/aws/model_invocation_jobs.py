"""The four operations of Bedrock batch inference, over a boto3 client."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ParamValidationError

from bedrock_assets.audit import Effect, announced
from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.config.job_settings import JobSettings
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.limits import LIST_PAGE_SIZE

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

from datetime import timedelta

from bedrock_assets.limits import MAX_TIMEOUT_HOURS

_TRANSIENT = {
    "ThrottlingException",
    "ServiceQuotaExceededException",
    "InternalServerException",
    "ServiceUnavailableException",
    "RequestTimeout",
    "ModelNotReadyException",
}
_CREDENTIALS = {
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
}
_TAKEN = {"ConflictException", "ValidationException"}
"""
Errors for a job name or a client token that is already in use. If a token is sent again with changed settings, the
service model names a conflict; other AWS services answer with a validation error.
"""


@dataclass(frozen=True)
class NewJob:
    """The arguments of Create."""

    name: str
    """Also the idempotency token."""
    model: str
    input_uri: str
    output_uri: str
    model_invocation_type: str
    timeout_hours: int
    pipeline: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The pipeline's own."""


class Jobs(Protocol):
    """Batch inference jobs, of one Region or of several; errors as `Bedrock` has them."""

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> "Iterator[Job]":
        """Jobs submitted since a time, with a text in their names; the latest first."""
        ...

    def get(self, arn: str) -> Job:
        """The job as it is now."""
        ...

    def stop(self, arn: str) -> None:
        """Ask for the job's stop; a job that has ended is left as it is."""


@dataclass(frozen=True)
class Bedrock:
    """
    Bedrock's batch inference jobs of one account and Region.

    Every method raises `BedrockUnavailable` if the same call may succeed later, and `BedrockError` otherwise.
    """

    client: "BedrockClient"
    role_arn: str
    settings: JobSettings = field(default_factory=JobSettings)

    def page_of(self, arn: str) -> str:
        """
        URL where people look at a job: the console's list of the Region, or the page of an emulator at that job.

        AWS documents no address of a job's own page; the list finds a job by its name.
        """
        endpoint, region = self.client.meta.endpoint_url, self.client.meta.region_name
        if "amazonaws." not in endpoint:
            return f"{endpoint.rstrip('/')}/#{arn.rpartition('/')[2]}"
        return f"https://{region}.console.aws.amazon.com/bedrock/home?region={region}#/batch-inference"

    def create(self, job: NewJob) -> str:
        """
        Create a job, or find the one that already has its name, whatever its settings.

        Returns:
            The job's ARN.
        """
        arguments: dict[str, Any] = {
            "jobName": job.name,
            "clientRequestToken": job.name,
            "roleArn": self.role_arn,
            "modelId": job.model,
            "timeoutDurationInHours": job.timeout_hours,
            **self.settings.arguments(job.input_uri, job.output_uri, job.tags, job.pipeline),
        }
        if job.model_invocation_type != "InvokeModel":
            arguments["modelInvocationType"] = job.model_invocation_type
        try:
            with refusals("CreateModelInvocationJob", job.name), announced(Effect.CREATE_JOB, job.name):
                return self.client.create_model_invocation_job(**arguments)["jobArn"]
        except BedrockError as error:
            if _code(error.__cause__) not in _TAKEN:
                raise
            for existing in self.list(name_contains=job.name):
                if existing.name == job.name:
                    return existing.arn
            raise

    def list(self, *, since: datetime | None = None, name_contains: str | None = None) -> "Iterator[Job]":
        """
        Jobs, newest first.

        Args:
            since: Leave out jobs submitted before.
            name_contains: Leave out jobs whose name does not contain it.
        """
        filters: dict[str, Any] = {"submitTimeAfter": since, "nameContains": name_contains}
        arguments = {name: value for name, value in filters.items() if value is not None}
        pages = self.client.get_paginator("list_model_invocation_jobs").paginate(
            sortBy="CreationTime", sortOrder="Descending", PaginationConfig={"PageSize": LIST_PAGE_SIZE}, **arguments
        )
        with refusals("ListModelInvocationJobs", name_contains or "all jobs"):
            for page in pages:
                yield from map(_job, page.get("invocationJobSummaries", ()))

    def get(self, arn: str) -> Job:
        """One job by its ARN."""
        with refusals("GetModelInvocationJob", arn):
            return _job(self.client.get_model_invocation_job(jobIdentifier=arn))

    def stop(self, arn: str) -> None:
        """Ask for a job to be stopped; one that has ended is left as it is."""
        try:
            with refusals("StopModelInvocationJob", arn), announced(Effect.STOP_JOB, arn):
                self.client.stop_model_invocation_job(jobIdentifier=arn)
        except BedrockError as error:
            if _code(error.__cause__) not in ("ConflictException", "ValidationException"):
                raise


def _job(summary: Any) -> Job:
    return Job(
        arn=summary["jobArn"],
        name=summary.get("jobName", ""),
        status=JobStatus(summary["status"]),
        model=summary["modelId"],
        submitted_at=summary["submitTime"],
        message=summary.get("message"),
        n_total=summary.get("totalRecordCount") or 0,
        n_processed=summary.get("processedRecordCount") or 0,
        n_success=summary.get("successRecordCount") or 0,
        n_error=summary.get("errorRecordCount") or 0,
        expires_at=summary.get("jobExpirationTime"),
        ended_at=summary.get("endTime"),
        output_uri=summary["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
    )


@contextmanager
def refusals(operation: str, subject: str) -> Generator[None]:
    """
    Raise botocore's errors as this package's.

    Raises:
        BedrockUnavailable: The same call may succeed later.
        BedrockError: The same call would be refused again.
    """
    try:
        yield
    except ClientError as error:
        code, message = _code(error), error.response.get("Error", {}).get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _CREDENTIALS:
            raise BedrockUnavailable(
                f"{operation}: AWS does not accept the credentials ({code}); renew them, no restart is needed"
            ) from error
        kind = BedrockUnavailable if code in _TRANSIENT or status >= 500 or status == 429 else BedrockError  # noqa: PLR2004 - HTTP
        raise kind(f"{operation} of {subject}: {code}: {message}") from error
    except (NoCredentialsError, NoRegionError) as error:
        raise BedrockUnavailable(
            f"{operation}: {error}. Set up AWS credentials and AWS_REGION, or run `bedrock-assets dev` to work locally"
        ) from error
    except ParamValidationError as error:
        raise BedrockError(f"{operation} of {subject}: {error}") from error
    except BotoCoreError as error:
        raise BedrockUnavailable(f"{operation} of {subject}: {error}") from error


def _code(error: BaseException | None) -> str:
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""


LOOK_BACK = timedelta(hours=MAX_TIMEOUT_HOURS + 24)
"""No job in flight was created earlier: its timeout counts from creation."""
