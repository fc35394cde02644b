"""No code execution from data, no way out of the store, no secret in what is logged; each effect announced."""

import ast
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import bedrock_assets
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import BedrockAssetsError, PromptError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.templates import parse_template
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import open_lab
from tests.labs.stages import MakePipeline, Stages

PACKAGE = Path(bedrock_assets.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "marshal.loads",
}
EFFECTS = {
    *("obstore.put", "obstore.rename", "obstore.delete", "file.close", "_take_from_folder"),
    *("self.client.copy", "self.client.delete_object"),
    *("self.client.create_model_invocation_job", "self.client.stop_model_invocation_job", "self._call"),
    "self.client.delete_message_batch",
    *("self._client.create_index", "self._client.put_vectors", "self._client.delete_vectors"),
    *("database.commit", "merge.execute", "self._table.delete", "write_deltalake", "api.create_commit"),
    *("instance.add_dynamic_partitions", "instance.delete_dynamic_partition"),
    "emit",
}
"""Calls that change the world, as the package spells them; each must stand in a `with announced(...)`."""
ADAPTERS = (
    *("storage/", "aws/", "jobs/event_log.py", "jobs/partitions.py"),
    *("inbox/files.py", "sinks/"),
)
"""Where effects are announced: next to the world, and not in stages, assets or sensors."""
LOG_CALLS = ("log_event", "report_runless_asset_event")
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
ROWS = pl.DataFrame({"id": ["../../etc/passwd", "a/b", "c d", "{0.__class__}", "é" * 50], "text": ["x"] * 5})


def test_no_code_is_made_of_data(subtests: pytest.Subtests) -> None:
    """Nothing is evaluated, unpickled or loaded as YAML that may name Python objects; no shell is started."""
    for path in MODULES:
        with subtests.test(module=str(path.relative_to(PACKAGE))):
            for call in _calls(path):
                assert ast.unparse(call.func) not in FORBIDDEN
                assert not any(keyword.arg == "shell" for keyword in call.keywords)


@pytest.mark.parametrize("prompt", ["{text.__class__}", "{text[0]}", "{text!r}", "{text:>9999999999}", "{}"])
def test_templates_reach_no_attribute(prompt: str) -> None:
    """A placeholder is a column's name: attributes, items, conversions, formats and positions are refused."""
    with pytest.raises(PromptError):
        parse_template(prompt, "prompt")


def test_ids_stay_in_the_data(store: Store, make_pipeline: MakePipeline) -> None:
    """Ids that look like paths or templates are values: they name no file, and come out as they went in."""
    stages = Stages.of(make_pipeline(ROWS, id_column="id"), store)
    stages.answer_all()
    assert stages.collect().rows["record_id"].to_list() == ROWS["id"].to_list()
    root = Path(store.root)
    assert not list(root.parent.rglob("*passwd*"))
    assert {path.relative_to(root).parts[0] for path in root.rglob("*") if path.is_file()} == {"calls"}


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./../b", "", "a b", "a=b", "a\x00b"])
def test_keys_do_not_leave_the_store(store: Store, key: str) -> None:
    """A key with a path trick in it is refused by every call, before anything is touched."""
    for call in (store.get, store.exists, store.path, store.uri, store.files, lambda k: store.put(k, b"x")):
        with pytest.raises(BedrockAssetsError):
            call(key)


def test_secrets_are_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Credentials appear in no event, tag, run config, log, message, file of the store or name of a job."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    with open_lab(tmp_path, n_rows=10, max_jobs=1, faults=Faults(partial_fraction=0.9)) as lab:
        lab.secret = SECRET
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        told = [repr(lab.tick_only().notes)]
        for run in lab.instance.get_runs():
            told += [repr(run), *(repr(entry) for entry in lab.instance.all_logs(run.run_id))]
        told += [repr(lab.jobs()), repr(lab.pipeline), *capfd.readouterr()]
        assert not [text for text in told if SECRET in text]
    found = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert found == []


def test_every_effect_is_announced() -> None:
    """What changes the world does so between two announcements, so that the crash tests come to it."""
    found = set[str]()
    for path in (path for path in MODULES if PACKAGE / "emulator" not in path.parents):
        tree = ast.parse(path.read_text())
        covered = {id(inner) for block in ast.walk(tree) if _announces(block) for inner in ast.walk(block)}
        for call in _calls(path, tree):
            name = ast.unparse(call.func)
            if name in EFFECTS:
                found.add(name)
                assert id(call) in covered, f"{path.name}:{call.lineno}: {name} is not announced"
    assert found == EFFECTS


def test_only_adapters_announce() -> None:
    """Stages do not announce, nor write to the event log; the metrics of a model, which nothing depends on, may."""
    for path in (path for path in MODULES if PACKAGE / "emulator" not in path.parents):
        name = path.relative_to(PACKAGE).as_posix()
        for call in _calls(path):
            called = ast.unparse(call.func)
            assert called not in ("announce", "announced") or name == "audit.py" or name.startswith(ADAPTERS), name
            assert called.rpartition(".")[2] not in LOG_CALLS or name == "assets/cloudwatch.py", name


def _calls(path: Path, tree: ast.AST | None = None) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree or ast.parse(path.read_text())) if isinstance(node, ast.Call))


def _announces(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any("announced(" in ast.unparse(item) for item in node.items)
