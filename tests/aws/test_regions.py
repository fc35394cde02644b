"""One pipeline, two Regions with a bucket each: shards go where a slot is free, and nothing is paid twice."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.emulator import Faults
from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.operations.clean import CleanTarget, delete_files, plan_clean
from bedrock_assets.resources.regions import RegionConfig, read_regions
from tests.labs.dispatch import Lab, open_lab

HAIKU, NEWER = "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"
WEST = "us-west-2"
ONE_SHARD = {"max_records_per_job": 10, "min_records_per_job": 5, "max_jobs": 1}


def opened(folder: Path, *models: Any, **settings: Any) -> Any:
    """A lab with a second Region; its own bucket stands beside the first."""
    (folder / "s3" / "bucket-west").mkdir(parents=True)
    region = RegionConfig(region_name=WEST, store_url=str(folder / "s3" / "bucket-west"))
    return open_lab(folder, regions=[region], model=list(models), **settings)


def at(region: str, **more: Any) -> dict[str, Any]:
    """The same model in another Region."""
    return {"model": HAIKU, "region": region, **more}


def regions(lab: Lab) -> Counter[str]:
    """Number of jobs by Region."""
    return Counter(job.arn.split(":")[3] for job in lab.jobs())


def test_shards_go_where_a_slot_is_free(tmp_path: Path) -> None:
    """Each Region takes what its own pool allows, and the table has every row, with nothing left elsewhere."""
    with opened(tmp_path, HAIKU, at(WEST, max_jobs=2), max_jobs=1) as lab:
        lab.ask()
        assert (tmp_path / "s3" / "bucket-west" / "calls" / "prompts").exists()
        notes = lab.tick().notes
        assert regions(lab) == {"us-east-1": 1, WEST: 2}
        assert len(lab.shards) == 6, "two waves of three slots"
        pool = f"bedrock_batch/{HAIKU.replace(':', '-')}"
        assert f"pool {pool}: 0 of 1 slots in use, 6 shards open" in notes
        assert f"pool {pool}/{WEST}: 0 of 2 slots in use, 6 shards open" in notes
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        table = pl.concat(
            pl.read_parquet(lab.store.path(f.key)) for f in lab.store.files("calls/table") if "part" in f.key
        )
        assert sorted(table["id"]) == sorted(f"c{i}" for i in range(40))
        assert set(table["status"]) == {"ok"}
        assert len(lab.jobs()) == 6
        assert not list((tmp_path / "s3" / "bucket-west").rglob("*.jsonl*"))


def test_two_models_of_one_region(tmp_path: Path) -> None:
    """A row tells which model answered, and what a shard cost is by that model's price."""
    with opened(tmp_path, HAIKU, NEWER, max_jobs=2) as lab:
        lab.ask()
        lab.tick()
        assert Counter(job.model for job in lab.jobs()) == {HAIKU: 2, NEWER: 2}
        lab.finish()
        events = lab.instance.fetch_materializations(lab.ledger.asset_key, limit=10).records
        facts = {r.partition_key: r.asset_materialization.metadata for r in events if r.asset_materialization}
        usd = {HAIKU: (1.1, 5.5), NEWER: (3.3, 16.5)}
        for shard in lab.shards:
            (model,) = set(lab.outputs(shard)["model_id"])
            n_input, n_output = (facts[shard][name].value for name in ("input_tokens", "output_tokens"))
            expected = (n_input * usd[model][0] + n_output * usd[model][1]) / 1e6 / 2
            assert facts[shard]["cost_usd"].value == pytest.approx(expected, rel=1e-5)
            assert facts[shard]["target"].value == model


def test_what_one_region_refuses_goes_to_another(tmp_path: Path) -> None:
    """
    Where the account's quota is below the pool's limit, the shards go on in the same tick; but not the one that was
    refused, as its job might exist after an answer that was lost before.
    """
    with opened(tmp_path, HAIKU, at(WEST), limits=ONE_SHARD | {"max_jobs": 4}, quota=1, n_rows=30, speed=None) as lab:
        lab.ask()
        lab.tick()
        assert regions(lab) == {"us-east-1": 1, WEST: 1}
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == len(lab.shards)


