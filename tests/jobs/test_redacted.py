"""Personal data do not leave: not in a job's file, a trial, a count of tokens, a call on demand or another attempt."""

from pathlib import Path

import dagster as dg
import polars as pl

from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.storage.keys import shard_manifest_key
from bedrock_assets.storage.manifests import ShardManifest
from tests.labs.dispatch import Lab, open_lab

SECRETS = ("bob.smith", "170 1234567", "4111 1111")


def with_secrets(folder: Path) -> pl.DataFrame:
    """Write personal data into every row of the lab's file; the rows."""
    secret = pl.lit(" I am bob.smith@example.com, +49 170 1234567, card 4111 1111 1111 1111.")
    path = folder / "calls.parquet"
    rows = pl.read_parquet(path).with_columns(transcript=pl.col("transcript") + secret)
    rows.write_parquet(path)
    return rows


def sent(lab: Lab) -> str:
    """Everything that the store has of prompts and jobs."""
    root = Path(lab.store_resource.url)
    files = [*root.glob("calls/prompts/**/*.jsonl"), *root.glob("calls/jobs/**/*.out")]
    assert files
    return "\n".join(file.read_text() for file in files)


def test_nothing_leaves(tmp_path: Path) -> None:
    """The table has the rows as they were, the model and its answers only tokens; the shard tells how many."""
    faults = Faults(seed=1, missing_record_rate=0.3)
    setting = {"redact": ["transcript"], "schema": {"summary": "string"}, "repair": 1, "preflight": True}
    with open_lab(tmp_path, n_rows=21, faults=faults, **setting) as lab:
        rows = with_secrets(tmp_path)
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert "<EMAIL_1>, <PHONE_1>, card <CARD_1>." in sent(lab)
        assert lab.n_invoked > 0
        assert not [secret for secret in SECRETS if secret in sent(lab)]
        assert lab.materialize("joined_table")
        table = pl.read_parquet(f"{lab.store_resource.url}/calls/table/*.parquet")
        assert table["transcript"].to_list() == rows["transcript"].to_list()
        assert not [secret for secret in SECRETS for text in table["response"].drop_nulls() if secret in text]
        key = ["calls", "prompt_shards"]
        (record,) = lab.instance.fetch_materializations(dg.AssetKey(key), limit=1).records
        assert record.asset_materialization
        shown = record.asset_materialization.metadata
        for asset in ("raw_dataset", "joined_table"):
            (record,) = lab.instance.fetch_materializations(dg.AssetKey(["calls", asset]), limit=1).records
            assert record.asset_materialization
            sample = str(record.asset_materialization.metadata["sample"].value)
            assert "I am &lt;EMAIL_1>" in sample
            assert "bob.smith" not in sample
        manifest = lab.store.read_model(shard_manifest_key("calls", lab.shards[-1]), ShardManifest)
        assert manifest
        assert manifest.n_redacted["email"] == manifest.n_redacted["phone"] == manifest.shard.n_rows
        assert str(shown["redacted"].value).endswith(" phone")
        assert "&lt;EMAIL_1>" in str(shown["first_prompt"].value)


def test_the_answers_are_found_again(tmp_path: Path) -> None:
    """Prompts are the same in each run, so nothing is sent twice; other values of the same kinds change no prompt."""
    with open_lab(tmp_path, n_rows=20, redact=["transcript"]) as lab:
        rows = with_secrets(tmp_path)
        lab.ask()
        lab.finish()
        n_jobs = len(lab.jobs())
        other = pl.col("transcript").str.replace("bob.smith", "ann.jones", literal=True)
        rows.with_columns(other).write_parquet(tmp_path / "calls.parquet")
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (len(lab.jobs()), lab.n_invoked) == (n_jobs, 0)
        assert lab.materialize("joined_table")
        table = pl.read_parquet(f"{lab.store_resource.url}/calls/table/*.parquet")
        assert table["transcript"].str.contains("ann.jones", literal=True).all()
