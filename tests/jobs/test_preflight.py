"""The pre-flight: one record on demand before the first job, over a real instance and the emulator's HTTP."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import PreflightFailed
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.preflight import MAX_AGE_S, Preflight, PreflightResult, PreflightState
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.resources.environment import bedrock_resource, resources
from bedrock_assets.resources.regions import RegionConfig
from tests.cli.test_commands import desk
from tests.labs.dispatch import ROLE, Lab, open_lab
from tests.labs.stages import HAIKU, TITAN

ON: dict[str, Any] = {"n_rows": 20, "preflight": True}
DEPRECATED = "`temperature` is deprecated for this model."
NOVA = "us.amazon.nova-lite-v1:0"
SCHEMA = {"topic": "string", "urgent": "boolean"}


def refusing(message: str = DEPRECATED, code: int | str = 400, **more: Any) -> Faults:
    """Every record is refused with a message."""
    return Faults(record_error_rate=1, record_error_code=code, record_error_message=message, **more)


def prepare(lab: Lab) -> None:
    """Make the prompts of all shards."""
    lab.ingest()
    lab.format()


def told(lab: Lab) -> list[dict[str, Any]]:
    """What pre-flights have recorded, oldest first."""
    key = dg.AssetKey(["calls", "batch_outputs"])
    records = lab.instance.fetch_observations(key, limit=100, ascending=True).records
    found = [record.asset_observation.metadata for record in records if record.asset_observation]
    return [{name: value.value for name, value in one.items()} for one in found if "preflight" in one]


def states_of_forms(lab: Lab) -> list[PreflightState]:
    """What is remembered."""
    return [PreflightState.model_validate_json(lab.store.get(file.key)) for file in lab.store.files("calls/preflight")]


def failure(lab: Lab) -> str:
    """The error of the last run that failed."""
    (run,) = lab.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    logs = lab.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    told = logs[0].get_dagster_event().step_failure_data.user_failure_data
    assert told
    assert told.metadata["kind"].value == "PreflightFailed", told.description
    return told.description or ""


def preflight_of(lab: Lab) -> Preflight:
    """The pre-flight of a launch by hand."""
    resource = lab.bedrock_resource
    return Preflight(lab.pipeline.workload, resource.open(lab.store), resource.open_runtime)


def request_of(lab: Lab) -> Request:
    """A request for the first shard."""
    manifest = json.loads(lab.store.get(f"calls/prompts/{lab.shards[0]}/manifest.json"))
    return Request("calls", lab.shards[0], manifest["fingerprint"], 1, manifest["prompts"], 10, "a-run")


def test_a_launch_is_refused_before_any_job(tmp_path: Path) -> None:
    """A parameter that the model refuses fails the launch with the model's words and the cure; nothing is requested."""
    task = {"text": {"prompt": "Summarise: {transcript}", "temperature": 0.5}}
    with open_lab(tmp_path, **ON, task=task, faults=refusing()) as lab:
        prepare(lab)
        assert not lab.materialize("batch_outputs", tags=lab.span)
        assert (lab.states, lab.jobs(), lab.n_invoked, states_of_forms(lab)) == ({}, [], 0, [])
        message = failure(lab)
        assert DEPRECATED in message
        assert "leave `temperature` out of the task" in message
        assert "preflight: false" in message
        lab.emulator.set_faults(Faults())
        assert lab.materialize("batch_outputs", tags=lab.span)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.n_invoked == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"model": NOVA},
        {"model": NOVA, "model_invocation_type": "Converse"},
        {"model": TITAN, "task": {"embedding": {"column": "transcript", "dimensions": 256}}},
        {"schema": SCHEMA},
    ],
    ids=["anthropic", "nova", "converse", "titan_embed_v2", "schema"],
)
def test_one_record_is_enough(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """One record for a backfill of several shards, with its cost; the same form again, or another prompt, asks none."""
    price = {"input_usd_per_mtok": 10, "output_usd_per_mtok": 20}
    with open_lab(tmp_path, **ON, price=price, **overrides) as lab:
        lab.ask()
        assert lab.n_invoked == 1
        (form,) = states_of_forms(lab)
        assert form.passed
        (metadata,) = told(lab)
        assert metadata["n_records"] == 1
        cost = (metadata["input_tokens"] * 10 + metadata["output_tokens"] * 20) / 1e6
        assert metadata["cost_usd"] == pytest.approx(cost)
        assert cost > 0
        assert "warnings" not in metadata
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        if "task" not in overrides:
            lab.change_prompt("In one word: {transcript}")
        lab.ask()
        assert (lab.n_invoked, len(told(lab))) == (1, 1)


def test_another_form_is_asked_again(tmp_path: Path) -> None:
    """Another parameter is another form of request, and so is a model in another Region."""
    with open_lab(tmp_path, **ON) as lab:
        lab.ask()
        changed = lab.pipeline.spec.model_dump()
        changed["task"]["text"]["temperature"] = 0.3
        lab.pipeline = type(lab.pipeline)(type(lab.pipeline.spec).model_validate(changed), lab.pipeline.folder)
        lab.ask()
        assert (lab.n_invoked, len(states_of_forms(lab))) == (2, 2)


def test_each_target_is_asked_where_it_is(tmp_path: Path) -> None:
    """Of two Regions each is asked; the one that refuses is named, though the other one answers."""
    (tmp_path / "s3" / "west-bucket").mkdir(parents=True)
    (tmp_path / "lab").mkdir()
    west = RegionConfig(region_name="us-west-2", role_arn=ROLE, store_url=str(tmp_path / "s3" / "west-bucket"))
    models = [HAIKU, {"model": f"us.{HAIKU}", "region": "us-west-2"}]
    faults = refusing("You don't have access to the model with the specified model ID.", 403, only_models=r"^us\.")
    with open_lab(tmp_path / "lab", **ON, model=models, regions=[west], faults=faults) as lab:
        prepare(lab)
        assert not lab.materialize("batch_outputs", tags=lab.span)
        assert f"us.{HAIKU}@us-west-2 gave no answer" in failure(lab)
        assert "request access to the model" in failure(lab)
        assert lab.n_invoked == 1
        lab.emulator.set_faults(Faults())
        assert lab.materialize("batch_outputs", tags=lab.span)
        assert lab.n_invoked == 2
        assert {form.target for form in states_of_forms(lab)} == {HAIKU, f"us.{HAIKU}@us-west-2"}


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(access_denied=True, only_operations=frozenset({"InvokeModel"})), "not authorized"),
        (
            refusing(f"Invocation of model ID {HAIKU} with on-demand throughput isn\u2019t supported."),
            "on-demand throughput",
        ),
        (Faults(throttle_rate=1, only_operations=frozenset({"InvokeModel"})), "Too many requests"),
        (Faults(server_error_rate=1, only_operations=frozenset({"InvokeModel"})), "Internal server error"),
        (Faults(model_error_rate=1), "ModelTimeoutException"),
    ],
    ids=["no permission", "only in batch", "throttled", "out of reach", "the model failed"],
)
def test_what_concerns_only_the_call_blocks_nothing(tmp_path: Path, faults: Faults, words: str) -> None:
    """Without an answer that tells, the launch goes on with a warning, and the next one asks again."""
    with open_lab(tmp_path, **ON, faults=faults) as lab:
        prepare(lab)
        assert lab.materialize("batch_outputs", tags=lab.span)
        (metadata,) = told(lab)
        assert "tells nothing" in metadata["preflight"]
        assert words in metadata["warnings"]
        assert states_of_forms(lab) == []
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.n_invoked == 0


