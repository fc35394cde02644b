"""On demand: small shards and remainders, under faults, against the emulator's runtime over HTTP."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterRunStatus

from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.collect_runs import MAX_RUNS
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.limits import JobLimits
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import TITAN

SMALL: dict[str, Any] = {"n_rows": 12, "limits": JobLimits(min_records_per_job=100, max_concurrent_requests=4)}
INVOKE = frozenset({"InvokeModel"})

FAMILIES: list[dict[str, Any]] = [
    {},
    {"model": "us.amazon.nova-lite-v1:0"},
    {"model": "us.amazon.nova-lite-v1:0", "model_invocation_type": "Converse"},
    {"model": TITAN, "task": {"embedding": {"column": "transcript", "dimensions": 256}}},
]


@pytest.mark.parametrize("overrides", FAMILIES, ids=["anthropic", "nova", "converse", "titan_embed_v2"])
def test_a_small_dataset_needs_no_job(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """Fewer rows than a job takes are answered on demand, with the same columns as a job's, and joined."""
    with open_lab(tmp_path, **SMALL, **overrides) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (lab.jobs(), lab.n_invoked) == ([], 12)
        assert lab.materialize("joined_table")
        table = pl.read_parquet(lab.store.path("calls/table/part-00000.parquet"))
        assert set(table["status"]) == {"ok"}
        assert set(table["answer_source"]) == {"on_demand"}
        assert table["id"].to_list() == [f"c{i}" for i in range(12)]
        assert table["input_tokens"].null_count() == 0
        if "response" in table.columns:
            assert all(f"invoice {i}" in text for i, text in enumerate(table["response"]))


def test_asking_again_pays_nothing(tmp_path: Path) -> None:
    """A shard that was answered on demand and is launched again is read again, not asked again."""
    with open_lab(tmp_path, **SMALL) as lab:
        lab.ask()
        lab.finish()
        before = lab.outputs(lab.shards[0])
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.n_invoked == 12
        assert lab.outputs(lab.shards[0]).equals(before)


def test_refused_records_are_rows(tmp_path: Path) -> None:
    """What the model refuses is an error row with its reason; the others are answered, none is asked twice."""
    with open_lab(
        tmp_path, **SMALL, faults=Faults(record_error_rate=0.4, record_error_code=400, record_error_message="no")
    ) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        rows = lab.outputs(lab.shards[0])
        assert set(rows["status"]) == {"ok", "error"}
        assert rows.filter(pl.col("status") == "error")["error_message"].str.contains("no").all()
        assert lab.n_invoked <= 12


def test_throttling_is_waited_out(tmp_path: Path) -> None:
    """A run that is throttled keeps what it has; the next one asks about the rest alone."""
    faults = Faults(throttle_rate=0.6, only_operations=INVOKE)
    # One call at a time, so that the calls that are struck belong to the same records on every machine.
    limits = JobLimits(min_records_per_job=100, max_concurrent_requests=1)
    with open_lab(tmp_path, n_rows=6, limits=limits, faults=faults) as lab:
        lab.ask()
        lab.tick()
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        assert 0 < lab.n_invoked < 6, "some were answered before the first that was throttled"
        lab.later += timedelta(minutes=1)
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert set(lab.outputs(lab.shards[0])["status"]) == {"ok"}
        assert lab.n_invoked == 6


def test_an_outage_costs_nothing_but_time(tmp_path: Path) -> None:
    """While the runtime is away runs fail with its message and rest; afterwards every record is asked about once."""
    with open_lab(tmp_path, **SMALL, faults=Faults(server_error_rate=1, only_operations=INVOKE)) as lab:
        lab.ask()
        for _ in range(2):
            lab.tick()
            assert set(lab.states.values()) == {RequestState.REQUESTED}
            lab.later += timedelta(minutes=2)
        assert lab.n_invoked == 0
        lab.emulator.set_faults(Faults())
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.n_invoked == 12


def test_a_record_that_never_gets_through_is_a_row(tmp_path: Path) -> None:
    """Records that the service fails on every time are error rows after the last try; the others are paid once."""
    with open_lab(tmp_path, **SMALL, faults=Faults(record_error_rate=0.3, record_error_code=500)) as lab:
        lab.ask()
        lab.tick()
        assert set(lab.states.values()) == {RequestState.REQUESTED}
        n_answered = lab.n_invoked
        assert 0 < n_answered < 12
        _skip_to_the_last_try(lab)
        lab.tick()
        assert set(lab.states.values()) == {RequestState.ANSWERED}
        assert Counter(lab.outputs(lab.shards[0])["status"]) == Counter(ok=n_answered, error=12 - n_answered)
        assert lab.n_invoked == n_answered


def test_an_account_without_access_is_told(tmp_path: Path) -> None:
    """A model that may not be called fails the shard with the service's words; launched again it is answered."""
    with open_lab(tmp_path, **SMALL, faults=Faults(access_denied=True, only_operations=INVOKE)) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "AccessDenied" in (lab.ledger.entries[lab.shards[0]].message or "")
        lab.emulator.set_faults(Faults())
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.n_invoked == 12


@dg.job
def _noop() -> None:
    pass


def _skip_to_the_last_try(lab: Lab) -> None:
    for _ in range(MAX_RUNS - 2):
        lab.later += timedelta(hours=3)
        (request,) = lab.tick_only().collect_runs.run_requests
        run = lab.instance.create_run_for_job(_noop, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
        lab.instance.report_run_failed(run)
    lab.later += timedelta(hours=3)
