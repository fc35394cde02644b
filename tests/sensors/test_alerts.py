"""Alerts, told to a receiver on this machine: of failed runs and of budgets, each once; nobody's failure is ours."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.errors import ConfigError
from bedrock_assets.prices import NO_TOKENS, usd
from bedrock_assets.sensors.alerts import URL, AlertError, Alerts, build_alerts
from tests.labs.dispatch import pipeline_of
from tests.labs.instances import in_memory
from tests.labs.stages import texts


@dataclass
class Receiver:
    """A webhook, and what it was told."""

    url: str
    texts: list[str] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real HTTP server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.status == 200:
                found.texts.append(body["text"])
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/T000/secret")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def sensors(folder: Path, alerts: Alerts, **spec: Any) -> dict[str, dg.SensorDefinition]:
    """By name."""
    texts(2).rename({"text": "transcript"}).write_parquet(folder / "calls.parquet")
    return {sensor.name: sensor for sensor in build_alerts([pipeline_of(folder, **spec)], alerts, 30)}


def test_nobody_to_tell(tmp_path: Path) -> None:
    """Without an address there is no sensor; without a budget, none that watches it."""
    assert sensors(tmp_path, Alerts(), budget_usd=1) == {}
    assert list(sensors(tmp_path, Alerts("http://127.0.0.1:1"))) == ["alert_run_failure"]


def test_a_failed_run_is_told(tmp_path: Path, receiver: Receiver) -> None:
    """With the asset, the partition and the innermost reason."""
    sensor = sensors(tmp_path, Alerts(receiver.url))["alert_run_failure"]

    @dg.asset(key=["calls", "batch_outputs"], partitions_def=dg.StaticPartitionsDefinition(["00000-of-00001"]))
    def batch_outputs() -> None:
        raise dg.Failure("job ba-calls ended as Failed") from ValueError("the bucket is in another Region")

    with in_memory() as instance:
        result = dg.materialize(
            [batch_outputs], instance=instance, partition_key="00000-of-00001", raise_on_error=False
        )
        failure = next(event for event in result.all_events if event.is_run_failure)
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name, dagster_instance=instance, dagster_run=result.dagster_run, dagster_event=failure
        ).for_run_failure()
        sensor(context)
    (text,) = receiver.texts
    assert text.startswith(f"Run {result.run_id[:8]} of ")
    assert "[00000-of-00001] failed: " in text
    assert "the bucket is in another Region" in text


def spend(instance: dg.DagsterInstance, shard: str, cost_usd: float | None) -> None:
    """Log that a shard was answered, for a cost that may be unknown."""
    metadata = {"cost": NO_TOKENS} if cost_usd is None else {"cost": usd(cost_usd), "cost_usd": cost_usd}
    event = dg.AssetMaterialization(["calls", "batch_outputs"], partition=shard, metadata=metadata)
    instance.report_runless_asset_event(event)


def test_a_budget_is_told_once_a_threshold(tmp_path: Path, receiver: Receiver) -> None:
    """At 80 % and at 100 %, each once; a shard that is answered again counts once; a refused alert is sent again."""
    sensor, cursor = sensors(tmp_path, Alerts(receiver.url), budget_usd=10)["alert_budget"], ""
    with in_memory() as instance:

        def tick() -> list[str]:
            nonlocal cursor
            with dg.build_sensor_context(instance, cursor=cursor or None) as context:
                found = sensor.evaluate_tick(context)
            cursor = found.cursor or ""
            told = list(receiver.texts)
            receiver.texts.clear()
            return told

        spend(instance, "a", 7.9)
        assert tick() == []
        spend(instance, "a", 7.9)
        spend(instance, "b", 0.3)
        receiver.status = 500
        assert tick() == []
        receiver.status = 200
        assert tick() == ["calls has cost $8.20, 82% of its budget of $10.00"]
        assert tick() == []
        spend(instance, "c", 2.0)
        spend(instance, "d", None)
        text = "calls has cost $10.20, 102% of its budget of $10.00; what 1 partitions have cost is not known"
        assert tick() == [text]
        assert tick() == []


def test_the_address_is_kept_secret(receiver: Receiver) -> None:
    """It stands in no message."""
    receiver.status = 403
    with pytest.raises(AlertError, match="did not take an alert") as error:
        Alerts(receiver.url).send("hello")
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops the code location, and is not repeated in the message."""
    monkeypatch.setenv(URL, "file:///etc/passwd")
    with pytest.raises(ConfigError, match="is not an https:// address"):
        Alerts.from_environment()