def test_one_bad_record_is_not_all(tmp_path: Path) -> None:
    """A record that the model refuses for what it says is not the others: the next one is tried, and passes."""
    faults = Faults(record_error_rate=0.5, record_error_code=400, record_error_message="Input is too long.")
    with open_lab(tmp_path, **ON, faults=faults) as lab:
        prepare(lab)
        seeds = (faults.model_copy(update={"seed": seed}) for seed in range(100))
        chosen, before = next(each for each in seeds if _strikes_first_alone(lab, each)), lab.n_invoked
        lab.emulator.set_faults(chosen)
        assert lab.materialize("batch_outputs", tags=lab.span)
        (metadata,) = told(lab)
        assert "Input is too long." in metadata["warnings"]
        assert "passed" in metadata["preflight"]
        assert lab.n_invoked == before + 1


def _strikes_first_alone(lab: Lab, faults: Faults) -> bool:
    """Whether the first record is refused and that in the middle is not."""
    lab.emulator.set_faults(faults)
    runtime, lines = lab.bedrock_resource.open_runtime(), lab.store.get(request_of(lab).prompts).splitlines()
    first, middle = (runtime.answer(HAIKU, lines[i].decode(), "InvokeModel", final=False) for i in (0, 5))
    lab.emulator.set_faults(Faults())
    return '"error"' in first and "modelOutput" in middle


def test_an_answer_that_breaks_the_schema_is_told(tmp_path: Path) -> None:
    """What the model says is no reason to refuse: the launch goes on with a warning."""
    task = {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 512}}
    with open_lab(tmp_path, **ON, task=task, schema=SCHEMA, schema_mode="prompt") as lab:
        prepare(lab)
        assert lab.materialize("batch_outputs", tags=lab.span)
        assert "schema" in told(lab)[0]["warnings"]


