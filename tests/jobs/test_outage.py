"""AWS is away, or slow to begin: nothing changes but time, and people are told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.config import Config

from bedrock_assets.assets.wait import Watch
from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.errors import BedrockUnavailable
from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import ROLE, Lab, open_lab

TICKS_AN_HOUR = 120


def test_an_hour_without_aws(tmp_path: Path) -> None:
    """Ticks that reach nobody change nothing; afterwards ended jobs are collected and the others submitted, once."""
    with open_lab(tmp_path, n_rows=30, max_jobs=2) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        before, nobody = lab.states, Bedrock(_unreachable(), ROLE)
        for _ in range(TICKS_AN_HOUR):
            lab.later += timedelta(seconds=30)
            with pytest.raises(BedrockUnavailable):
                lab.tick(nobody)
        assert lab.states == before
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == len(lab.shards)


def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Runs that cannot read the store fail and rest; when it is back the shard is collected, not paid again."""
    with open_lab(tmp_path, n_rows=10, max_jobs=1) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        (rows,) = (tmp_path / "s3" / "bucket" / "calls" / "prompts").rglob("*.rows.parquet")
        rows.rename(rows.with_name("away"))
        for _ in range(3):
            lab.tick()
            lab.later += timedelta(minutes=10)
            assert RequestState.ANSWERED not in lab.states.values()
        rows.with_name("away").rename(rows)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1


@pytest.mark.parametrize(
    ("status", "hours_left", "is_warned"),
    [
        (JobStatus.SCHEDULED, 2, True),
        (JobStatus.SUBMITTED, 7, True),
        (JobStatus.SCHEDULED, 20, False),
        (JobStatus.IN_PROGRESS, 2, False),
    ],
)
def test_a_job_that_may_expire_is_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], status: JobStatus, hours_left: int, is_warned: bool
) -> None:
    """A job that has not begun when a tenth of its 72 hours is left is told of, once; one that runs is not."""
    now = datetime.now(UTC)
    times = {"submitted_at": now + timedelta(hours=hours_left - 72), "expires_at": now + timedelta(hours=hours_left)}
    job = Job("arn:aws:bedrock:us-east-1:1:model-invocation-job/x", "ba-calls-1", status, "model", **times)
    with open_lab(tmp_path, n_rows=10) as lab:
        watch = _watch(lab)
        watch._warn([job])
        watch._warn([job])
    told = capfd.readouterr().err.count("ba-calls-1 has not started and will expire at")
    assert told == int(is_warned)


def _watch(lab: Lab) -> Watch:
    return Watch(dg.build_asset_context(instance=lab.instance), lab.pipeline, lab.ledger, lab.bedrock, 1.0)


def _unreachable() -> Any:
    return boto3.client(
        "bedrock",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )
