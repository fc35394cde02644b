"""The command `metrics`: it serves over HTTP, refuses what is wrong, and prints a dashboard and rules that fit."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from typer.testing import CliRunner, Result

from bedrock_assets.cli.app import app
from bedrock_assets.cli.metrics import DASHBOARD, DEPLOY, RULES
from bedrock_assets.components.load import specs_of
from bedrock_assets.metrics.gauges import METRICS, PREFIX
from bedrock_assets.metrics.server import registry_of
from tests.cli.test_commands import desk
from tests.labs.dispatch import open_lab
from tests.metrics.test_metrics import counted, deployment_of, parsed

PROMTOOL = shutil.which("promtool")


def run(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["metrics", *map(str, arguments)])


def test_the_command_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own answers over HTTP with what `--once` prints, and ends at SIGTERM."""
    with desk(tmp_path, monkeypatch, n_rows=10, speed=None) as (lab, path):
        lab.ask()
        main = "from bedrock_assets.cli.app import main; main()"
        command = [sys.executable, "-c", main, "metrics", str(path), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("metrics of calls at http://127.0.0.1:")
            with urllib.request.urlopen(line.split()[4].rstrip(";"), timeout=30) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                found = parsed(answer.read().decode())
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == "stopping\n"
        assert process.returncode == 0
        assert counted(found, "shards", pipeline="calls") == {"requested": 2}
        once = run(path, "--once")
        assert once.exit_code == 0
        assert counted(parsed(once.stdout), "shards", pipeline="calls") == {"requested": 2}


def test_settings_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken, a host that is not here, a pipeline that is none, no Dagster: each told with the cure."""
    with desk(tmp_path, monkeypatch, n_rows=10) as (_, path), socket.create_server(("127.0.0.1", 0)) as taken:
        other = tmp_path / "other.yaml"
        other.write_text("type: somebody.Else\nattributes: {}\n")
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text("attributes: {name: Calls}\n")
        for arguments, message in (
            ((path, "--port", taken.getsockname()[1]), "metrics cannot be served on 127.0.0.1, port"),
            ((path, "--host", "no.such.host.invalid"), "name others with --host, --port"),
            (("nobody",), "there is no pipeline or inbox 'nobody' in "),
            ((other,), "does not have `type: bedrock_assets.BatchInference or bedrock_assets.BatchInbox`"),
            ((wrong,), "wrong.yaml: attributes.name: "),
            (("--dashboard", "--rules"), "name one of --dashboard and --rules"),
        ):
            refused = run(*arguments)
            assert (refused.exit_code, message in refused.stderr) == (2, True), refused.output
        monkeypatch.delenv("DAGSTER_HOME")
        assert "DAGSTER_HOME is not set" in run(path).stderr


def test_without_the_extra(tmp_path: Path) -> None:
    """Without prometheus_client the command says what to install; dashboard and rules are printed all the same."""
    hidden = "import sys; sys.modules['prometheus_client'] = None; from bedrock_assets.cli.app import main; main()"
    command = [sys.executable, "-c", hidden, "metrics"]
    printed = subprocess.run([*command, "--rules"], capture_output=True, text=True, check=True)
    assert yaml.safe_load(printed.stdout)["groups"]
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path), "AWS_REGION": "us-east-1"}
    refused = subprocess.run([*command, "--once"], capture_output=True, text=True, check=False, env=env)
    assert (refused.returncode, "pip install 'bedrock-assets[metrics]'" in refused.stderr) == (2, True), refused.stderr


def test_those_of_the_code_location() -> None:
    """Without a name all pipelines and inboxes that ship are told of."""
    assert [spec.name for spec in specs_of(None)] == ["conversation_embeddings", "conversation_summaries", "inbox"]


def expressions() -> dict[str, str]:
    """What the dashboard and the rules ask of Prometheus, by where it stands."""
    panels = json.loads((DEPLOY / DASHBOARD).read_text("utf-8"))["panels"]
    rules = yaml.safe_load((DEPLOY / RULES).read_text("utf-8"))["groups"][0]["rules"]
    asked = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    return asked | {rule["alert"]: rule["expr"] for rule in rules}


def test_dashboard_and_rules_name_what_there_is() -> None:
    """Each metric that they name, with each label, is one that is served; and the command prints the two files."""
    served = {PREFIX + family.name: {*family.labels} for family in METRICS}
    asked = expressions()
    assert len(asked) >= 15
    for where, expression in asked.items():
        for name, labels in re.findall(rf"({PREFIX}\w+)(?:\{{([^}}]*)\}})?", expression):
            assert name in served, where
            assert set(re.findall(r"(\w+)(?:=|!=)", labels)) <= served[name], where
    titles = [panel["title"] for panel in json.loads(run("--dashboard").stdout)["panels"]]
    assert len(set(titles)) == len(titles) == 9
    assert run("--rules").stdout == (DEPLOY / RULES).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of the Debian package prometheus, is not there")
def test_prometheus_takes_it(tmp_path: Path) -> None:
    """promtool finds nothing in names, types and help texts, in the rules, and in what the dashboard asks."""
    with open_lab(tmp_path, n_rows=20, on_disk=True) as lab:
        lab.ask()
        lab.finish()
        text = generate_latest(registry_of(deployment_of(lab)[0])).decode()
    checked = subprocess.run([PROMTOOL or "", "check", "metrics"], input=text, capture_output=True, text=True)  # noqa: PLW1510
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    asked = [{"record": f"r{i}", "expr": e.replace("$pipeline", ".*")} for i, e in enumerate(expressions().values())]
    panels = tmp_path / "panels.yaml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))
    for file in (panels, Path(str(DEPLOY / RULES))):
        checked = subprocess.run([PROMTOOL or "", "check", "rules", file], capture_output=True, text=True)  # noqa: PLW1510
        assert checked.returncode == 0, checked.stderr


HEALTHY = {
    'sensor_last_tick_timestamp_seconds{sensor="bedrock_jobs_sensor"}': "0+60x60",
    'up{source="bedrock"}': "1x60",
    'shards{pipeline="calls",state="failed"}': "0x60",
    'rows{pipeline="calls",status="ok"}': "97x60",
    'rows{pipeline="calls",status="error"}': "3x60",
    'oldest_shard_age_seconds{pipeline="calls",state="requested"}': "0+60x60",
    'oldest_shard_age_seconds{pipeline="calls",state="submitted"}': "90000x60",
}
"""A minute apart, what an hour of a good day tells."""
ILL = {
    **HEALTHY,
    'sensor_last_tick_timestamp_seconds{sensor="bedrock_jobs_sensor"}': "0x60",
    'up{source="bedrock"}': "0x60",
    'shards{pipeline="calls",state="failed"}': "2x60",
    'rows{pipeline="calls",status="missing"}': "10x60",
    'oldest_shard_age_seconds{pipeline="calls",state="requested"}': "90000x60",
}


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of the Debian package prometheus, is not there")
@pytest.mark.parametrize(
    ("told", "alerts"),
    [
        (HEALTHY, set()),
        (ILL, {"SensorNotTicking", "ShardWaits", "ShardsFailed", "RowErrors", "SourceDown"}),
        ({}, {"SensorNotTicking", "EndpointDown"}),
    ],
    ids=["healthy", "ill", "silent"],
)
def test_alerts_fire_when_they_are_to(tmp_path: Path, told: dict[str, str], alerts: set[str]) -> None:
    """Prometheus itself evaluates the rules over an hour: none fires on a good day, each where it is to."""
    series = [{"series": PREFIX + name, "values": values} for name, values in told.items()]
    firing = [{"labels": f'{{alertname="BedrockAssets{name}"}}', "value": 1} for name in sorted(alerts)]
    expected = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "50m", "exp_samples": firing}
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [expected]}]
    document = {"rule_files": [str(DEPLOY / RULES)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    command = [PROMTOOL or "", "test", "rules", str(tmp_path / "test.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
