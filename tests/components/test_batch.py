"""YAML files become a code location: pipelines, chains of them, and what is wrong told by the file."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.scaffold.scaffold import get_scaffolder
from dagster.components.testing import create_defs_folder_sandbox
from typing_extensions import override

import bedrock_assets
from bedrock_assets.components.batch import BatchComponent, BatchInbox, BatchInference
from bedrock_assets.components.load import load_pipeline
from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.store import StoreResource
from tests.labs.instances import in_memory
from tests.labs.stages import HAIKU

ROOT = Path(bedrock_assets.__file__).parent.parent
TEXT = {"text": {"prompt": "Say {text}"}}
COMPARE = {"compare": {"a": "{text}", "b": "Nothing.", "criteria": "Says more."}}
CLASSIFY = {"classify": {"text": "{response}", "labels": ["good", "bad"]}}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file of rows."""
    pl.DataFrame({"text": ["a", "b"]}).write_parquet(tmp_path / "rows.parquet")
    return str(tmp_path / "rows.parquet")


@pytest.fixture
def load(path: str) -> Iterator[Any]:
    """Loads pipelines, each given as what differs from two rows and a prompt, and inboxes, which have a settle_s."""
    with create_defs_folder_sandbox() as sandbox:

        def definitions(**pipelines: dict[str, Any]) -> dg.Definitions:
            for name, settings in pipelines.items():
                is_inbox, plain = "settle_s" in settings, {"name": name, "model": HAIKU}
                component = BatchInbox if is_inbox else BatchInference
                attributes = (plain if is_inbox else {**plain, "source": {"path": path}, "task": TEXT}) | settings
                contents = {"type": f"bedrock_assets.{component.__name__}", "attributes": attributes}
                sandbox.scaffold_component(component_cls=component, defs_path=name, defs_yaml_contents=contents)
            with sandbox.build_all_defs() as defs:
                return defs

        yield definitions


def test_a_chain(load: Any) -> None:
    """The second pipeline's dataset depends on the first one's table, by plain asset keys."""
    settings = {"source": {"pipeline": "first"}, "output_prefix": "label_", "task": CLASSIFY}
    graph = load(first={}, second=settings).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["second", "raw_dataset"])).parent_keys == {dg.AssetKey(["first", "joined_table"])}


@pytest.mark.parametrize("source", ["second", "frist"])
def test_a_chain_to_nowhere(load: Any, source: str) -> None:
    """A source that is no other pipeline is told, with those that are there."""
    told = error_of(load, first={}, second={"source": {"pipeline": source}, "output_prefix": "x_"})
    assert f"second: source.pipeline {source!r} is not another pipeline" in told
    assert told.endswith("known: first, second")


def test_what_a_task_adds(load: Any) -> None:
    """A comparison has a table of preferences, which is built by itself; labels have a check of their shares."""
    graph = load(
        plain={}, pairs={"task": COMPARE}, labels={"task": {"classify": {"text": "{text}", "labels": ["x", "y"]}}}
    ).resolve_asset_graph()
    names = {key.path[0]: set[str]() for key in graph.get_all_asset_keys()}
    for key in graph.get_all_asset_keys():
        names[key.path[0]].add(key.path[1])
    assert names["pairs"] - names["plain"] == {"preferences"}
    assert graph.get(dg.AssetKey(["pairs", "preferences"])).automation_condition
    checks = {(key.asset_key.path[0], key.name) for key in graph.asset_check_keys}
    assert [name for name, check in checks if check == "label_shares"] == ["labels"]


