"""Create, Get and Stop over the table of jobs; `listing` has List."""

import secrets
import string
import threading
from dataclasses import replace
from datetime import UTC, datetime

from bedrock_assets.emulator.admission import admit
from bedrock_assets.emulator.clock import Clock
from bedrock_assets.emulator.database import Database, JobTable, Where, token_of
from bedrock_assets.emulator.exceptions import (
    ConflictException,
    ResourceNotFoundException,
    ServiceQuotaExceededException,
    ValidationException,
)
from bedrock_assets.emulator.jsontypes import JsonObject
from bedrock_assets.emulator.models import IN_FLIGHT, Job, JobStatus, data_uri, model_key
from bedrock_assets.emulator.replies import is_supported
from bedrock_assets.emulator.settings import EmulatorSettings
from bedrock_assets.emulator.storage import locate
from bedrock_assets.emulator.tables import DelayTable, TagTable

DEFAULT_TIMEOUT_HOURS = 24

MAX_CUSTOM_JOBS = 3
"""Jobs in flight of one custom model (Service Quotas, 2026-11)."""

_ID_ALPHABET = string.ascii_lowercase + string.digits


class Backend:
    """The account: its jobs, quotas and faults."""

    def __init__(self, database: Database, clock: Clock, settings: EmulatorSettings) -> None:
        self.transaction = database.transaction
        self.table = JobTable(database)
        self.tags = TagTable(database)
        self.delays = DelayTable(database)
        self.clock = clock
        self.limits = settings.read_limits()
        self.queue = settings.queue
        """What happens to a job over the quota: it waits as Submitted, or Create refuses it."""
        self.reuse_names = settings.reuse_names
        """Whether the name of an ended job is free again. AWS documents neither; the stricter is the default."""
        self.any_model = settings.any_model
        """Whether Create takes models, roles and owners that AWS would refuse."""
        self.token_conflicts = settings.token_conflicts
        """Whether a token with another request is a conflict; botocore's documentation says that it is ignored."""
        self._token_s = self.clock.real_s(3600 * settings.token_hours)
        self.faults = settings.read_faults()
        self.changed = threading.Event()
        """Set when a call gave the runner something to do."""

    def max_jobs(self, key: str) -> int:
        """Jobs in flight that the model with this key may have."""
        return min(self.limits.max_jobs, MAX_CUSTOM_JOBS) if "custom-model/" in key else self.limits.max_jobs

    def create(self, request: JsonObject, region: str) -> Job:
        """
        Create a job, or return the one that a request with the same token created before.

        Raises:
            ConflictException: The name is in use; or the token, where that is a conflict.
            ServiceQuotaExceededException: The model has its quota of jobs in flight, and jobs do not queue.
            AWSError: The model, the role or a location cannot be used.
        """
        with self.transaction():
            existing = self._same_token(request, region)
            if existing is not None:
                return existing
            if not self.any_model:
                admit(request, region, datetime.fromtimestamp(self.clock.now(), UTC).date())
            _check_supported(request)
            job = self._new_job(request, region)
            self._check_name(job)
            self._check_quota(job)
            self.table.insert(job)
            self.tags.put(job.job_id, request.get("tags"))
            for uri in (job.input_uri, job.output_uri):
                self.delays.name_bucket(locate(uri).bucket, job.submit_time)
        self.changed.set()
        return job

    def get(self, job_id: str, region: str) -> Job:
        """
        The job with this id.

        Raises:
            ResourceNotFoundException: The region has no such job.
        """
        jobs = self.table.find(Where().also("job_id = ?", job_id).also("region = ?", region))
        if not jobs:
            raise ResourceNotFoundException("Could not find the model invocation job with the provided identifier.")
        return jobs[0]

    def stop(self, job_id: str, region: str) -> None:
        """
        Ask a job to stop. A job that is stopping accepts it again.

        Raises:
            ConflictException: The job has ended.
        """
        with self.transaction():
            job = self.get(job_id, region)
            if job.status not in IN_FLIGHT:
                raise ConflictException(f"The model invocation job has already ended; its status is {job.status}.")
            if job.status != JobStatus.STOPPING:
                self.table.move(job, JobStatus.STOPPING, self.clock.now())
        self.changed.set()

    def _same_token(self, request: JsonObject, region: str) -> Job | None:
        token = token_of(request)
        if token is None:
            return None
        jobs = self.table.find(Where().also("region = ?", region).also("token = ?", token))
        if not jobs:
            return None
        if jobs[0].status not in IN_FLIGHT and self.clock.now() - jobs[0].submit_time >= self._token_s:
            self.table.forget_token(jobs[0])
            return None
        if self.token_conflicts and jobs[0].request != request:
            raise ConflictException("The provided client request token was already used with another request.")
        return jobs[0]

    def _new_job(self, request: JsonObject, region: str) -> Job:
        now = self.clock.now()
        hours = request.get("timeoutDurationInHours", DEFAULT_TIMEOUT_HOURS)
        timeout_s = 3600.0 * (hours if isinstance(hours, int) else DEFAULT_TIMEOUT_HOURS)
        job = Job(
            job_id="".join(secrets.choice(_ID_ALPHABET) for _ in range(12)),
            region=region,
            request=request,
            submit_time=now,
            modified_time=now,
            expires=now + self.clock.real_s(timeout_s),
            phase_time=now,
        )
        return replace(job, faults=self.faults.for_job(job.name, job.model_id))

    def _check_name(self, job: Job) -> None:
        where = Where().also("region = ?", job.region).also("name = ?", job.name)
        if self.reuse_names:
            where = where.status_in(IN_FLIGHT)
        if self.table.tally(where, "name"):
            raise ConflictException("The provided job name is currently in use.")

    def _check_quota(self, job: Job) -> None:
        key = model_key(job.model_id)
        quota = self.max_jobs(key)
        if not self.queue and self.table.n_jobs(job.region, key, IN_FLIGHT) >= quota:
            raise ServiceQuotaExceededException(
                f"Your account has reached the quota of {quota} in-progress and submitted batch inference jobs "
                f"for {key}. Wait for a job to end, or request an increase of the quota."
            )


def _check_supported(request: JsonObject) -> None:
    model_id = str(request["modelId"])
    invocation_type = str(request.get("modelInvocationType", "InvokeModel"))
    if not is_supported(model_id, invocation_type):
        raise ValidationException("Batch inference is not supported for the requested model.")
    for side in ("input", "output"):
        try:
            locate(data_uri(request, side))
        except ValueError as error:
            raise ValidationException(f"The provided S3 URI is invalid: {error}") from None
