"""Ready tasks and chains as Dagster runs them, on the emulator: assets, their metadata, and their checks."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from bedrock_assets.assets.checks import build_checks
from bedrock_assets.assets.pipeline import build_assets
from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.records import LINE
from tests.labs.dispatch import Lab, open_lab, pipeline_of


def answered(lab: Lab) -> None:
    """All shards, and the table."""
    lab.ask_in_runs()
    assert set(lab.finish().values()) == {RequestState.ANSWERED}
    assert lab.materialize("joined_table")


def facts(lab: Lab, asset: str) -> dict[str, Any]:
    """Metadata of an asset's last materialization."""
    event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", asset]))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_comparison(tmp_path: Path) -> None:
    """Each row is asked about twice, and has one row in `preferences`, whose counts add up."""
    task = {"compare": {"a": "{transcript}", "b": "Nothing.", "criteria": "Says more."}}
    with open_lab(tmp_path, n_rows=10, task=task, redact=["transcript"]) as lab:
        calls = tmp_path / "calls.parquet"
        told = pl.read_parquet(calls).with_columns(transcript=pl.format("{} Write to bob@example.com.", "transcript"))
        told.write_parquet(calls)
        answered(lab)
        assert lab.materialize("preferences")
        assert sum(job.n_success for job in lab.jobs()) == 20
        found, rows = facts(lab, "preferences"), lab.store.read_parquet("calls/preferences.parquet")
    verdicts = dict(rows["preferred"].value_counts().iter_rows())
    assert rows["id"].to_list() == [f"c{i}" for i in range(10)]
    assert {name: found[f"n_{name}"] for name in verdicts} == verdicts
    assert found["dagster/row_count"] == 10
    assert 0 <= found["first_share"] <= 1
    assert "<EMAIL_1>" in found["sample"].replace("&lt;", "<")
    assert "bob@" not in found["sample"]
    assert "bob@example.com" in rows["transcript"][0]


def test_labels_and_the_next_pipeline(tmp_path: Path) -> None:
    """The check tells each label's share; the next pipeline asks about each answer, and its ids are the same."""
    task = {"classify": {"text": "{transcript}", "labels": ["billing", "other"], "shares": {"billing": [0, 0]}}}
    with open_lab(tmp_path, n_rows=30, task=task) as lab:
        answered(lab)
        resources = {"bedrock_batch_store": lab.store_resource}
        checks = build_checks(lab.pipeline)
        result = dg.materialize(
            [*build_assets(lab.pipeline), *checks],
            selection=dg.AssetSelection.checks_for_assets(dg.AssetKey(["calls", "joined_table"])),
            instance=lab.instance,
            resources={**resources, "bedrock_batch": dg.ResourceDefinition.none_resource()},
        )
        (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "label_shares"]
        labels = lab.store.scan_parquet(["calls/table/part-00000.parquet"]).collect()["label"]
        shares = {name: value.value for name, value in check.metadata.items()}
        assert set(shares) == {"share billing", "share other"}
        assert sum(shares.values()) == 1
        assert not check.passed
        assert str(check.description).startswith("billing: ")
        assert set(labels) <= {"billing", "other"}

        text = {"text": {"prompt": "Why is it {label}? {transcript}"}}
        source = {"pipeline": "calls", "id_column": "record_id"}
        following = pipeline_of(tmp_path, name="reasons", source=source, output_prefix="why_", task=text)
        raw = dg.materialize(
            build_assets(following),
            selection=[dg.AssetKey(["reasons", "raw_dataset"])],
            instance=lab.instance,
            resources={**resources, "bedrock_batch": dg.ResourceDefinition.none_resource()},
        )
        assert raw.success
        rows = pl.concat(read_rows(following, lab.store))
        sent = rows.select("why_record_id", said=pl.format("Why is it {}? {}", "label", "transcript"))
        made = following.records.make(rows)
    assert made["why_record_id"].to_list() == [f"c{i}" for i in range(30)]
    assert all(text in line for text, line in zip(sent["said"], made[LINE], strict=True))