def test_resources_come_along(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code location needs no resources of the user's; ours have keys of their own, and come from the environment."""
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", "s3://bucket/calls")
    own = load(first={}, drops={"settle_s": 60})
    assert set(own.resources) == {"bedrock_batch_store", "bedrock_batch", "bedrock_batch_events"}
    assert own.resources["bedrock_batch_store"].open().url == "s3://bucket/calls"
    others = dg.Definitions(resources={"store": "s3", "bedrock": "client", "events": "topic"})
    dg.Definitions.validate_loadable(dg.Definitions.merge(own, others))


class FixedStore(BatchInference):
    """A pipeline whose store is the code's."""

    @classmethod
    @override
    def resources(cls) -> dict[str, Any]:
        return {**super().resources(), "bedrock_batch_store": StoreResource(url="s3://other/prefix")}


class OtherStore(BatchInference):
    """Another one."""

    @classmethod
    @override
    def resources(cls) -> dict[str, Any]:
        return {**super().resources(), "bedrock_batch_store": StoreResource(url="s3://third/prefix")}


class PlainSubclass(BatchInference):
    """A pipeline of a class of its own, without resources of its own."""


@pytest.mark.parametrize("other", ["bedrock_assets.BatchInference", f"{__name__}.PlainSubclass"])
def test_resources_of_a_subclass(path: str, other: str) -> None:
    """One subclass with resources of its own decides for the code location, whatever the other pipelines are."""
    with two_components(path, other, f"{__name__}.FixedStore") as defs:
        assert defs.resources
        assert defs.resources["bedrock_batch_store"].url == "s3://other/prefix"
        dg.Definitions.validate_loadable(defs)


def test_resources_of_two_subclasses(path: str) -> None:
    """Two sets of resources are one too many."""
    with (
        pytest.raises(ComponentTreeException) as raised,
        two_components(path, f"{__name__}.OtherStore", f"{__name__}.FixedStore"),
    ):
        pass
    assert "FixedStore and OtherStore have resources() each" in str(raised.value.__cause__)


@contextmanager
def two_components(path: str, *types: str) -> Iterator[dg.Definitions]:
    """The definitions of two pipelines of these classes."""
    attributes = {"model": HAIKU, "source": {"path": path}, "task": TEXT}
    with create_defs_folder_sandbox() as sandbox:
        for name, component in zip("ab", types, strict=True):
            contents = {"type": component, "attributes": {"name": name, **attributes}}
            sandbox.scaffold_component(component_cls=BatchInference, defs_path=name, defs_yaml_contents=contents)
        with sandbox.build_all_defs() as defs:
            yield defs


def test_a_wrong_file_is_named(load: Any) -> None:
    """A model that nobody knows is told with the path of its YAML."""
    told = error_of(load, broken={"model": "nobody-knows"})
    assert "broken/defs.yaml: model: 'nobody-knows' is no model id" in told


def test_data_is_not_read_at_load(load: Any) -> None:
    """A prompt that names no column of the source is told when the source is read."""
    load(typo={"task": {"text": {"prompt": "{txt}"}}})


def test_a_broken_component_stands_alone(load: Any) -> None:
    """
    Files that are wrong, or do not fit: each has assets of the same keys and partitions, whose runs fail with its own
    error; all other pipelines load as ever, chains through a broken one included, and the dispatcher watches them.
    """
    defs = load(
        good={},
        copy={"name": "good"},
        typo={"modell": "x", "key_prefix": "marts"},
        after={"source": {"pipeline": "typo"}, "output_prefix": "x_"},
        lost={"source": {"pipeline": "nowhere"}},
        nameless={"name": "No Name"},
        lonely={"automation": True},
        mail={"settle_s": "soon"},
        post={"settle_s": 5},
        _one={"name": "twice"},
        _two={"name": "twice"},
    )
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    told = {key.to_user_string(): graph.get(key).description or "" for key in graph.get_all_asset_keys()}
    broken = {key: text for key, text in told.items() if "Cannot be loaded" in text}
    names = ("marts/typo", "lost", "lonely", "twice")
    steps = ("raw_dataset", "prompt_shards", "batch_outputs", "joined_table")
    expected = {f"{name}/{step}" for name in (*names, "copy", "nameless") for step in steps}
    expected |= {"mail/dropped_files", "mail/batch_outputs"}
    assert broken.keys() == expected
    assert "typo/defs.yaml: attributes: unknown key 'modell'; did you mean model?" in broken["marts/typo/raw_dataset"]
    assert all(f"/{name}/defs.yaml" in broken["twice/joined_table"] for name in ("_one", "_two"))
    outputs, typo = dg.AssetKey(["marts", "typo", "batch_outputs"]), dg.AssetKey(["marts", "typo", "joined_table"])
    assert graph.get(outputs).partitions_def == dg.DynamicPartitionsDefinition(name="typo_shards")
    assert graph.get(dg.AssetKey(["after", "raw_dataset"])).parent_keys == {typo}
    assert {"bedrock_jobs_sensor", "joined_table_sensor", "post_files_sensor"} == {s.name for s in defs.sensors}
    jobs = {job.name for sensor in defs.sensors if sensor.name == "bedrock_jobs_sensor" for job in sensor.jobs}
    assert jobs == {"good_collect", "after_collect", "post_collect"}
    with in_memory() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["marts", "typo", "raw_dataset"])], raise_on_error=False
        )
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "typo/defs.yaml: attributes: unknown key 'modell'" in failure.step_failure_data.user_failure_data.description


def test_all_errors_are_told_at_once(load: Any) -> None:
    """Where definitions are only validated, a broken file is an error, with those of all other files."""
    told = error_of(load, good={}, typo={"modell": "x"}, other={"pol": "x"})
    assert len(told.splitlines()) == 2
    assert "typo/defs.yaml: attributes: unknown key 'modell'" in told
    assert "other/defs.yaml: attributes: unknown key 'pol'; did you mean pool?" in told


