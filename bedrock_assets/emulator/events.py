"""
EventBridge's events of jobs, delivered to an SQS queue as a rule on `aws.bedrock` whose target is the queue does.

A trigger of the database notes each change of a status in the change's own transaction, so an event that could not be
sent is sent later, also after a restart. Sources: Amazon Bedrock user guide, "Monitor Bedrock job state changes using
Amazon EventBridge", 2026-11. Whether AWS sends an event for Submitted nobody tells; the emulator does.
"""

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from bedrock_assets.emulator.database import Database, JobTable, Table, Where
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.models import ACCOUNT_ID, Job
from bedrock_assets.emulator.wire import DEFAULT_REGION

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

logger = logging.getLogger(__name__)

AT_ONCE = 10
"""Most messages of one call (SQS API reference)."""
RETRY_S = 5.0
"""Real seconds without another try after the queue did not take events."""
_NAMESPACE = UUID("6f0d3c5e-3c0b-4b0e-9a51-3d2f6c3a9b10")


_NOTE = "INSERT INTO job_events (job_id, status, time) VALUES (new.job_id, new.status, new.modified_time)"
_ON = (
    f"CREATE TRIGGER IF NOT EXISTS job_created AFTER INSERT ON jobs BEGIN {_NOTE}; END",
    f"CREATE TRIGGER IF NOT EXISTS job_moved AFTER UPDATE OF status ON jobs BEGIN {_NOTE}; END",
)
_OFF = ("DROP TRIGGER IF EXISTS job_created", "DROP TRIGGER IF EXISTS job_moved")


class EventTable(Table):
    """Changes of statuses that are still to be told."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS job_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL,
        status TEXT NOT NULL,
        time REAL NOT NULL
    );
    """

    def watch(self, *, on: bool) -> None:
        """Note changes from now on, or no longer."""
        for statement in _ON if on else _OFF:
            self._execute(statement)

    def pending(self) -> list[tuple[int, str, str, float]]:
        """The oldest changes: number, job id, status and time."""
        rows = self._execute("SELECT seq, job_id, status, time FROM job_events ORDER BY seq LIMIT ?", AT_ONCE)
        return [(int(seq), str(job_id), str(status), float(at)) for seq, job_id, status, at in rows]

    def drop(self, seq: int) -> None:
        """Forget a change that was told."""
        self._execute("DELETE FROM job_events WHERE seq = ?", seq)


class JobEvents:
    """Tells an SQS queue of the jobs' changes; without a queue nothing is noted."""

    def __init__(self, database: Database, queue_url: str | None) -> None:
        self._table = EventTable(database)
        self._jobs = JobTable(database)
        self._url = queue_url
        self._client: SQSClient | None = None
        self._next_try = 0.0
        self._table.watch(on=queue_url is not None)

    def deliver(self) -> None:
        """Send what is pending. A queue that takes nothing is tried again later."""
        if self._url is None or time.monotonic() < self._next_try:
            return
        while pending := self._table.pending():
            entries = [entry for change in pending for entry in self._entries(*change)]
            if entries and not self._send(self._url, entries):
                self._next_try = time.monotonic() + RETRY_S
                return
            for seq, *_ in pending:
                self._table.drop(seq)

    def _entries(self, seq: int, job_id: str, status: str, at: float) -> "list[SendMessageBatchRequestEntryTypeDef]":
        """The messages of one change: one, unless a fault loses or doubles it."""
        job = self._jobs.find(Where().also("job_id = ?", job_id))[0]
        body, faults, key = dump(job_event(job, status, at)), job.faults, (job.name, status)
        n_copies = 0 if faults.hits(faults.missing_event_rate, "missing event", *key) else 1
        n_copies *= 2 if faults.hits(faults.duplicate_event_rate, "duplicate event", *key) else 1
        return [{"Id": f"{seq}-{copy}", "MessageBody": body} for copy in range(n_copies)]

    def _send(self, url: str, entries: "list[SendMessageBatchRequestEntryTypeDef]") -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._client = self._client or _connect(url)
            for start in range(0, len(entries), AT_ONCE):
                failed = client.send_message_batch(QueueUrl=url, Entries=entries[start : start + AT_ONCE]).get("Failed")
                if failed:
                    logger.warning("%s refuses %d job events: %s", url, len(failed), failed[0].get("Message"))
                    return False
        except (BotoCoreError, ClientError) as error:
            logger.warning("job events wait, because %s takes none: %s", url, error)
            return False
        return True


def job_event(job: Job, status: str, at: float) -> JsonObject:
    """The event of a job that has got a status at a time."""
    moment, created = (datetime.fromtimestamp(seconds, UTC) for seconds in (at, job.submit_time))
    return {
        "version": "0",
        "id": str(uuid5(_NAMESPACE, f"{job.arn} {status}")),
        "detail-type": "Batch Inference Job State Change",
        "source": "aws.bedrock",
        "account": ACCOUNT_ID,
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "region": job.region,
        "resources": [job.arn],
        "detail": {
            "version": "0.0",
            "accountId": ACCOUNT_ID,
            "batchJobName": job.name,
            "batchJobArn": job.arn,
            "batchModelId": job.model_id,
            "status": status,
            "failureMessage": job.message or "" if status in (job.status, "Failed") else "",
            "creationTime": f"{created:%b} {created.day}, {created:%Y}, {created:%I:%M:%S %p}",
        },
    }


def _connect(url: str) -> "SQSClient":
    import boto3
    from botocore.config import Config

    parts = urlsplit(url)
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    session = boto3.Session()
    region = session.region_name or DEFAULT_REGION
    return session.client("sqs", region_name=region, endpoint_url=f"{parts.scheme}://{parts.netloc}", config=config)
