"""Jinja in a defs.yaml: the code location and the commands read the same values; prompts stay as they are written."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import jsonschema
import polars as pl
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException

from bedrock_assets import BatchInference
from bedrock_assets.components.batch import BatchComponent
from bedrock_assets.components.broken import Broken
from bedrock_assets.components.load import load_pipeline, specs_of
from bedrock_assets.config import PipelineSpec
from bedrock_assets.config.templating import AS_WRITTEN, attributes_of, resolve
from bedrock_assets.errors import ConfigError
from tests.labs.stages import HAIKU

OTHERS = {"prompt_id", "special_tokens"}
"""Keys that have to do with templates, and are none."""
JSON_PROMPT = 'Answer as {{"a": 1}} and {{b}}: {text}'
PLAIN: dict[str, Any] = {"name": "calls", "source": {"path": "rows.csv"}, "model": HAIKU}
PLAIN["task"] = {"text": {"prompt": JSON_PROMPT}}
VARIABLES = """\
import dagster as dg


@dg.template_var
def team() -> str:
    return "support"


@dg.template_var
def labels(context: dg.ComponentLoadContext) -> list[str]:
    return [context.path.name, "other"]


@dg.template_var
def table():
    return lambda name: f"rows_{name}.csv"
"""
OWN_CLASS = """\
import dagster as dg
from bedrock_assets import BatchInference


class Reviews(BatchInference):
    shop: str
    n_days: int = 1

    @staticmethod
    @dg.template_var
    def house_model() -> str:
        return "amazon.nova-lite-v1:0"

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.merge_attributes(tags={"shop": self.shop, "days": str(self.n_days)})
"""


class Shop:
    """A Dagster project in a folder, with its own module."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.module = folder, f"shop_{os.urandom(4).hex()}"
        settings = f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{self.module}"\n'
        (folder / "pyproject.toml").write_text(settings)
        self.defs = folder / self.module / "defs"
        self.defs.mkdir(parents=True)
        for package in (self.defs.parent, self.defs):
            (package / "__init__.py").touch()
        for name in ("rows.csv", "rows_calls.csv"):
            pl.DataFrame({"text": ["a", "b"]}).write_csv(folder / name)

    def add(self, name: str, attributes: dict[str, Any], **more: Any) -> Path:
        """Write a component's defs.yaml."""
        path = self.defs / name / "defs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"type": "bedrock_assets.BatchInference", "attributes": {**PLAIN, **attributes}, **more}
        path.write_text(yaml.safe_dump(document))
        return path

    def component(self, name: str) -> BatchComponent:
        """What Dagster makes of it."""
        return dg.ComponentTree.for_project(self.folder).load_component(name, BatchComponent)

    def errors(self, name: str) -> tuple[str, str]:
        """What Dagster and the commands say of a file that is wrong."""
        member = self.component(name).member
        assert isinstance(member, Broken)
        with pytest.raises(ConfigError) as told:
            load_pipeline(name)
        return str(member.error), str(told.value)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project, in which commands are run."""
    shop = Shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return shop


def test_values_from_the_environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, numbers and tags are read from variables; an id of digits stays a text, a prompt stays as it is."""
    for name, value in {"MODEL": HAIKU, "N_JOBS": "7", "TEAM": "007", "ROWS": "rows", "DAYS": "0"}.items():
        monkeypatch.setenv(name, value)
    shop.add(
        "calls",
        {
            "model": [{"model": "{{ env.MODEL }}", "account": "123456789012"}],
            "description": "Calls of {{ env.TEAM }}, {{ env('NOT_SET', 'never') }}",
            "source": {"path": "{{ env.ROWS }}.csv"},
            "limits": {"max_jobs": "{{ env.N_JOBS }}", "max_records_per_job": "{{ 40 * 1000 }}"},
            "tags": {"team": "{{ env.TEAM }}"},
            "reuse_answers_days": "{{ env.DAYS }}",
            "owners": ["{{ env.NOT_SET or 'team:support' }}"],
        },
    )
    spec = shop.component("calls").spec
    assert isinstance(spec, PipelineSpec)
    assert (spec.model, spec.targets[0].account, spec.source.path) == (HAIKU, "123456789012", "rows.csv")
    assert (spec.limits.max_jobs, spec.limits.max_records_per_job, spec.reuse_answers_days) == (7, 40_000, 0)
    assert (spec.description, spec.tags, spec.owners) == ("Calls of 007, never", {"team": "007"}, ("team:support",))
    assert spec.task.text
    assert spec.task.text.prompt == JSON_PROMPT
    assert load_pipeline("calls").spec == spec


