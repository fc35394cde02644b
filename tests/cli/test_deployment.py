"""The configurations that ship: each builds the Dagster instance that it names, and its settings are in force."""

import os
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.runs import SqliteRunStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.cli.deployment import FILES, FOLDER
from bedrock_assets.cli.metrics import DASHBOARD, RULES
from tests.emulator.worlds import KEY, REGION, S3
from tests.labs import helm
from tests.labs.postgres import postgres

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: test, user: {token: none}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
"""


@pytest.fixture(scope="module")
def database() -> Generator[dict[str, str]]:
    """PostgreSQL, and the variables by which it is found."""
    with postgres() as env:
        yield env


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DAGSTER_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def aws(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Generator[S3]:
    """An account of moto's, which boto3 finds by the environment, with the bucket of the logs."""
    moto.create_bucket("my-bucket")
    settings = {"AWS_ENDPOINT_URL": moto.url, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY}
    settings |= {"AWS_SECRET_ACCESS_KEY": KEY, "BEDROCK_ASSETS_LOGS_BUCKET": "my-bucket"}
    settings |= {"BEDROCK_ASSETS_LOGS_PREFIX": "batch/dagster-logs"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield moto
    moto.clear()


def instance_of(home: Path, text: str) -> DagsterInstance:
    """The instance that a dagster.yaml describes."""
    (home / "dagster.yaml").write_text(text)
    return DagsterInstance.get()


def printed(kind: str) -> str:
    """What `bedrock-assets deployment` prints."""
    return CliRunner().invoke(app, ["deployment", kind]).stdout


def require_settings(instance: DagsterInstance, max_runs: int) -> None:
    """What every deployment needs: see the comments of one-machine.yaml."""
    coordinator = instance.run_coordinator
    assert isinstance(coordinator, QueuedRunCoordinator)
    concurrency = instance.get_concurrency_config()
    assert concurrency.run_queue_config
    assert concurrency.run_queue_config.max_concurrent_runs == max_runs
    assert concurrency.pool_config.pool_granularity is not None
    assert concurrency.pool_config.pool_granularity.value == "op"
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] == 60
    assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 3)
    assert not instance.run_retries_retry_on_asset_or_op_failure
    assert not (instance.get_settings("sensors") or {}).get("use_threads", False)
    assert not instance.telemetry_enabled


def require_postgres(instance: DagsterInstance) -> None:
    """Runs, events and schedules are in PostgreSQL, and a pool's limit is kept there."""
    stores = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    kinds = (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage)
    assert [type(getattr(store, "_storage", store)) for store in stores] == list(kinds)
    instance.event_log_storage.set_concurrency_slots("bedrock_batch", 7)
    with DagsterInstance.get() as another:
        assert another.event_log_storage.get_concurrency_info("bedrock_batch").limit == 7


def test_one_machine(home: Path) -> None:
    """SQLite in DAGSTER_HOME and runs as processes."""
    with instance_of(home, printed("one-machine")) as instance:
        assert isinstance(instance.run_storage, SqliteRunStorage)
        assert isinstance(instance.run_launcher, DefaultRunLauncher)
        require_settings(instance, 6)
        instance.event_log_storage.set_concurrency_slots("bedrock_batch", 7)
    assert list(home.glob("**/*.db"))


def test_a_server(home: Path, database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL, and runs as processes."""
    set_all(monkeypatch, database)
    with instance_of(home, printed("server")) as instance:
        assert isinstance(instance.run_launcher, DefaultRunLauncher)
        require_settings(instance, 16)
        require_postgres(instance)
    assert not list(home.glob("**/*.db"))


def test_a_server_without_its_variables_says_which(home: Path) -> None:
    """A variable that is not set is named."""
    with pytest.raises(Exception, match="DAGSTER_PG_HOST"):
        instance_of(home, printed("server"))


def test_ecs(
    home: Path,
    database: dict[str, str],
    aws: S3,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """PostgreSQL, a task for each run, and logs of steps that arrive in the bucket, below the store."""
    from dagster_aws.ecs import EcsRunLauncher

    set_all(monkeypatch, database)
    with instance_of(home, printed("ecs")) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, EcsRunLauncher)
        assert launcher.run_resources == {"cpu": "1024", "memory": "4096"}
        require_settings(instance, 50)
        require_postgres(instance)
        require_logs_in_s3(instance, aws, capfd)


def test_kubernetes(
    home: Path,
    tmp_path: Path,
    database: dict[str, str],
    aws: S3,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The instance that Dagster's chart makes of the values: PostgreSQL, a job for each run, logs in the bucket."""
    set_all(monkeypatch, database)
    set_all(monkeypatch, helm.POD)
    from dagster_k8s import K8sRunLauncher

    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    values = yaml.safe_load(printed("kubernetes"))
    with instance_of(home, helm.dagster_yaml(values, kubeconfig=tmp_path / "kubeconfig")) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, K8sRunLauncher)
        assert launcher.resources["limits"] == {"memory": "4Gi"}
        assert launcher.run_k8s_config["job_spec_config"] == {"ttlSecondsAfterFinished": 86400}
        require_settings(instance, 50)
        require_postgres(instance)
        require_logs_in_s3(instance, aws, capfd)


def test_kubernetes_runs_have_what_the_code_location_has() -> None:
    """Web server, daemon and code location share image, variables and AWS role; runs get the code location's."""
    values = yaml.safe_load(printed("kubernetes"))
    (location,) = values["dagster-user-deployments"]["deployments"]
    parts = (values["dagsterWebserver"], values["dagsterDaemon"], location)
    assert len({str((part["image"], part["env"])) for part in parts}) == 1
    assert values["serviceAccount"] == values["dagster-user-deployments"]["serviceAccount"]
    assert location["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert set(location["env"]) == {"AWS_REGION", "BEDROCK_ASSETS_STORE", "BEDROCK_ASSETS_ROLE_ARN"}


def test_the_command_tells_what_there_is() -> None:
    """Without a kind it lists all files that ship; a kind that is none is refused with those that are."""
    listed = CliRunner().invoke(app, ["deployment"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(FILES)
    shipped = {path.name for path in Path(str(FOLDER)).iterdir()}
    assert shipped == {*FILES.values(), "aws-resources.yaml", DASHBOARD, RULES}
    refused = CliRunner().invoke(app, ["deployment", "mainframe"])
    assert (refused.exit_code, "known: one-machine, server" in refused.stderr) == (2, True)


def set_all(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    """Set variables for a test."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)


def require_logs_in_s3(instance: DagsterInstance, server: S3, capfd: pytest.CaptureFixture[str]) -> None:
    """What a step prints is captured, and put where the caller's policy lets it."""
    from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

    manager: Any = instance.compute_log_manager
    assert isinstance(manager, S3ComputeLogManager)
    with capfd.disabled(), manager.capture_logs([str(uuid.uuid4()), "compute_logs", "a-step"]):
        os.write(1, b"said by a step\n")
    (name,) = server.names("my-bucket", "batch/dagster-logs/")
    assert name.endswith(".out")
    assert server.get("my-bucket", f"batch/dagster-logs/{name}") == b"said by a step\n"