def test_a_lost_answer_is_looked_for_where_it_was_lost(tmp_path: Path) -> None:
    """A shard whose Create may have succeeded in one Region is never sent to another, though that has slots."""
    with opened(tmp_path, at(WEST), HAIKU, max_jobs=1, n_rows=3, faults=Faults(lost_response_rate=1)) as lab:
        lab.ask()
        lab.tick()
        assert (set(lab.states.values()), regions(lab)) == ({RequestState.ROUTED}, {WEST: 1})
        lab.emulator.set_faults(Faults())
        entry = lab.ledger.entries[lab.shards[0]]
        assert entry.request.where == f"{HAIKU}@{WEST}"
        assert lab.materialize("batch_outputs", lab.shards[0])  # asked for again
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 1


def test_an_outage_of_one_region_holds_up_only_its_own(tmp_path: Path) -> None:
    """Shards at work in a Region that cannot be asked are left alone; the others go on, and all end well."""
    with opened(tmp_path, HAIKU, at(WEST), max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        assert regions(lab) == {"us-east-1": 1, WEST: 1}
        lit = lab.regions[0]
        dark = lit.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
        lab.wait_for_jobs()
        lab.regions[0] = dark
        notes = lab.tick().notes
        assert any(note.startswith(f"{WEST} of account") and "is not reachable" in note for note in notes)
        assert any("is left alone for now" in note for note in notes)
        assert sorted(lab.states.values()) == [
            RequestState.ANSWERED,
            RequestState.REQUESTED,
            RequestState.SUBMITTED,
            RequestState.SUBMITTED,
        ]
        lab.regions[0] = lit
        assert regions(lab) == {"us-east-1": 2, WEST: 1}
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == 4


class Refusal(BaseHTTPRequestHandler):
    """Answers every call as AWS answers one that is not allowed."""

    def do_GET(self) -> None:
        """List and Get."""
        body = b'{"message": "You are not authorized to perform: bedrock:ListModelInvocationJobs"}'
        self.send_response(403)
        self.send_header("x-amzn-ErrorType", "AccessDeniedException")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay quiet."""


def test_a_region_without_permission_holds_up_only_its_own(tmp_path: Path) -> None:
    """Where a Region refuses to be asked, its shards are left alone, and the others go on."""
    server = HTTPServer(("127.0.0.1", 0), Refusal)
    Thread(target=server.serve_forever, daemon=True).start()
    with opened(tmp_path, HAIKU, at(WEST), max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lit = lab.regions[0]
        lab.regions[0] = lit.model_copy(update={"endpoint_url": f"http://127.0.0.1:{server.server_port}"})
        assert any("not authorized" in note for note in lab.tick().notes)
        lab.regions[0] = lit
        assert regions(lab) == {"us-east-1": 2, WEST: 1}
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
    server.shutdown()
    server.server_close()


def test_a_second_attempt_may_go_elsewhere(tmp_path: Path) -> None:
    """What one Region left unanswered is sent to the next that has a slot, and each row tells its model and job."""
    cut, profile = Faults(only_names=".*-1", partial_fraction=0.4), f"us.{HAIKU}"
    with opened(tmp_path, HAIKU, at(WEST, model=profile), n_rows=9, limits=ONE_SHARD, faults=cut) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        lab.instance.event_log_storage.set_concurrency_slots(lab.pipeline.spec.pools[0], 0)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        rows = lab.outputs(lab.shards[0]).sort("attempt")
        assert rows.select(pl.col("attempt", "model_id").unique(maintain_order=True)).rows() == [
            (1, HAIKU),
            (2, profile),
        ]
        assert rows["job_arn"].str.split(":").list.get(3).unique(maintain_order=True).to_list() == ["us-east-1", WEST]


def test_a_region_that_is_not_listed(tmp_path: Path) -> None:
    """A launch tells that the deployment lacks a Region before anything is asked for."""
    with opened(tmp_path, HAIKU, at("eu-west-1")) as lab:
        lab.ingest()
        lab.format(lab.shards[0])
        assert not lab.materialize("batch_outputs", lab.shards[0])
        assert not lab.states
        with pytest.raises(ConfigError, match=r"has no Region eu-west-1 .* BEDROCK_ASSETS_REGIONS"):
            lab.opened.used_by(lab.pipeline.spec.targets)


def test_a_place_that_is_named_no_longer(tmp_path: Path) -> None:
    """Shards at work there are left alone, and nothing is sent twice; named again, all end well."""
    with opened(tmp_path, at(WEST), HAIKU, max_jobs=1, n_rows=3) as lab:
        lab.ask()
        lab.tick()
        lab.wait_for_jobs()
        (region,) = lab.regions
        lab.regions.clear()
        notes = lab.tick().notes
        assert any("is left alone until its run is cancelled" in note for note in notes)
        assert set(lab.states.values()) == {RequestState.SUBMITTED}
        lab.regions.append(region)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert regions(lab) == {WEST: 1}


def test_clean_looks_everywhere(tmp_path: Path) -> None:
    """What a pipeline has left in another Region's bucket is found and deleted too."""
    with opened(tmp_path, HAIKU, at(WEST), max_jobs=1, speed=None) as lab:
        lab.ask()
        lab.tick()
        regions = lab.opened
        found = plan_clean(regions, CleanTarget("calls"))
        assert len(found.jobs) == 2
        assert len(found.other_files) == 4
        assert max(delete_files(lab.store, found)) == len(found.all_files)
        assert not plan_clean(regions, CleanTarget("calls")).all_files


def test_doctor_looks_at_each_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Region's bucket and quotas are looked at, and a place that is not named is told with its cure."""
    with opened(tmp_path, HAIKU) as lab:
        regions = [{"region_name": WEST, "store_url": str(tmp_path / "s3" / "bucket-west")}]
        (tmp_path / "regions.yaml").write_text(json.dumps(regions))
        spec = lab.pipeline.spec.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
        spec["model"] = [HAIKU, at(WEST, max_jobs=50), at("eu-west-1")]
        component = {"type": "bedrock_assets.BatchInference", "attributes": spec}
        (tmp_path / "defs.yaml").write_text(json.dumps(component))
        url = lab.emulator.endpoint_url
        file = tmp_path / "regions.yaml"
        settings = {"STORE": lab.store.root, "ROLE_ARN": lab.bedrock.role_arn, "REGIONS": str(file)}
        env = {f"BEDROCK_ASSETS_{name}": value for name, value in settings.items()}
        env |= {f"AWS_ENDPOINT_URL_{name}": url for name in ("BEDROCK", "SERVICE_QUOTAS")}
        env |= {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        ended = CliRunner().invoke(app, ["doctor", str(tmp_path / "defs.yaml"), "--json"])
    found = {finding["check"]: finding for finding in json.loads(ended.stdout)}
    assert found[f"store of {WEST} of account 123456789012"]["message"].startswith(str(tmp_path / "s3" / "bucket-west"))
    told = [finding for finding in json.loads(ended.stdout) if finding["check"] == "max_jobs of calls"]
    assert [finding["status"] for finding in told] == ["ok", "fail"]
    assert "has no Region eu-west-1" in found["model of calls"]["message"]
    assert ended.exit_code == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- {region_name: us-west-2, store: x}", "store"),
        ("region_name: us-west-2", "list"),
        ("- [", "expected"),
    ],
)
def test_a_wrong_file_of_regions(tmp_path: Path, content: str, told: str) -> None:
    """What is wrong is told with the name of the file."""
    path = tmp_path / "regions.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"(?s)BEDROCK_ASSETS_REGIONS={path}.*{told}"):
        read_regions(str(path))


def test_a_file_of_regions(tmp_path: Path) -> None:
    """The file is a list of places; without one there are none."""
    path = tmp_path / "regions.yaml"
    path.write_text(json.dumps([{"region_name": WEST, "store_url": "s3://calls-west/batch"}]))
    assert read_regions(str(path)) == [RegionConfig(region_name=WEST, store_url="s3://calls-west/batch")]
    assert read_regions(None) == []
