"""Shards are independent: runs of several workers at once share nothing but the store and the event log."""

import json
import subprocess
import sys
from pathlib import Path

from bedrock_assets.jobs.ledger import RequestState
from tests.labs.dispatch import Lab, open_lab

N_WORKERS = 3


def test_runs_of_several_workers_at_once(tmp_path: Path) -> None:
    """Three processes collect three shards at the same time: each writes its own shard's file only, all rows arrive."""
    with open_lab(tmp_path, n_rows=10 * N_WORKERS, max_jobs=N_WORKERS, on_disk=True) as lab:
        lab.ask()
        lab.tick_only()
        lab.wait_for_jobs()
        told = _at_once(lab, tmp_path)
        for shard, worker in told.items():
            assert worker["success"], shard
            assert {key for key in worker["changed"] if shard not in key} == set(), shard
        assert set(lab.states.values()) == {RequestState.ANSWERED}
        assert len(lab.jobs()) == N_WORKERS
        # Each has made its shard's part of the table as well, which is only published from here on.
        parts = [file.key for file in lab.store.files("calls/table-incoming")]
        assert parts == [f"calls/table-incoming/{shard}.parquet" for shard in lab.shards]
        assert lab.materialize("joined_table")
        keys = [file.key for file in lab.store.files("calls/table") if file.key.endswith(".parquet")]
        assert lab.store.scan_parquet(keys).collect()["id"].to_list() == [f"c{i}" for i in range(10 * N_WORKERS)]


def _at_once(lab: Lab, folder: Path) -> dict[str, dict[str, object]]:
    """What each worker says, by shard; none begins before all are ready."""
    asked = {run.partition_key or "": dict(run.tags) for run in lab.tick_only().collect_runs.run_requests}
    assert len(asked) == N_WORKERS
    workers = {
        shard: subprocess.Popen(
            [sys.executable, "-m", "tests.labs.run_worker", folder, lab.emulator.endpoint_url, shard, json.dumps(tags)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for shard, tags in asked.items()
    }
    for worker in workers.values():
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    return {shard: json.loads(out) for shard, out in _outputs(workers).items()}


def _outputs(workers: dict[str, subprocess.Popen[str]]) -> dict[str, str]:
    for worker in workers.values():
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return {shard: worker.communicate(timeout=120)[0] for shard, worker in workers.items()}
