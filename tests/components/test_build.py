"""Pipelines and inboxes from Python: definitions that run, and what is wrong with them told by name."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets import ConfigError, InboxSpec, StoreResource, build_batch_inference
from tests.labs.instances import in_memory
from tests.labs.stages import HAIKU

INBOX = InboxSpec.model_validate({"name": "mail", "model": HAIKU})


@pytest.fixture
def calls(tmp_path: Path) -> dict[str, Any]:
    """A pipeline over two rows."""
    (tmp_path / "rows.csv").write_text("text\na\nb\n")
    source = {"path": str(tmp_path / "rows.csv")}
    return {"name": "calls", "source": source, "model": HAIKU, "task": {"text": {"prompt": "Say {text}"}}}


def test_it_runs(calls: dict[str, Any], tmp_path: Path) -> None:
    """The dataset of a pipeline without YAML is ingested into the store that was given, and its shards registered."""
    store = StoreResource(url=str(tmp_path / "store"))
    defs = build_batch_inference(calls, INBOX, resources={"bedrock_batch_store": store})
    job = defs.resolve_implicit_global_asset_job_def()
    with in_memory() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["calls", "raw_dataset"])])
        assert result.success
        assert len(instance.get_dynamic_partitions("calls_shards")) == 1
    assert store.open().exists("calls/raw/manifest.json")


def test_runs_of_the_sensors_are_one_process(calls: dict[str, Any]) -> None:
    """Whatever the executor of the project is: a process for each step would import everything again."""
    project = dg.Definitions(executor=dg.multiprocess_executor)
    defs = dg.Definitions.merge(build_batch_inference(calls, INBOX), project)
    executors = {name: defs.resolve_job_def(name).executor_def.name for name in ("calls_collect", "mail_take")}
    assert executors == dict.fromkeys(executors, "in_process")
    assert defs.resolve_implicit_global_asset_job_def().executor_def.name == "multiprocess"


def test_prompts_in_a_folder(calls: dict[str, Any], tmp_path: Path) -> None:
    """Prompt files are looked for in the folder that is given."""
    (tmp_path / "mine.txt").write_text("Mine: {text}")
    calls["task"] = {"text": {"prompt_id": "mine"}}
    assert build_batch_inference(calls, folder=tmp_path).assets
    with pytest.raises(ConfigError, match="calls: prompt_id 'mine' has no file"):
        build_batch_inference(calls, folder=tmp_path / "nowhere")


def test_further_deps(calls: dict[str, Any]) -> None:
    """A hook may add upstream assets."""

    def get_asset_spec(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key.path[-1] != "raw_dataset":
            return spec
        return spec.replace_attributes(deps=[*spec.deps, dg.AssetDep("export")])

    graph = build_batch_inference(calls, get_asset_spec=get_asset_spec).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["calls", "raw_dataset"])).parent_keys == {dg.AssetKey("export")}


def test_a_hook_that_changes_keys(calls: dict[str, Any]) -> None:
    """A key or partitions that a hook changes are refused, as the state would not be found."""
    for change in ({"key": dg.AssetKey("other")}, {"partitions_def": None}):

        def get_asset_spec(spec: dg.AssetSpec, change: dict[str, Any] = change) -> dg.AssetSpec:
            return spec.replace_attributes(**change)

        with pytest.raises(ConfigError, match="calls: get_asset_spec changes the key or the partitions"):
            build_batch_inference(calls, get_asset_spec=get_asset_spec)


def test_what_cannot_be(calls: dict[str, Any]) -> None:
    """No spec, a wrong one, two of one name, a chain to nowhere: each error names the pipeline and the key."""
    with pytest.raises(ConfigError, match="no spec is given"):
        build_batch_inference()
    with pytest.raises(ConfigError, match=r"pipeline 'calls': unknown key 'modell'; did you mean model\?"):
        build_batch_inference({**calls, "modell": "x"})
    with pytest.raises(ConfigError, match=r"pipeline 'calls': group_name: 'a b' cannot be; write letters"):
        build_batch_inference({**calls, "group_name": "a b"})
    with pytest.raises(ConfigError, match=r"pipeline 'calls': owners: 'me' is neither an email address nor"):
        build_batch_inference({**calls, "owners": ["me"]})
    with pytest.raises(ConfigError, match=r"pipeline 'calls': asset_tags: 'a b': 'c' is no tag of Dagster"):
        build_batch_inference({**calls, "asset_tags": {"a b": "c"}})
    with pytest.raises(ConfigError, match=r"a pipeline without a name: name: Field required"):
        build_batch_inference({key: value for key, value in calls.items() if key != "name"})
    with pytest.raises(ConfigError, match="spec 1 and spec 3 both have the name 'calls'"):
        build_batch_inference(calls, INBOX, calls)
    with pytest.raises(ConfigError, match=r"spec 1: calls: source.pipeline 'other' is not another pipeline"):
        build_batch_inference({**calls, "source": {"pipeline": "other"}})
    with pytest.raises(ConfigError, match=r"mail.*give each inbox folders of its own|inbox mail2"):
        build_batch_inference(INBOX, INBOX.model_copy(update={"name": "mail2"}))


def test_several_pipelines_run_by_themselves(calls: dict[str, Any]) -> None:
    """Each has a schedule and a sensor of its own, a chained one follows, and the location loads."""
    first, second = ({**calls, "name": name, "schedule": "0 3 * * *"} for name in "ab")
    chained = {**calls, "name": "c", "source": {"pipeline": "a"}, "automation": True, "output_prefix": "c_"}
    defs = build_batch_inference(first, second, chained)
    dg.Definitions.validate_loadable(defs)
    names = {sensor.name for sensor in defs.sensors or ()}
    assert {"a_rounds_sensor", "b_rounds_sensor", "c_rounds_sensor"} <= names
    assert {schedule.name for schedule in defs.schedules or ()} == {"a_schedule", "b_schedule"}


def test_what_is_no_spec_or_resource_is_told(calls: dict[str, Any]) -> None:
    """A list of specs, and a misspelt resource, which would leave the environment's in its place."""
    with pytest.raises(ConfigError, match="a spec is a mapping, a PipelineSpec or an InboxSpec, and not a list"):
        build_batch_inference([calls])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="resources: 'bedrock_store' is none of ours"):
        build_batch_inference(calls, resources={"bedrock_store": "s3://x"})
