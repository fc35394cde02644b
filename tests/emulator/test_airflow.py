"""Apache Airflow, in a virtual environment of its own, runs the Amazon provider's operator against the emulator."""

import json
import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.lab import BUCKET, Lab, StartLab, records
from tests.labs.installing import install

REQUIREMENTS = ("apache-airflow==3.3.2", "apache-airflow-providers-amazon==9.39.0")
INSTALL_TIMEOUT_S, RUN_TIMEOUT_S = 900, 300

Airflow = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def airflow_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `airflow` of a fresh virtual environment; a test that needs it is skipped where pip finds none."""
    folder = tmp_path_factory.mktemp("airflow") / "venv"
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    install(pip, "Apache Airflow", INSTALL_TIMEOUT_S)
    return folder / "bin" / "airflow"


@pytest.fixture
def airflow(airflow_bin: Path, lab: Lab, tmp_path: Path) -> Airflow:
    """Run a command of Airflow that finds the DAG, an empty database, and Bedrock at the lab."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "AIRFLOW", "PYTHON"))} | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "airflow_dags"),
        "AWS_ENDPOINT_URL_BEDROCK": lab.emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(airflow_bin), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)

    for step in (("db", "migrate"), ("dags", "reserialize")):
        done = run(*step)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def lab(start: StartLab) -> Lab:
    """Jobs take about two seconds, so that the operator has to wait."""
    return start(speed=150)


def configuration(lab: Lab, job_name: str) -> str:
    """The DAG run's configuration for a job of 150 records."""
    uri = lab.put("in/x.jsonl", records(150))
    return json.dumps({"job_name": job_name, "input_uri": uri, "output_uri": f"s3://{BUCKET}/out/"})


def test_operator_and_sensor(airflow: Airflow, lab: Lab) -> None:
    """The operator creates a job and waits until it is complete, the sensor finds it complete, the DAG run succeeds."""
    done = airflow("dags", "test", "batch", "-c", configuration(lab, "airflow-job"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "state=success" in done.stdout + done.stderr
    (job,) = lab.client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert (job["jobName"], job["status"]) == ("airflow-job", "Completed")
    assert len(lab.lines(job["jobArn"], "x.jsonl.out")) == 150
    assert lab.client.list_tags_for_resource(resourceARN=job["jobArn"])["tags"] == [{"key": "team", "value": "claims"}]


def test_a_failed_job_fails_the_task(airflow: Airflow, lab: Lab) -> None:
    """A job that Bedrock fails makes the operator fail, and with it the DAG run."""
    lab.faults(fail_message="Customer doesn't have permissions to invokeModel")
    done = airflow("dags", "test", "batch", "-c", configuration(lab, "failing-job"))
    assert "state=failed" in done.stdout + done.stderr
    (job,) = lab.client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert job["status"] == "Failed"
