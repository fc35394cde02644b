"""CloudWatch's metrics of batch jobs reach Dagster where there are any, and disturb nothing where there are none."""

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from bedrock_assets.aws.cloudwatch import DIMENSION, METRICS, NAMESPACE, CloudWatch, names_of
from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.table_rounds import TableRounds
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.operations.doctor import run_checks
from bedrock_assets.operations.probes import CheckResult, Probe
from bedrock_assets.resources.environment import CLOUDWATCH, bedrock_resource
from tests.emulator.worlds import KEY, REGION, S3
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU

PROFILE = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{HAIKU}"


@pytest.fixture
def client(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty CloudWatch, and the settings by which it is found."""
    urllib.request.urlopen(f"{moto.url}/moto-api/reset", b"", timeout=10).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", moto.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    return boto3.client("cloudwatch", region_name=REGION)


def put(client: Any, model: str, age_s: float = 60, **values: float) -> None:
    """Tell CloudWatch what Bedrock would, by our names of the metrics."""
    common = {"Dimensions": [{"Name": DIMENSION, "Value": model}]}
    common["Timestamp"] = datetime.now(UTC) - timedelta(seconds=age_s)
    data = [{"MetricName": METRICS[name], "Value": value, **common} for name, value in values.items()]
    client.put_metric_data(Namespace=NAMESPACE, MetricData=data)


def test_the_latest_values(client: Any) -> None:
    """Of each metric that there is the latest value; others, other models' and old ones are left out."""
    put(client, HAIKU, 300, records_pending=900)
    put(client, HAIKU, 61, records_pending=40, input_tokens_per_min=1234.5)
    put(client, "amazon.nova-lite-v1:0", records_pending=7)
    put(client, HAIKU, 3600, output_tokens_per_min=3)
    reading = CloudWatch(client).read(HAIKU)
    assert reading
    assert reading.values == {"records_pending": 40, "input_tokens_per_min": 1234.5}
    assert reading.metadata == {
        "cloudwatch_records_pending": 40,
        "cloudwatch_input_tokens_per_min": 1234.5,
        "cloudwatch_model": HAIKU,
    }
    assert str(reading) == (f"all jobs on {HAIKU} in this account: 40 records pending, 1,234 input tokens per min")
    assert CloudWatch(client).read("meta.llama3-8b-instruct-v1:0") is None


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (HAIKU, [HAIKU]),
        (f"us.{HAIKU}", [f"us.{HAIKU}", HAIKU]),
        (PROFILE, [PROFILE, f"us.{HAIKU}", HAIKU]),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", None),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", None),
    ],
)
def test_the_names_of_a_model(client: Any, model: str, names: list[str] | None) -> None:
    """A profile's metrics are found by its ARN, its id or the model behind it; only that one is asked again."""
    assert names_of(model) == (names or [model, model.rpartition("/")[2]])
    for name in reversed(names_of(model)):
        put(client, name, records_pending=len(name))
        cloudwatch = CloudWatch(client)
        with queries(client) as n_asked:
            found = [cloudwatch.read(model), cloudwatch.read(model)]
        assert [reading and (reading.model, reading.values) for reading in found] == [
            (name, {"records_pending": len(name)})
        ] * 2
        assert n_asked == [4 * len(names_of(model)), 4]


@contextmanager
def queries(client: Any) -> Iterator[list[int]]:
    """How many metrics each call asks for."""
    found: list[int] = []

    def count(params: dict[str, Any], **_: Any) -> None:
        found.append(str(params["body"]).count("MetricStat"))

    client.meta.events.register("before-call.cloudwatch.GetMetricData", count, unique_id="count")
    yield found
    client.meta.events.unregister("before-call.cloudwatch.GetMetricData", unique_id="count")


@contextmanager
def asked(folder: Path, **settings: Any) -> Iterator[Lab]:
    """A lab whose prompts are made, and whose runs read CloudWatch."""
    with open_lab(folder, n_rows=20, on_disk=True) as lab:
        lab.settings = {"cloudwatch": True, "cloudwatch_interval_s": 0.3, **settings}
        lab.ingest()
        lab.format()
        yield lab


def launch(lab: Lab) -> str:
    """Run all shards as a person does, with the sensor beside it; what the run that waits has logged."""
    ended: list[dg.ExecuteInProcessResult] = []
    config = {"ops": {"calls__batch_outputs": {"config": {"poll_s": 0.2}}}}

    def run() -> None:
        job = lab.job("batch_outputs")
        ended.append(job.execute_in_process(config, lab.instance, raise_on_error=False, tags=lab.span))

    thread = threading.Thread(target=run)
    thread.start()
    lab.until(lambda: len(lab.states) == len(lab.shards))
    while thread.is_alive():
        lab.tick()
        thread.join(0.3)
    (result,) = ended
    assert result.success
    return "\n".join(entry.user_message for entry in lab.instance.all_logs(result.run_id))


def observed(lab: Lab) -> list[dg.AssetObservation]:
    """Observations of `batch_outputs` that are no news of a shard."""
    found = lab.instance.fetch_observations(dg.AssetKey(["calls", "batch_outputs"]), limit=1000).records
    told = [record.asset_observation for record in found if record.asset_observation]
    return [event for event in told if "state" not in event.metadata]


def answered(lab: Lab) -> list[dict[str, Any]]:
    """The metadata of each shard's answers."""
    found = lab.instance.fetch_materializations(dg.AssetKey(["calls", "batch_outputs"]), limit=1000).records
    told = [record.asset_materialization for record in found if record.asset_materialization]
    return [{name: value.value for name, value in event.metadata.items()} for event in told]