def test_template_variables(shop: Shop) -> None:
    """Variables of a module beside the file, of any type, are the same for Dagster and for the commands."""
    task = {"classify": {"text": JSON_PROMPT, "labels": "{{ labels }}"}}
    shop.add(
        "calls",
        {"task": task, "source": {"path": "{{ table('calls') }}"}, "tags": {"team": "{{ team }}"}},
        template_vars_module=".variables",
        requirements={"env": []},
        post_processing={"assets": [{"target": "*", "attributes": {"tags": {"tier": "{{ team }}"}}}]},
    )
    (shop.defs / "calls" / "variables.py").write_text(VARIABLES)
    spec = shop.component("calls").spec
    assert isinstance(spec, PipelineSpec)
    assert spec.task.classify
    assert (list(spec.task.classify.labels), spec.task.classify.text) == (["calls", "other"], JSON_PROMPT)
    assert (spec.source.path, spec.tags) == ("rows_calls.csv", {"team": "support"})
    assert load_pipeline("calls").spec == spec
    graph = dg.ComponentTree.for_project(shop.folder).build_defs().resolve_asset_graph()
    assert {graph.get(key).tags["tier"] for key in graph.get_all_asset_keys()} == {"support"}


def test_a_class_of_the_project(shop: Shop) -> None:
    """A subclass has keys, template variables and asset specs of its own; commands find its pipelines."""
    (shop.defs.parent / "parts.py").write_text(OWN_CLASS)
    path = shop.add("calls", {"model": "{{ house_model }}", "shop": "north", "n_days": "{{ 2 + 1 }}"})
    path.write_text(path.read_text().replace("bedrock_assets.BatchInference", f"{shop.module}.parts.Reviews"))
    assert shop.component("calls").spec.model == "amazon.nova-lite-v1:0"
    assert [spec.model for spec in specs_of(None)] == ["amazon.nova-lite-v1:0"]
    graph = dg.ComponentTree.for_project(shop.folder).build_defs().resolve_asset_graph()
    specs = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert len(specs) == 4
    assert all((spec.tags["shop"], spec.tags["days"]) == ("north", "3") for spec in specs)
    schema = type(shop.component("calls")).model().model_json_schema()
    assert {"shop", "n_days", "name", "source"} <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"model": "{{ env.NO_MODEL }}"}, "attributes.model: environment variable NO_MODEL is not set; set it"),
        ({"source": {"path": "{{ env('NO_ROWS') }}/x.csv"}}, "attributes.source.path: environment variable NO_ROWS"),
        ({"limits": {"max_jobs": "{{ n_jobs }}"}}, "attributes.limits.max_jobs: template variable 'n_jobs' is undef"),
        ({"description": "{{ 1 + }}"}, "attributes.description: '{{ 1 + }}' is not a Jinja expression"),
        ({"limits": {"max_jobs": "{{ 'many' }}"}}, "attributes.limits.max_jobs: Input should be a valid integer"),
        ({"task": {"text": {"prompt": "{{ env.HOW }} {text}"}}}, "attributes.task.text.prompt: {{ env.HOW }} is not"),
        ({"modell": "x"}, "attributes: unknown key 'modell'; did you mean model?"),
    ],
)
def test_what_cannot_be_rendered(shop: Shop, attributes: dict[str, Any], told: str) -> None:
    """An unset or unknown variable, and a value of the wrong type: file, key and cure, in Dagster and in commands."""
    path = shop.add("calls", attributes)
    for message in shop.errors("calls"):
        assert message.startswith(f"{path}: {told}")


