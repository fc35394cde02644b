"""A local stack does not reach AWS, whatever the shell or the project's `.env` say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from dagster import DagsterRun, DagsterRunStatus

from bedrock_assets.cli.common import session
from bedrock_assets.emulator import Emulator
from bedrock_assets.errors import ConfigError
from bedrock_assets.local.former import STOPPED, end_runs, require_ended
from bedrock_assets.local.stack import AWS_ONLY, SETTINGS, Settings, environment, local_stack, placeholders
from bedrock_assets.pipeline.project import find_project
from bedrock_assets.resources.environment import bedrock_resource
from tests.labs.instances import open_instance


@pytest.mark.parametrize("line", ["BEDROCK_ASSETS_STORE=s3://paid/batch", " export BEDROCK_ASSETS_REGIONS = eu.yaml"])
def test_a_dotenv_for_aws(tmp_path: Path, line: str) -> None:
    """Dagster would read it, and its values win; so nothing starts beside one."""
    (tmp_path / "dg.toml").write_text('directory_type = "project"\n[project]\nroot_module = "shop"\n')
    (tmp_path / "shop/defs").mkdir(parents=True)
    (tmp_path / ".env").write_text(f"# settings\nSHOP=lamps\n{line}\n")
    name = line.split("=", maxsplit=1)[0].removeprefix(" export ").strip()
    settings = Settings(tmp_path / "home", project=find_project(tmp_path))
    with (
        pytest.raises(ConfigError, match=rf"\.env sets {name}, so the local stack would use AWS"),
        local_stack(settings),
    ):
        pass


def test_settings_for_aws_in_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command with `--home` drops them."""
    home = tmp_path / "home"
    home.mkdir()
    (home / SETTINGS).write_text(json.dumps(environment(home, "http://127.0.0.1:9")))
    for name in (*AWS_ONLY, *environment(home, "")):
        monkeypatch.setenv(name, "arn:aws:iam::123456789012:role/paid")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with session(home):
        resource = bedrock_resource()
    assert (resource.assume_role_arn, resource.regions, resource.vpc_subnet_ids) == (None, [], [])
    assert not resource.cloudwatch


PROFILE = """\
[profile mine]
region = eu-central-1
ignore_configured_endpoint_urls = true
services = elsewhere
aws_access_key_id = mine
aws_secret_access_key = secret

[services elsewhere]
bedrock =
  endpoint_url = https://paid.example.com
"""

EXPIRED = """\
[profile mine]
region = eu-central-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = reader

[sso-session corp]
sso_region = eu-central-1
sso_start_url = https://corp.example.com/start
"""


def test_sources_keep_the_keys_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile's Region and keys stay, and Bedrock is the emulator all the same; a login that has ended is told."""
    (tmp_path / "config").write_text(PROFILE)
    (tmp_path / "none").write_text("")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    keys, note = placeholders()
    assert (set(keys), note) == ({"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, "")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert placeholders() == ({}, "")
    with Emulator(str(tmp_path / "buckets")) as emulator:
        for name, value in environment(tmp_path, emulator.endpoint_url).items():
            monkeypatch.setenv(name, value)
        aws = boto3.Session()
        bedrock, s3 = aws.client("bedrock"), aws.client("s3")
        assert bedrock.list_model_invocation_jobs()["invocationJobSummaries"] == []
        assert bedrock.meta.endpoint_url == emulator.endpoint_url
    (tmp_path / "config").write_text(EXPIRED)
    keys, note = placeholders()
    assert keys["AWS_ACCESS_KEY_ID"] == "local"
    assert note.startswith("your AWS login cannot be used")
    assert s3.meta.region_name == "eu-central-1"
    credentials = aws.get_credentials()
    assert credentials is not None
    assert credentials.access_key == "mine"
    assert (tmp_path / "buckets" / "emulator.sqlite").is_file()


def test_runs_that_a_stopped_stack_left(tmp_path: Path) -> None:
    """Those that had a process end, each as it was meant to; those that had none stay."""
    ended = {
        DagsterRunStatus.STARTING: DagsterRunStatus.FAILURE,
        DagsterRunStatus.STARTED: DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELING: DagsterRunStatus.CANCELED,
    }
    others = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED)
    with open_instance(tmp_path / "dagster", on_disk=True) as instance:
        runs = {status: instance.add_run(DagsterRun("x", status=status)).run_id for status in (*ended, *others)}
        assert end_runs(instance) == (
            "the local stack was stopped while 3 runs had not ended; that work is taken up again"
        )
        for status, run_id in runs.items():
            run = instance.get_run_by_id(run_id)
            assert run
            assert run.status is ended.get(status, status)
            assert [entry.message for entry in instance.all_logs(run_id)] == [STOPPED] * (status in ended)
        assert end_runs(instance) == ""


def test_a_process_that_outlives_a_killed_stack(tmp_path: Path) -> None:
    """Nothing starts beside it, though it does not hold the lock: its run is still under way."""
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True) as left:
        (tmp_path / "lock").write_text(str(left.pid))
        with (
            pytest.raises(ConfigError, match=rf"killed, but .* `kill -9 -- -{left.pid}`"),
            local_stack(Settings(tmp_path)),
        ):
            pass
        assert (tmp_path / "lock").read_text() == str(left.pid)
    with (tmp_path / "lock").open() as lock:
        require_ended(tmp_path, lock)
    (tmp_path / "lock").write_text(str(os.getpgrp()))
    with (tmp_path / "lock").open() as lock:
        require_ended(tmp_path, lock)