def test_an_answer_that_never_ends_is_refused(tmp_path: Path) -> None:
    """Where `max_tokens` cuts the answer of every record that was tried, none of a job would be usable."""
    task = {"text": {"prompt": "Summarise: {transcript}", "max_tokens": 2}}
    with open_lab(tmp_path, **ON, task=task, schema=SCHEMA, schema_mode="prompt") as lab:
        prepare(lab)
        assert not lab.materialize("batch_outputs", tags=lab.span)
        assert "raise `max_tokens`" in failure(lab)
        assert "all of 3 records" in failure(lab)
        assert lab.jobs() == []


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """`preflight: false` asks nothing, and neither does a shard that is answered on demand anyway."""
    with open_lab(tmp_path, n_rows=20, preflight=False) as lab:
        lab.ask()
        assert (lab.n_invoked, told(lab)) == (0, [])
    (tmp_path / "small").mkdir()
    limits = {"min_records_per_job": 100, "max_jobs": 1}
    with open_lab(tmp_path / "small", **ON, limits=limits) as lab:
        lab.ask()
        assert (lab.n_invoked, told(lab)) == (0, [])


def test_a_code_location_asks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the resources that the environment describes, as a deployment has them, the launch is refused as well."""
    with desk(tmp_path, monkeypatch, **ON, faults=refusing()) as (lab, _):
        prepare(lab)
        result = dg.materialize(
            build_assets(lab.pipeline),
            selection=[dg.AssetKey(["calls", "batch_outputs"])],
            instance=lab.instance,
            resources=resources(),
            tags=lab.span,
            run_config={"ops": {"calls__batch_outputs": {"config": {"wait": False}}}},
            raise_on_error=False,
        )
        assert not result.success
        assert DEPRECATED in failure(lab)


def test_the_endpoints_of_two_services_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs at an emulator and a runtime at AWS are never compared: nothing is sent there, and the launch goes on."""
    with desk(tmp_path, monkeypatch, **ON) as (lab, _):
        prepare(lab)
        monkeypatch.delenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
        opened = bedrock_resource().open(lab.store)
        preflight = Preflight(lab.pipeline.workload, opened, bedrock_resource().open_runtime)
        (result,) = preflight.run([request_of(lab)])
        assert not result.passed
        assert result.warnings == ["the endpoints of Bedrock and of its runtime are not of one service"]


def test_launches_at_once_ask_once(tmp_path: Path) -> None:
    """Of four launches at the same time one asks, and the others wait until it has passed."""
    with open_lab(tmp_path, **ON, faults=Faults(latency_s=0.3)) as lab:
        prepare(lab)
        request, found = request_of(lab), list[list[PreflightResult]]()
        threads = [threading.Thread(target=lambda: found.append(preflight_of(lab).run([request]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(len, found)) == [0, 0, 0, 1]
        assert lab.n_invoked == 1


@pytest.mark.parametrize("holder", ["elsewhere/1/0", f"{socket.gethostname()}/999999999/0"])
def test_a_dead_launch_holds_nobody(tmp_path: Path, holder: str) -> None:
    """A claim of a killed launch is taken over: at once where the process is known to be gone, else in time."""
    with open_lab(tmp_path, **ON) as lab:
        prepare(lab)
        preflight = preflight_of(lab)
        preflight.run([request_of(lab)])
        (file,) = lab.store.files("calls/preflight")
        (form,) = states_of_forms(lab)
        old = 1000 if holder.startswith("elsewhere") else 0
        claim = {"passed": False, "holder": holder, "asked_at": form.asked_at - old}
        lab.store.write_model(file.key, form.model_copy(update=claim))
        (result,) = preflight.run([request_of(lab)])
        assert result.passed
        assert states_of_forms(lab)[0].passed


def test_what_passed_long_ago_is_asked_again(tmp_path: Path) -> None:
    """Models change: after its time a form of request is tried again."""
    with open_lab(tmp_path, **ON) as lab:
        prepare(lab)
        preflight = preflight_of(lab)
        preflight.run([request_of(lab)])
        (file,) = lab.store.files("calls/preflight")
        (form,) = states_of_forms(lab)
        assert preflight.run([request_of(lab)]) == []
        lab.store.write_model(file.key, form.model_copy(update={"asked_at": form.asked_at - MAX_AGE_S}))
        assert len(preflight.run([request_of(lab)])) == 1


def test_a_refusal_is_an_error_of_ours(tmp_path: Path) -> None:
    """Called without Dagster it raises, and forgets its claim."""
    with open_lab(tmp_path, **ON, faults=refusing("The provided model identifier is invalid.")) as lab:
        prepare(lab)
        with pytest.raises(PreflightFailed, match="inference profile"):
            preflight_of(lab).run([request_of(lab)])
        assert states_of_forms(lab) == []