def test_they_reach_the_asset(tmp_path: Path, client: Any) -> None:
    """The run that waits observes them over time; each shard's materialization has them too; no shard is disturbed."""
    put(client, HAIKU, records_pending=40, input_tokens_per_min=1000, output_tokens_per_min=100)
    with asked(tmp_path) as lab:
        assert launch(lab)
        assert set(lab.states.values()) == {RequestState.ANSWERED}
        events = observed(lab)
        assert len(events) >= 2
        assert {event.partition for event in events} == {None}
        values = {name: value.value for name, value in events[0].metadata.items()}
        assert values == {
            "cloudwatch_records_pending": 40,
            "cloudwatch_input_tokens_per_min": 1000,
            "cloudwatch_output_tokens_per_min": 100,
            "cloudwatch_model": HAIKU,
        }
        assert [metadata["cloudwatch_records_pending"] for metadata in answered(lab)] == [40, 40]


def test_the_table_is_built_once(tmp_path: Path, client: Any) -> None:
    """Observations between the answers and after them are no update: the sensor asks for one table, and no more."""
    put(client, HAIKU, records_pending=40)
    with asked(tmp_path) as lab:
        rounds, requested = TableRounds(lab.pipeline.spec), 0
        for step in range(5):
            if step == 1:
                assert launch(lab)
            if step == 3:
                lab.instance.report_runless_asset_event(observed(lab)[0])
            if isinstance(rounds.next(lab.instance, UnderWay(lab.instance)), dg.RunRequest):
                requested += 1
                assert lab.materialize("joined_table")
        assert requested == 1


def test_off_unless_asked_for(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting nobody asks CloudWatch; a setting that is neither on nor off is told."""
    put(client, HAIKU, records_pending=40)
    with asked(tmp_path, cloudwatch=False) as lab:
        assert launch(lab)
        assert observed(lab) == []
        assert not any("cloudwatch_model" in metadata for metadata in answered(lab))
    monkeypatch.setenv("AWS_REGION", REGION)
    for value, is_on in {"": False, "true": True, "TRUE": True, "1": True, "0": False, "false": False}.items():
        monkeypatch.setenv(CLOUDWATCH, value)
        assert (bedrock_resource().open_cloudwatch() is not None) is is_on
    monkeypatch.setenv(CLOUDWATCH, "yes")
    with pytest.raises(ConfigError, match="BEDROCK_ASSETS_CLOUDWATCH is 'yes'; set it to true or false"):
        bedrock_resource()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere"])
def test_cloudwatch_that_is_away(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The work goes on as without it, and the run that waits says so once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
    with asked(tmp_path) as lab:
        assert launch(lab).count("no metrics from CloudWatch, the run goes on without them") == 1
        assert set(lab.states.values()) == {RequestState.ANSWERED}
        assert (observed(lab), len(answered(lab))) == ([], 2)


def test_what_is_not_there_is_told_once(tmp_path: Path, client: Any) -> None:
    """A model without metrics is no trouble."""
    with asked(tmp_path) as lab:
        assert launch(lab).count("CloudWatch has no metrics of") == 1


def test_doctor_looks_at_the_permission(tmp_path: Path, moto: S3) -> None:
    """Refused, it warns and tells the cure; else it tells what there is. What the policy allows is in test_iam.py."""
    with asking_who_calls(moto), open_lab(tmp_path, n_rows=10) as lab:
        at: dict[str, Any] = {"region_name": REGION, "aws_access_key_id": KEY, "aws_secret_access_key": KEY}
        cloudwatch = CloudWatch(boto3.client("cloudwatch", endpoint_url=moto.url, **at))
        quotas: Any = boto3.client("service-quotas", endpoint_url=lab.emulator.endpoint_url, **at)
        patient = Probe(lab.store, lab.bedrock, REGION, lambda _: quotas, on_aws=False, cloudwatch=cloudwatch)
        regions = lab.bedrock_resource.open(lab.store)

        def finding() -> CheckResult:
            found = run_checks({regions.home: patient}, regions, [lab.pipeline.spec], None)
            return next(one for one in found if one.check.startswith("CloudWatch"))

        for n_free, verdict, told in ((0, "warn", "(403)"), (1000, "ok", "no metrics of the last minutes")):
            require_permissions(moto, n_free)
            one = finding()
            assert (one.status, told in one.message) == (verdict, True), one
            assert ("iam --cloudwatch" in one.fix) is (verdict == "warn")
        put(cloudwatch.client, HAIKU, records_pending=40)
        assert "40 records pending" in finding().message
        patients = {regions.home: replace(patient, cloudwatch=None)}
        found = run_checks(patients, regions, [lab.pipeline.spec], None)
        assert not [one for one in found if one.check.startswith("CloudWatch")]


@contextmanager
def asking_who_calls(server: S3) -> Iterator[None]:
    """Begin with no metrics, and leave the server as it is for other tests."""
    urllib.request.urlopen(f"{server.url}/moto-api/reset", b"", timeout=10).close()
    try:
        yield
    finally:
        require_permissions(server, float("inf"))


def require_permissions(server: S3, n_free: float) -> None:
    """Let moto ask who is calling, after so many calls for which it does not."""
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{server.url}/moto-api/reset-auth", str(n_free).encode(), plain)
    urllib.request.urlopen(request, timeout=10).close()