def test_template_variables_outside_a_project(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file by its path may use the environment; other variables need the project."""
    text = shop.add("calls", {"description": "{{ env.NOT_SET or env.HOME }}"}).read_text()
    path = tmp_path_factory.mktemp("elsewhere") / "defs.yaml"
    path.write_text(text)
    assert load_pipeline(str(path)).spec.description == os.environ["HOME"]
    path.write_text(text.replace("env.NOT_SET or env.HOME", "team"))
    with pytest.raises(ConfigError, match="other than `env` are those of a Dagster project"):
        load_pipeline(str(path))


def test_two_of_one_name(shop: Shop) -> None:
    """Of two components of one name none is loaded, and both files are told; one whose folder has the name stays."""
    first, second = shop.add("a", {}), shop.add("b/c", {})
    graph = dg.ComponentTree.for_project(shop.folder).build_defs().resolve_asset_graph()
    descriptions = [graph.get(key).description or "" for key in graph.get_all_asset_keys()]
    assert len(descriptions) == 4
    told = f"{first} and {second} both have the name 'calls', which is their folder in the store; rename one"
    assert all(told in description for description in descriptions)
    shop.add("calls", {})
    graph = dg.ComponentTree.for_project(shop.folder).build_defs().resolve_asset_graph()
    broken = {key.to_user_string() for key in graph.get_all_asset_keys() if "broken" in graph.get(key).kinds}
    assert broken == {"a_cannot_be_loaded", "c_cannot_be_loaded"}


def test_texts_of_prompts_are_as_written() -> None:
    """Each field that is a template over the columns is never rendered, wherever it stands."""
    texts = {"prompt": JSON_PROMPT, "system": JSON_PROMPT, "fill": {"text": JSON_PROMPT}}
    judge = {"text": JSON_PROMPT, "criteria": JSON_PROMPT}
    more = {"text": JSON_PROMPT, "instructions": "{{"}
    tasks = {
        "text": texts,
        "judge": judge,
        "compare": judge | {"a": "{{", "b": "{%"},
        "classify": more,
        "extract": more,
    }
    attributes = {"source": {"group_by": {"each": JSON_PROMPT}}, "task": tasks}
    assert resolve(PipelineSpec, attributes, {}) == attributes


def test_every_template_is_marked() -> None:
    """A field whose description calls it a template is one that is not rendered."""
    seen = set[str]()

    def look(model: Any) -> None:
        for name, field in model.model_fields.items():
            parts = str([field.annotation, field.metadata])
            if "template" in (field.description or "").lower() and name not in OTHERS:
                assert AS_WRITTEN in parts, f"{model.__name__}.{name}"
                seen.add(name)
            for inner in _models(field.annotation):
                look(inner)

    look(PipelineSpec)
    assert {"prompt", "system", "fill", "text", "criteria", "each", "instructions", "a", "b"} <= seen


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def test_the_schema_allows_expressions() -> None:
    """Editors and `dg check yaml` accept an expression where a number or a mapping stands, and no other text."""
    schema = attributes_of(PipelineSpec).model_json_schema()
    json.dumps(schema, allow_nan=True)
    jsonschema.validate(PLAIN | {"limits": {"max_jobs": "{{ env.N }}"}, "canary": "{{ canary }}"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(PLAIN | {"limits": {"max_jobs": "many"}}, schema)


def test_only_what_must_be_is_read_while_definitions_are_built(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are wrong do not keep a code location from loading; whoever opens the resource is told."""
    for name, value in {"TAGS": "x", "CLOUDWATCH": "maybe", "KMS_KEY_ARN": "key", "REGIONS": "/no/file"}.items():
        monkeypatch.setenv(f"BEDROCK_ASSETS_{name}", value)
    shop.add("calls", {})
    defs = dg.ComponentTree.for_project(shop.folder).build_defs()
    dg.Definitions.validate_loadable(defs)
    with pytest.raises(ConfigError, match="BEDROCK_ASSETS_KMS_KEY_ARN"):
        defs.resources["bedrock_batch_store"].open()
    monkeypatch.delenv("BEDROCK_ASSETS_KMS_KEY_ARN")
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", str(shop.folder / "store"))
    store = defs.resources["bedrock_batch_store"].open()
    assert store.url == str(shop.folder / "store")
    with pytest.raises(ConfigError, match="BEDROCK_ASSETS_REGIONS"):
        defs.resources["bedrock_batch"].open(store)
    monkeypatch.setenv("BEDROCK_ASSETS_SENSOR_INTERVAL_S", "often")
    with pytest.raises(ComponentTreeException) as raised:
        dg.ComponentTree.for_project(shop.folder).build_defs()
    assert "BEDROCK_ASSETS_SENSOR_INTERVAL_S is 'often'; set it to whole seconds" in str(raised.value.__cause__)


def test_python_components(shop: Shop) -> None:
    """A component made in Python shares the sensors of the location with those in YAML."""
    shop.add("mails", {"name": "mails"})
    (shop.defs / "calls.py").write_text(
        f"""\
from pathlib import Path
import dagster as dg
from bedrock_assets import BatchInference


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> BatchInference:
    return BatchInference(spec={PLAIN!r}, file=Path(__file__))
"""
    )
    defs = dg.ComponentTree.for_project(shop.folder).build_defs()
    names = [sensor.name for sensor in defs.sensors or ()]
    assert sorted(names) == ["bedrock_jobs_sensor", "joined_table_sensor"]
    groups = {key.path[0] for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert groups == {"calls", "mails"}
    assert isinstance(BatchInference(spec=PipelineSpec.model_validate(PLAIN)).pipeline.spec, PipelineSpec)


def test_the_env_file_of_the_project(shop: Shop) -> None:
    """Commands read the project's `.env`, as Dagster does, and its values go before those of the process."""
    shop.add("calls", {"source": {"path": "../../../rows.csv"}, "model": "{{ env.THE_MODEL }}"})
    (shop.folder / ".env").write_text(f"THE_MODEL={HAIKU}\n")
    command = [str(Path(sys.executable).parent / "bedrock-assets"), "plan", "calls"]
    env = {**os.environ, "THE_MODEL": "amazon.nova-lite-v1:0"}
    done = subprocess.run(command, cwd=shop.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert HAIKU in done.stdout
