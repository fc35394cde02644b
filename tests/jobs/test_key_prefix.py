"""A pipeline whose keys have a prefix works from end to end, with every reader of the event log."""

from pathlib import Path

import dagster as dg

from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.components.build import build_batch_inference
from bedrock_assets.jobs.ledger import Ledger, RequestState
from bedrock_assets.metrics.dagster_counts import PipelineLog
from bedrock_assets.operations.status import shard_progress
from bedrock_assets.operations.stop import open_requests, stop_requests
from bedrock_assets.sensors.alerts import Spending
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU

PREFIX = {"key_prefix": "marts/support-team"}


def open_requested(lab: Lab) -> None:
    """Ask for all shards, with a ledger that knows the prefix."""
    lab.ledger = Ledger.of(lab.pipeline.spec)
    lab.ask_in_runs()


def test_a_prefix_from_end_to_end(tmp_path: Path) -> None:
    """Jobs are sent, answers collected, the table built, and status, metrics and costs read by the prefixed keys."""
    with open_lab(tmp_path, n_rows=10, **PREFIX) as lab:
        spec = lab.pipeline.spec
        open_requested(lab)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        keys = {key.to_user_string() for key in lab.instance.all_asset_keys()}
        assert {key.rpartition("/")[0] for key in keys} == {"marts/support-team/calls"}
        assert lab.store.exists("calls/table/manifest.json"), "the store keeps the plain name"
        shards, troubles = shard_progress(lab.instance, lab.pipeline.spec, lab.store, None)
        assert ({shard.state for shard in shards}, troubles) == ({"answered"}, [])
        state = PipelineLog(spec.name, spec.key_prefix).read(lab.instance)
        assert (state.shards["answered"], state.answers["n_ok"]) == (len(lab.shards), 10)
        assert Spending(dg.AssetKey(spec.key_of("batch_outputs"))).refresh(lab.instance) > 0


def test_a_request_is_stopped_by_name(tmp_path: Path) -> None:
    """Who knows only the name finds the requests, as the prefix is in the log."""
    with open_lab(tmp_path, n_rows=10, **PREFIX) as lab:
        open_requested(lab)
        ledger, entries = open_requests(lab.instance, "calls")
        assert len(entries) == len(lab.shards)
        stop_requests(lab.instance, ledger, entries, lab.opened)
        assert set(lab.states.values()) == {RequestState.WITHDRAWN}


def test_new_prompts_make_requests_stale(tmp_path: Path) -> None:
    """Prompts and dataset are found under the prefix: a request for other prompts is not sent."""
    with open_lab(tmp_path, n_rows=10, **PREFIX) as lab:
        open_requested(lab)
        lab.ledger.refresh(lab.instance)
        assert lab.ledger.staleness.dataset is not None
        assert set(lab.ledger.staleness.prompts) == set(lab.shards)


def test_a_chain_over_a_prefix(tmp_path: Path) -> None:
    """A pipeline that reads a table with a prefix depends on it by its key; so do checks and jobs."""
    (tmp_path / "rows.csv").write_text("text\na\nb\n")
    first = {"name": "first", "source": {"path": str(tmp_path / "rows.csv")}, "model": HAIKU, **PREFIX}
    second = {"name": "second", "source": {"pipeline": "first"}, "model": HAIKU, "output_prefix": "x_"}
    task = {"task": {"text": {"prompt": "Say {text}"}}}
    defs = build_batch_inference(first | task, second | task)
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    table = dg.AssetKey(["marts", "support-team", "first", "joined_table"])
    assert graph.get(dg.AssetKey(["second", "raw_dataset"])).parent_keys == {table}
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {"marts", "second"}
    checks = {key.asset_key.to_user_string() for key in graph.asset_check_keys}
    assert "marts/support-team/first/batch_outputs" in checks
    (job,) = [job for job in defs.resolve_all_job_defs() if job.name == "first_collect"]
    assert job.asset_layer.executable_asset_keys == {dg.AssetKey(["marts", "support-team", "first", "batch_outputs"])}


def test_op_names(tmp_path: Path) -> None:
    """The names of ops, which run configurations have, are those that Dagster makes of the keys."""
    with open_lab(tmp_path, n_rows=10, **PREFIX) as lab:
        for assets in build_assets(lab.pipeline):
            assert assets.op.name == lab.pipeline.spec.op_of(assets.key.path[-1])