def test_nothing_but_broken_components(load: Any) -> None:
    """A code location loads, with its resources for assets of others, and has no sensor."""
    defs = load(typo={"modell": "x"})
    dg.Definitions.validate_loadable(defs)
    assert not defs.sensors
    assert "bedrock_batch_store" in defs.resources


def test_dg_scaffolds_a_pipeline_that_loads(tmp_path: Path) -> None:
    """`dg scaffold defs` writes YAML and prompt of a pipeline that needs its source and nothing else."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bedrock_assets", tmp_path / "bedrock_assets", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [Path(sys.executable).parent / "dg", "scaffold", "defs", "bedrock_assets.BatchInference", "letters"]
    subprocess.run([*command, "--model", "amazon.nova-lite-v1:0"], cwd=tmp_path, check=True, capture_output=True)
    pipeline = load_pipeline(str(tmp_path / "bedrock_assets/defs/letters/defs.yaml"))
    assert (pipeline.spec.name, pipeline.spec.model) == ("letters", "amazon.nova-lite-v1:0")
    assert pipeline.records.prompt
    assert pipeline.records.prompt.text == "Summarise: {text}"


@pytest.mark.parametrize("file_format", ["yaml", "python"])
@pytest.mark.parametrize("component", [BatchInbox, BatchInference])
def test_a_scaffolded_component_loads(path: str, component: type[BatchComponent], file_format: Any) -> None:
    """Two of what `dg scaffold defs` writes load side by side, as YAML and as Python."""
    scaffolder = get_scaffolder(component)
    assert isinstance(scaffolder, dg.Scaffolder)
    kind = scaffolder.get_scaffold_params()
    params = kind(**({"source": path} if "source" in kind.model_fields else {}))
    with create_defs_folder_sandbox() as sandbox:
        for name in ("mail", "post"):
            folder = sandbox.defs_folder_path / name
            folder.mkdir(parents=True)
            type_name = f"bedrock_assets.{component.__name__}"
            scaffolder.scaffold(dg.ScaffoldRequest(type_name, folder, file_format, None, params))
        with sandbox.build_all_defs() as defs:
            dg.Definitions.validate_loadable(defs)
            groups = {key.path[0] for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert groups == {"mail", "post"}


def test_an_inbox(load: Any) -> None:
    """An inbox beside a pipeline: two assets, the second with a partition for each file; one dispatcher for both."""
    defs = load(calls={}, mail={"settle_s": 5})
    graph = defs.resolve_asset_graph()
    outputs = graph.get(dg.AssetKey(["mail", "batch_outputs"]))
    assert outputs.parent_keys == {dg.AssetKey(["mail", "dropped_files"])}
    assert isinstance(outputs.partitions_def, dg.DynamicPartitionsDefinition)
    assert {sensor.name for sensor in defs.sensors} == {
        "bedrock_jobs_sensor",
        "joined_table_sensor",
        "mail_files_sensor",
    }


def test_an_inbox_alone(load: Any) -> None:
    """A code location may have nothing but an inbox."""
    assert {sensor.name for sensor in load(mail={"settle_s": 5}).sensors} == {
        "bedrock_jobs_sensor",
        "mail_files_sensor",
    }


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"first": {"settle_s": 5}, "second": {"settle_s": 5}}, "give each inbox folders of its own"),
        ({"processed": {}, "second": {"settle_s": 5}}, "inbox second"),
        ({"mail": {"settle_s": 5, "model": "acme"}}, "mail/defs.yaml: model: 'acme' is no model id"),
        ({"mail": {"settle_s": 5, "processed_to": "to-process"}}, "must be three separate folders"),
    ],
)
def test_inboxes_that_cannot_be(load: Any, settings: dict[str, Any], told: str) -> None:
    """A setting of an inbox that cannot be is told with the cure."""
    assert told in error_of(load, **settings)


def error_of(load: Any, **pipelines: dict[str, Any]) -> str:
    """Our own message, which Dagster shows below its own when definitions are validated, as by `dg check defs`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
        with pytest.raises(ComponentTreeException) as error:
            load(**pipelines)
    cause: BaseException | None = error.value
    while cause and not isinstance(cause, ConfigError):
        cause = cause.__cause__
    return str(cause)


@pytest.mark.parametrize("schedule", ["61 3 * * *", "every night", {"cron": "0 3 * * *", "timezone": "Europe/Berln"}])
def test_a_schedule_that_is_none(load: Any, schedule: Any) -> None:
    """The error names the file, the key and what to write."""
    told = error_of(load, nightly={"schedule": schedule})
    assert "nightly/defs.yaml: nightly: schedule" in told
    assert "schedule: {cron: 0 3 * * *, timezone: Europe/Berlin}" in told
